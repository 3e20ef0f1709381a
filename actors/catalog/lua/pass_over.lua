-- Notes that what made one partition stale is passed over (as a run's cancellation is dismissed), and publishes
-- `asset.passedOver`.
--
-- KEYS, ARGV  see prelude.lua
-- args        assetId, partition, version, dismissed (JSON text), eventType, eventData (JSON text), eventsLimit
-- returns     1, or 0 when the partition was made since
-- atomic      the check and the note: a materialization after it forgets the note
local made = asset_field(args.assetId, 'made', args.partition)
if (made and made.version or 0) ~= args.version then
  return 0
end
redis.call('HSET', key('asset', args.assetId), 'dismissed:' .. args.partition, args.dismissed)
publish('asset:' .. args.assetId, args.eventType, args.eventData)
return 1
