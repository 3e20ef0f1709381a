-- Moves the group's cursor: everything up to an entry was handed over.
--
-- KEYS, ARGV  see prelude.lua
-- args        group, entryId
-- returns     1
-- atomic      the check of the term and the move: a leader that was deposed cannot pass over what the next has not heard
local moved = redis.pcall('XGROUP', 'SETID', KEYS[2], args.group, args.entryId)
if moved.err then
  -- The group is gone, or with it the stream.
  redis.call('XGROUP', 'CREATE', KEYS[2], args.group, args.entryId, 'MKSTREAM')
end
return 1
