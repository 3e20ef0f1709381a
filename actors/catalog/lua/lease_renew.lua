-- Keeps the lead for another lease.
--
-- KEYS, ARGV  see prelude.lua; a term that is over is refused there
-- args        term, id (of the service), leaseMs, shard {index, count}
-- returns     1, or 0 when the lead is another's
-- atomic      the check and the new end, by the server's clock
local leader_key = lead_key(args.shard)
if redis.call('HGET', leader_key, 'id') ~= args.id then
  return 0
end
local until_ms = int(server_ms() + args.leaseMs)
redis.call('HSET', leader_key, 'untilMs', until_ms)
redis.call('HSET', key('led'), int(args.shard.index) .. 'of' .. int(args.shard.count), until_ms)
return 1
