-- Moves the group's cursor: everything up to an entry was handed over.
--
-- KEYS, ARGV  see prelude.lua
-- args        group, entryId; maybe stream: the key of a shard's stream, else that of all events
-- returns     1
-- atomic      the check of the term and the move: a leader that was deposed cannot pass over what the next has not heard
local stream = args.stream or KEYS[2]
local moved = redis.pcall('XGROUP', 'SETID', stream, args.group, args.entryId)
if moved.err then
  -- The group is gone, or with it the stream.
  redis.call('XGROUP', 'CREATE', stream, args.group, args.entryId, 'MKSTREAM')
end
return 1
