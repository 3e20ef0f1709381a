-- Forgets the failures and dismissals of one partition of an asset, or of all, and publishes `asset.resumed`.
--
-- KEYS, ARGV  see prelude.lua
-- args        assetId, call (a name for this call alone), seenForMs, eventType, eventData (JSON text), eventsLimit;
--             partition ('' for none), absent for every partition
-- returns     how many partitions had something to forget
-- atomic      finding and forgetting
local seen_key = key('seen', redis.sha1hex('resume' .. UNIT .. args.call))
-- The same call sent again after its answer was lost: what failed since is not forgotten.
local answered = redis.call('GET', seen_key)
if answered then
  return tonumber(answered)
end
local asset_key = key('asset', args.assetId)
local cleared = {}
local count = 0

local function forget(field, partition)
  if redis.call('HDEL', asset_key, field) == 1 and not cleared[partition] then
    cleared[partition] = true
    count = count + 1
  end
end

if args.partition then
  forget('failed:' .. args.partition, args.partition)
  forget('dismissed:' .. args.partition, args.partition)
else
  for _, field in ipairs(redis.call('HKEYS', asset_key)) do
    local kind, partition = string.match(field, '^(%a+):(.*)$')
    if kind == 'failed' or kind == 'dismissed' then
      forget(field, partition)
    end
  end
end
publish('asset:' .. args.assetId, args.eventType, args.eventData)
redis.call('SET', seen_key, int(count), 'PX', args.seenForMs)
return count
