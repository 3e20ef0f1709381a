-- Reads the runs that nobody seems to work on: those whose lease has ended, and those that nobody has started in time.
--
-- KEYS, ARGV  see prelude.lua
-- args        startTimeoutMs, most
-- returns     {server's time, [{'lease' | 'start', run id, since, workflow, partition, worker, seen at, asked,
--             launches}]}; since is the end of the lease, or the instant from which the start is waited for
-- atomic      a reading by one clock, the server's; it costs what is overdue
local now = server_ms()
local found = {}
local function read(kind, name, up_to)
  local entries = redis.call('ZRANGE', key(name), '-inf', int(up_to), 'BYSCORE', 'LIMIT', 0, args.most, 'WITHSCORES')
  for index = 1, #entries, 2 do
    local run_id = entries[index]
    local fields = redis.call(
      'HMGET', key('run', run_id), 'workflow', 'partition', 'worker', 'seenAtMs', 'asked', 'launches'
    )
    if fields[1] then
      found[#found + 1] = {
        kind, run_id, entries[index + 1], fields[1], fields[2], fields[3] or '', fields[4] or '0', fields[5] or '',
        fields[6] or '1'
      }
    end
  end
end
read('lease', 'leases', now)
read('start', 'unstarted', now - args.startTimeoutMs)
return {int(now), found}
