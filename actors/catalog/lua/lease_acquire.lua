-- Takes the lead of a shard if nobody else holds it, for a term of its own. Services that divide the catalog in another way
-- must have ended first; the first one of the new way divides it anew.
--
-- KEYS, ARGV  see prelude.lua
-- args        id (of the service), leaseMs, shard {index, count}, sole (nobody else can be there, whatever the lease says)
-- returns     {'held', term, id of the holder, how long it still holds, ms} | {'divided', count, how long, ms} |
--             {'leading', term, epoch: how often the catalog was divided anew}
-- atomic      the checks, the new term and the division; all by the server's clock
local leader_key = lead_key(args.shard)
local holder, until_ms, term = unpack(redis.call('HMGET', leader_key, 'id', 'untilMs', 'term'))
local now_ms = server_ms()
local left_ms = tonumber(until_ms or '0') - now_ms
local own_field = int(args.shard.index) .. 'of' .. int(args.shard.count)

local function ended_at(field)
  return tonumber(redis.call('HGET', key('led'), field)) - now_ms
end

for _, field in ipairs(args.sole and {} or redis.call('HKEYS', key('led'))) do
  local count = tonumber(string.match(field, 'of(%d+)$'))
  if count ~= args.shard.count then
    local others_ms = ended_at(field)
    if others_ms > 0 then
      return {'divided', count, others_ms}
    end
    redis.call('HDEL', key('led'), field)
  end
end
if not args.sole and left_ms > 0 and holder ~= args.id then
  return {'held', tonumber(term), holder, left_ms}
end

local before = shard_count()
if before ~= args.shard.count then
  -- What the former shards did not hear of is read from the catalog by whoever leads from now on.
  for index = 0, before - 1 do
    local shard = key('shard', int(index))
    redis.call('UNLINK', shard .. ':events', shard .. ':interests', shard .. ':interests:new')
  end
  for index = 0, args.shard.count - 1 do
    -- Of an earlier time when it was divided in this way.
    redis.call('DEL', key('last-led', int(index) .. 'of' .. int(args.shard.count)))
  end
  redis.call('DEL', key('held-back'))
  redis.call('HSET', key('layout'), 'count', int(args.shard.count))
  redis.call('HINCRBY', key('layout'), 'epoch', 1)
end
-- Also when it holds the lead already, as after an answer that was lost: what it wrote before is refused from now on.
local new_term = redis.call('HINCRBY', leader_key, 'term', 1)
redis.call(
  'HSET', leader_key, 'id', args.id, 'sinceMs', int(now_ms), 'leaseMs', int(args.leaseMs),
  'untilMs', int(now_ms + args.leaseMs)
)
redis.call('HSET', key('led'), own_field, int(now_ms + args.leaseMs))
return {'leading', new_term, tonumber(redis.call('HGET', key('layout'), 'epoch') or '0')}
