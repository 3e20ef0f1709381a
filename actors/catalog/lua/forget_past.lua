-- Drops some of what is older than a limit, the oldest first: ended runs, history, or entries of a stream.
--
-- KEYS, ARGV  see prelude.lua
-- args        kind, most (how much at once), cutoffMs (what is from then or before goes; 0: nothing); by kind:
--             'runs': keep (how many stay); 'history': keep, assetIds; 'events': group; 'dead-letters', 'audit': nothing
-- returns     how much was dropped; when it is less than `most` (of a stream: 0) there is no more to drop now
-- atomic      the look at the age and the dropping; it costs what is dropped, and for each asset a look at its oldest
local kinds = {}

local function drop_run(run_id)
  redis.call('ZREM', key('ended'), run_id)
  redis.call('ZREM', key('runs'), run_id)
  redis.call('UNLINK', key('run', run_id), key('steps', run_id), key('produced', run_id))
end

function kinds.runs()
  local excess = redis.call('ZCARD', key('ended')) - args.keep
  local oldest = redis.call('ZRANGE', key('ended'), 0, args.most - 1, 'WITHSCORES')
  local count = 0
  for index = 1, #oldest, 2 do
    if tonumber(oldest[index + 1]) > args.cutoffMs and count >= excess then
      break
    end
    drop_run(oldest[index])
    count = count + 1
  end
  return count
end

-- When what an entry of the history tells of was produced; nil for one that cannot be read.
local function produced_at(text)
  local at_ms = string.match(text, '^{"made":{"version":%d+,"changedVersion":%d+,"producedAtMs":(%-?%d+)')
  if at_ms then
    return tonumber(at_ms)
  end
  local is_json, entry = pcall(cjson.decode, text)
  return is_json and type(entry) == 'table' and type(entry.made) == 'table' and entry.made.producedAtMs or nil
end

function kinds.history()
  local count = 0
  for _, asset_id in ipairs(args.assetIds) do
    local history_key = key('history', asset_id)
    local length = redis.call('LLEN', history_key)
    -- The newest stays, however old it is.
    while length > 1 and count < args.most do
      if length <= args.keep then
        local at_ms = produced_at(redis.call('LINDEX', history_key, -1))
        if not at_ms or at_ms > args.cutoffMs then
          break
        end
      end
      redis.call('RPOP', history_key)
      length = length - 1
      count = count + 1
    end
  end
  return count
end

local function parts(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end

local function earlier(one, other)
  local one_ms, one_sequence = parts(one)
  local other_ms, other_sequence = parts(other)
  local is_first = one_ms < other_ms or (one_ms == other_ms and one_sequence < other_sequence)
  return is_first and one or other
end

-- Approximately while whole nodes can go, which is cheap; then the rest, which is less than a node.
local function trim(stream, first_kept)
  local count = redis.call('XTRIM', stream, 'MINID', '~', first_kept, 'LIMIT', args.most)
  return count > 0 and count or redis.call('XTRIM', stream, 'MINID', '=', first_kept)
end

local function after_cutoff()
  return int(args.cutoffMs + 1) .. '-0'
end

-- What the service has not read yet stays, and so does the newest: it says how far the catalog has come.
function kinds.events()
  local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  if not newest then
    return 0
  end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
    local about = {}
    for index = 1, #group, 2 do
      about[group[index]] = group[index + 1]
    end
    if about.name == args.group then
      return trim(KEYS[2], earlier(earlier(after_cutoff(), newest[1]), about['last-delivered-id']))
    end
  end
  return 0
end

kinds['dead-letters'] = function()
  return trim(KEYS[3], after_cutoff())
end

function kinds.audit()
  return trim(KEYS[4], after_cutoff())
end

return kinds[args.kind]()
