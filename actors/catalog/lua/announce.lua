-- Publishes that a partition is about to be made again, so that this has its place among all events.
--
-- KEYS, ARGV  see prelude.lua; a term that is over is refused there
-- args        assetId, eventType, eventData (JSON text), eventsLimit
-- returns     1
-- atomic      the log and the streams of the shards
publish('asset:' .. args.assetId, args.eventType, args.eventData)
return 1
