-- Keeps a pause, in place of the one of the same scope if there is one, and publishes `pause.changed`.
--
-- KEYS, ARGV  see prelude.lua
-- args        scope, pause (JSON text), forgetMs (pauses that ended before are dropped), eventType, eventData (JSON
--             text), eventsLimit
-- returns     nothing
-- atomic      the pause and the news of it: whoever reads the pauses after the news finds this one
forget_pauses()
redis.call('HSET', key('pauses'), args.scope, args.pause)
publish('all', args.eventType, args.eventData)
