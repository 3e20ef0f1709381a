-- Keeps a definition with where it came from, and publishes `workflow.updated` if it differs from the one kept.
--
-- KEYS, ARGV  see prelude.lua
-- args        slug, definition (JSON text), source (JSON text), eventType, eventData (JSON text), eventsLimit
-- returns     'created' | 'updated' | 'unchanged'
-- atomic      comparing, keeping and publishing
local kept = redis.call('HGET', key('workflows'), args.slug)
redis.call('HSET', key('workflow-sources'), args.slug, args.source)
if kept == args.definition then
  return 'unchanged'
end
redis.call('HSET', key('workflows'), args.slug, args.definition)
publish('all', args.eventType, args.eventData)
return kept and 'updated' or 'created'
