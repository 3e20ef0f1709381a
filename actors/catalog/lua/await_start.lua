-- Lets the wait for the start of an enqueued run begin anew, maybe because it is launched once more.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, isLaunched
-- returns     1, or 0 when the run is not enqueued any more
-- atomic      the check, the count and the mark
local run_key = key('run', args.runId)
if redis.call('HGET', run_key, 'status') ~= 'enqueued' then
  return 0
end
if args.isLaunched then
  redis.call('HSET', run_key, 'launches', (redis.call('HGET', run_key, 'launches') or 1) + 1)
end
redis.call('ZADD', key('unstarted'), server_ms(), args.runId)
return 1
