-- Declares the latest materialization of a partition expired, once, and publishes `asset.expired`.
--
-- KEYS, ARGV  see prelude.lua
-- args        assetId, partition ('' for none), version (0: whatever is the latest), expiresAtMs, reason, eventType,
--             eventData (JSON text), eventsLimit
-- returns     1, or 0 when there is nothing to expire, it is not the latest, something newer than the instant exists,
--             or it was declared expired already
-- atomic      the check and the mark
local made = asset_field(args.assetId, 'made', args.partition)
if not made then
  return 0
end
if args.version ~= 0 and args.version ~= made.version then
  return 0
end
if made.producedAtMs > args.expiresAtMs then
  return 0
end
local expired = asset_field(args.assetId, 'expired', args.partition)
if expired and expired.version >= made.version then
  return 0
end
redis.call(
  'HSET', key('asset', args.assetId), 'expired:' .. args.partition,
  '{"version":' .. int(made.version) .. ',"reason":' .. cjson.encode(args.reason) .. '}'
)
publish('asset:' .. args.assetId, args.eventType, args.eventData, 'version', int(made.version), 'changedVersion', int(made.changedVersion))
return 1
