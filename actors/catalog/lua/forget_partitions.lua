-- Forgets partitions of an asset: what was made of them, their failures, dismissals and expiries. The counter stays.
--
-- KEYS, ARGV  see prelude.lua
-- args        assetId, workflows (slugs of those that make it), partitions [{partition, version, failures}] as they were
--             when they were judged
-- returns     how many were forgotten
-- atomic      for each the check that it is as it was judged and that no run is at work on it, and the forgetting
local asset_key = key('asset', args.assetId)
local count = 0

local function is_claimed(partition)
  for _, slug in ipairs(args.workflows) do
    if redis.call('HEXISTS', key('claims'), slug .. UNIT .. partition) == 1 then
      return true
    end
  end
  return false
end

for _, judged in ipairs(args.partitions) do
  local made = asset_field(args.assetId, 'made', judged.partition)
  local failed = asset_field(args.assetId, 'failed', judged.partition)
  if
    (made and made.version or 0) == judged.version
    and (failed and failed.failures or 0) == judged.failures
    and not is_claimed(judged.partition)
  then
    for _, kind in ipairs({'made', 'failed', 'dismissed', 'expired'}) do
      redis.call('HDEL', asset_key, kind .. ':' .. judged.partition)
    end
    count = count + 1
  end
end
return count
