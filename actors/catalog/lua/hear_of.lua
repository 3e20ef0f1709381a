-- Notes of what a shard wants to hear.
--
-- KEYS, ARGV  see prelude.lua
-- args        shard {index, count}, names ('asset:ID', 'workflow:SLUG'); anew ('begun' | 'whole'): they belong to a new
--             list, which takes the place of the former one once it is whole
-- returns     1, or 0 when the catalog is not divided in this way: then it hears of nothing, and reads all when it leads
-- atomic      all of it
if shard_count() ~= args.shard.count then
  return 0
end
local interests = key('shard', int(args.shard.index), 'interests')
local list = args.anew and interests .. ':new' or interests
for start = 1, #args.names, 1000 do
  redis.call('SADD', list, unpack(args.names, start, math.min(start + 999, #args.names)))
end
if args.anew == 'whole' then
  redis.call('DEL', interests)
  if redis.call('EXISTS', list) == 1 then
    redis.call('RENAME', list, interests)
  end
end
return 1
