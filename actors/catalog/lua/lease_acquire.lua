-- Takes the lead if nobody else holds it, for a term of its own.
--
-- KEYS, ARGV  see prelude.lua
-- args        id (of the service), leaseMs, sole (nobody else can be there, whatever the lease says)
-- returns     {'held', term, id of the holder, how long it still holds, ms} or {'leading', term}
-- atomic      the check and the new term; all by the server's clock
local leader_key = key('leader')
local holder, until_ms, term = unpack(redis.call('HMGET', leader_key, 'id', 'untilMs', 'term'))
local now_ms = server_ms()
local left_ms = tonumber(until_ms or '0') - now_ms
if not args.sole and left_ms > 0 and holder ~= args.id then
  return {'held', tonumber(term), holder, left_ms}
end
-- Also when it holds the lead already, as after an answer that was lost: what it wrote before is refused from now on.
local new_term = redis.call('HINCRBY', leader_key, 'term', 1)
redis.call(
  'HSET', leader_key, 'id', args.id, 'sinceMs', int(now_ms), 'leaseMs', int(args.leaseMs),
  'untilMs', int(now_ms + args.leaseMs)
)
return {'leading', new_term}
