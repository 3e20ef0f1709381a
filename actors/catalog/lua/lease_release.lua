-- Gives the lead up, so that another may take it at once.
--
-- KEYS, ARGV  see prelude.lua; a term that is over is refused there
-- args        term, id (of the service)
-- returns     1, or 0 when the lead is another's
-- atomic      the check and the end
local leader_key = key('leader')
if redis.call('HGET', leader_key, 'id') ~= args.id then
  return 0
end
redis.call('HSET', leader_key, 'untilMs', 0)
return 1
