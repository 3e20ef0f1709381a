-- Keeps the latest record of one step of a run, in the order in which steps were first seen.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, stepId, step (JSON text)
-- returns     1, or 0 when the run is not known (any more)
-- atomic      the check that the run exists, so that no record outlives it, and the write
if redis.call('EXISTS', key('run', args.runId)) == 0 then
  return 0
end
local steps_key = key('steps', args.runId)
if redis.call('HSET', steps_key, 'step:' .. args.stepId, args.step) == 1 then
  redis.call('HSET', steps_key, 'rank:' .. args.stepId, redis.call('HLEN', steps_key))
end
return 1
