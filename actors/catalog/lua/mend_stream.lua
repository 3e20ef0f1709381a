-- Looks whether an entry of the stream was handed out to a consumer of the group that never acknowledged it, and mends it
-- if told to. The group is a cursor: nobody reads as its consumer, and nobody else will acknowledge the entry.
--
-- KEYS, ARGV  see prelude.lua
-- args        kind, fix, group, entryId, idleMs
-- returns     1 when it is so (and is mended now, with `fix`), else 0
-- atomic      the look and the mend: what is acknowledged meanwhile is no finding
local pending = redis.call('XPENDING', KEYS[2], args.group, 'IDLE', int(args.idleMs), args.entryId, args.entryId, 1)
if #pending == 0 then
  return 0
end
if not args.fix then
  return 1
end

local function parts(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end

local function cursor()
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
    local about = {}
    for index = 1, #group, 2 do
      about[group[index]] = group[index + 1]
    end
    if about.name == args.group then
      return parts(about['last-delivered-id'])
    end
  end
end

-- Handing it out may have moved the cursor over entries that the service has not read: it goes back before this one.
-- Those that are read again by it change nothing.
local ms, sequence = parts(args.entryId)
local at_ms, at_sequence = cursor()
local is_there = #redis.call('XRANGE', KEYS[2], args.entryId, args.entryId) > 0
if is_there and (at_ms > ms or (at_ms == ms and at_sequence >= sequence)) then
  local before = sequence > 0 and int(ms) .. '-' .. int(sequence - 1) or int(ms - 1) .. '-18446744073709551615'
  redis.call('XGROUP', 'SETID', KEYS[2], args.group, before)
end
redis.call('XACK', KEYS[2], args.group, args.entryId)
return 1
