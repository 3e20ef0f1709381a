-- Notes of what a shard wants to hear.
--
-- KEYS, ARGV  see prelude.lua
-- args        shard {index, count}, names ('asset:ID', 'workflow:SLUG'), anew (forget what it wanted before)
-- returns     1, or 0 when the catalog is not divided in this way: then it hears of nothing, and reads all when it leads
-- atomic      all of it
if shard_count() ~= args.shard.count then
  return 0
end
local interests = key('shard', int(args.shard.index), 'interests')
if args.anew then
  redis.call('DEL', interests)
end
for start = 1, #args.names, 1000 do
  redis.call('SADD', interests, unpack(args.names, start, math.min(start + 999, #args.names)))
end
return 1
