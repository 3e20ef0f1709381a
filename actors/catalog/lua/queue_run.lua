-- Creates a run that was asked for by hand, not claimed yet, and publishes `workflow.run.requested`.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, createdAtMs, fields [name, value, ...], eventType, eventData (JSON text), eventsLimit
-- returns     1, or 0 when the run exists already
-- atomic      the check and the creation
if redis.call('EXISTS', key('run', args.runId)) == 1 then
  return 0
end
create_run(args.runId, 'queued')
redis.call('ZADD', key('queued'), args.createdAtMs, args.runId)
publish('workflow:' .. redis.call('HGET', key('run', args.runId), 'workflow'), args.eventType, args.eventData)
return 1
