-- Marks an enqueued run running, captures the latest versions of its upstreams, publishes `workflow.run.started`.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, upstreams [ids], nowMs, token (of the worker that starts it), worker (its name), eventType,
--             eventData (JSON text), eventsLimit; maybe leaseMs: how long the run is held without being renewed
-- returns     {'started', inputs (JSON text)} or {'fenced', status or 'unknown'}
-- atomic      the check, the capture and the mark: an update after it is newer than what the run reads, and of several
--             workers one starts the run
local run_key = key('run', args.runId)
local status, token, inputs, workflow =
  unpack(redis.call('HMGET', run_key, 'status', 'startToken', 'inputs', 'workflow'))
-- The same call sent again after its answer was lost; another worker's call has another token.
if status == 'running' and token == args.token then
  return {'started', inputs}
end
if status ~= 'enqueued' then
  return {'fenced', status or 'unknown'}
end
inputs = versions_text(args.upstreams)
local now = server_ms()
redis.call(
  'HSET', run_key, 'status', 'running', 'startedAtMs', int(args.nowMs), 'inputs', inputs, 'startToken', args.token,
  'worker', args.worker, 'seenAtMs', int(now)
)
redis.call('ZREM', key('unstarted'), args.runId)
if args.leaseMs then
  redis.call('ZADD', key('leases'), now + args.leaseMs, args.runId)
end
publish('workflow:' .. workflow, args.eventType, args.eventData, 'inputs', inputs)
return {'started', inputs}
