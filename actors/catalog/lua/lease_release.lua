-- Gives the lead up, so that another may take it at once.
--
-- KEYS, ARGV  see prelude.lua; a term that is over is refused there
-- args        term, id (of the service), shard {index, count}
-- returns     1, or 0 when the lead is another's
-- atomic      the check and the end
local leader_key = lead_key(args.shard)
if redis.call('HGET', leader_key, 'id') ~= args.id then
  return 0
end
redis.call('HSET', leader_key, 'untilMs', 0)
redis.call('HDEL', key('led'), int(args.shard.index) .. 'of' .. int(args.shard.count))
return 1
