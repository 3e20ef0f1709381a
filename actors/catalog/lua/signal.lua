-- Puts messages from one shard to another into its stream. They are no events: nobody else hears of them.
--
-- KEYS, ARGV  see prelude.lua; a term that is over is refused there
-- args        to (index of a shard), signals [JSON texts], eventsLimit
-- returns     how many
-- atomic      all of it, in order
local stream = key('shard', int(args.to), 'events')
for _, text in ipairs(args.signals) do
  redis.call('XADD', stream, 'MAXLEN', '~', args.eventsLimit, '*', 'signal', text)
end
return #args.signals
