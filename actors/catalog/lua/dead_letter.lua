-- Moves one entry that cannot be read from the reader's pending list to the dead-letter stream.
--
-- KEYS, ARGV  see prelude.lua
-- args        group, entryId, deadLettersLimit, fields [name, value, ...]
-- returns     1, or 0 when the entry was acknowledged already
-- atomic      acknowledging and keeping: never lost, never kept twice
if redis.call('XACK', KEYS[2], args.group, args.entryId) == 0 then
  return 0
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', args.deadLettersLimit, '*', unpack(args.fields))
return 1
