-- Keeps the lead for another lease.
--
-- KEYS, ARGV  see prelude.lua; a term that is over is refused there
-- args        term, id (of the service), leaseMs
-- returns     1, or 0 when the lead is another's
-- atomic      the check and the new end, by the server's clock
local leader_key = key('leader')
if redis.call('HGET', leader_key, 'id') ~= args.id then
  return 0
end
redis.call('HSET', leader_key, 'untilMs', int(server_ms() + args.leaseMs))
return 1
