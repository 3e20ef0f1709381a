-- Drops a definition and publishes `workflow.updated`.
--
-- KEYS, ARGV  see prelude.lua
-- args        slug, eventType, eventData (JSON text), eventsLimit
-- returns     1, or 0 when there was none
-- atomic      dropping and publishing
if redis.call('HDEL', key('workflows'), args.slug) == 0 then
  return 0
end
redis.call('HDEL', key('workflow-sources'), args.slug)
publish('all', args.eventType, args.eventData)
return 1
