-- Keeps the latest record of one step of a run, in the order in which steps were first seen.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, stepId, step (JSON text); maybe startToken: of the worker that started the run
-- returns     1, 0 when the run is not known (any more), or its status when it is not the worker's (any more)
-- atomic      the check that the run exists, so that no record outlives it, and the write
local status, start_token = unpack(redis.call('HMGET', key('run', args.runId), 'status', 'startToken'))
if args.startToken and (status ~= 'running' or start_token ~= args.startToken) then
  return status or 'dropped'
end
if not status then
  return 0
end
local steps_key = key('steps', args.runId)
if redis.call('HSET', steps_key, 'step:' .. args.stepId, args.step) == 1 then
  redis.call('HSET', steps_key, 'rank:' .. args.stepId, redis.call('HLEN', steps_key))
end
return 1
