-- Renews a worker's lease of a run that it started.
--
-- KEYS, ARGV  see prelude.lua
-- args        runId, token (with which it was started), leaseMs
-- returns     'held', 'cancel' or 'stop' (the worker is asked to end the run), or 'fenced': the run is not the worker's
-- atomic      the check and the renewal: what was given up is never held again
local run_key = key('run', args.runId)
local status, token, asked = unpack(redis.call('HMGET', run_key, 'status', 'startToken', 'asked'))
if status ~= 'running' or token ~= args.token then
  return 'fenced'
end
local now = server_ms()
redis.call('HSET', run_key, 'seenAtMs', int(now))
redis.call('ZADD', key('leases'), now + args.leaseMs, args.runId)
return asked or 'held'
