-- Asks the worker of a running run to end it; the worker learns it when it renews its lease.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, what ('cancel' or 'stop')
-- returns     1, or 0 when the run is not running
-- atomic      the check and the mark
local run_key = key('run', args.runId)
if redis.call('HGET', run_key, 'status') ~= 'running' then
  return 0
end
-- A user's word counts for more than a service that stops.
if args.what == 'cancel' or redis.call('HEXISTS', run_key, 'asked') == 0 then
  redis.call('HSET', run_key, 'asked', args.what)
end
return 1
