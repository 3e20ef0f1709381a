-- Keeps one entry that cannot be read in the dead-letter stream.
--
-- KEYS, ARGV  see prelude.lua
-- args        entryId, deadLettersLimit, seenForMs, fields [name, value, ...]
-- returns     1, or 0 when it was kept already
-- atomic      the check and keeping: an entry that is read again is not kept twice
if not redis.call('SET', key('seen', redis.sha1hex('dead' .. UNIT .. args.entryId)), '1', 'NX', 'PX', args.seenForMs) then
  return 0
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', args.deadLettersLimit, '*', unpack(args.fields))
return 1
