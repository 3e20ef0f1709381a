"""The edits that break what the fourth generation plays: shards that hear of each other, and are divided anew."""

from __future__ import annotations

from tests.simulation.edits import Edit, Mutation

__all__ = ["EDITS_OF_THE_FOURTH"]

EDITS_OF_THE_FOURTH = (
    Mutation(
        "L1",
        "tell other shards nothing of what an asset has dealt with",
        (
            Edit(
                "actors/neighbours.py",
                "for index in sorted(shards_below(self._graph, message.asset_id, self.shard)):",
                "for index in ():",
            ),
        ),
        4,
    ),
    Mutation(
        "L4",
        "wait for nothing that another shard keeps",
        (Edit("actors/registry.py", "if others and is_shared:", "if False:"),),
        4,
    ),
    Mutation(
        "L4",
        "hear of what an asset follows directly, and of nothing further above",
        (
            Edit(
                "actors/core/shards.py",
                "                seen.add(upstream_id)\n                stack.append(upstream_id)\n",
                "                seen.add(upstream_id)\n                yield upstream_id\n",
            ),
        ),
        4,
    ),
    Mutation(
        "L4",
        "do not announce to other shards what is made again by itself",
        (
            Edit(
                "actors/neighbours.py",
                "self._around.shards.announce(found.asset_id, found.partition_key)",
                "pass",
            ),
        ),
        4,
    ),
    Mutation(
        "L4",
        "tell another shard at once what it should hear after an announcement",
        (
            Edit(
                "actors/catalog/shard_channel.py",
                "            signals = list(takewhile(lambda told: not isinstance(told, _Announced), self._taken))\n",
                "            self._taken.sort(key=lambda told: isinstance(told, _Announced))\n"
                "            signals = list(takewhile(lambda told: not isinstance(told, _Announced), self._taken))\n",
            ),
        ),
        4,
    ),
    Mutation(
        "L1",
        "hear of nothing new when a definition changes",
        (Edit("actors/registry.py", "        self._neighbours.hear_of(touched, [slug])\n", ""),),
        4,
    ),
    Mutation(
        "L4",
        "number waves as each shard counts them",
        (
            Edit(
                "actors/core/waves.py",
                "        self.last = max(self.last + 1, wave_at(pos))\n",
                "        self.last += 1\n",
            ),
        ),
        4,
    ),
    Mutation(
        "L2",
        "let a service of an earlier division write",
        (
            Edit(
                "actors/catalog/lua/prelude.lua",
                "shard_count() == args.shard.count and redis.call('HGET', lead_key(args.shard), 'term')",
                "redis.call('HGET', lead_key(args.shard), 'term')",
            ),
        ),
        4,
    ),
    Mutation(
        "L8",
        "keep the limits in each shard, and not in the claim script",
        (
            Edit(
                "actors/catalog/lua/submit.lua",
                "local limit = limit_reached()\n",
                "local limit = (not args.shard or args.shard.count == 1) and limit_reached()\n",
            ),
        ),
        4,
    ),
)
