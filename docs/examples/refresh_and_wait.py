"""Make an asset again now, wait for it, and say what came of it and what follows.

HEADWATER_TOKEN is the token of operators; HEADWATER_URL the address, if it is not http://127.0.0.1:8080.

    python docs/examples/refresh_and_wait.py river.report
    python docs/examples/refresh_and_wait.py gauges.hourly --partition 2026-11-24T23 --timeout 120
"""

from __future__ import annotations

import argparse
import sys

from actors.client import Client, HeadwaterError


def refresh(headwater: Client, asset_id: str, partition_key: str | None, timeout_seconds: float) -> None:
    slug = headwater.asset(asset_id).workflow_slug
    if slug is None:
        sys.exit(f"no workflow makes {asset_id}; it comes from outside")
    run = headwater.run_and_wait(slug, partition_key=partition_key, timeout_seconds=timeout_seconds)
    run.require_success()
    made = headwater.history(asset_id, partition_key=partition_key, limit=1)[0]
    if made.run_id != run.run_id:
        sys.exit(f"run {run.run_id} succeeded, but did not return {asset_id} among its assets")
    print(f"{asset_id} has version {made.version}, made from {made.inputs or 'nothing'} by {run.run_id}")
    followers = [
        edge.asset_id for edge in headwater.graph().edges if edge.upstream == asset_id and edge.kind == "triggers"
    ]
    print(f"what follows: {', '.join(followers) or 'nothing'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("asset")
    parser.add_argument("--partition", metavar="KEY")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=600.0)
    given = parser.parse_args()
    try:
        with Client() as headwater:
            refresh(headwater, given.asset, given.partition, given.timeout)
    except HeadwaterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
