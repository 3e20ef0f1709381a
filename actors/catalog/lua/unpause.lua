-- Ends a pause and publishes `pause.changed`.
--
-- KEYS, ARGV  see prelude.lua
-- args        scope, nowMs, forgetMs (pauses that ended before are dropped), eventType, eventData (JSON text), eventsLimit
-- returns     1, or 0 when there was none, or it had ended by itself
-- atomic      finding and ending
local is_paused = pause_holds(args.scope, args.nowMs)
-- One that has ended by the caller's clock may not have by another's: the end is told in any case.
if redis.call('HDEL', key('pauses'), args.scope) == 1 then
  publish('all', args.eventType, args.eventData)
end
forget_pauses()
return is_paused and 1 or 0
