"""Play schedules of faults in virtual time, from the command line.

    python tests/faults/play.py 755 --log         one schedule, with everything that happened
    python tests/faults/play.py 0 --count 1000    a thousand, one after another

Prints one line of JSON at the end: how many were played, which failed and why, what was met.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import Counter

from virtual.schedule import play

MOST_TOLD = 20
"""Failures that are told with their seed."""


def main() -> int:
    """Play what the command line asks for; return 1 if a promise was broken."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("seed", type=int)
    asked.add_argument("--count", type=int, default=1)
    asked.add_argument("--log", action="store_true")
    options = asked.parse_args()
    logging.disable(logging.CRITICAL)
    failed: dict[int, str] = {}
    failures = 0
    met: Counter[str] = Counter()
    started = time.perf_counter()
    for seed in range(options.seed, options.seed + options.count):
        try:
            played = play(seed)
        except Exception as error:  # every failure is told with its seed, and the next schedule is played
            failures += 1
            if len(failed) < MOST_TOLD:
                failed[seed] = f"{type(error).__name__}: {error}"
            if options.log:
                print("\n".join(getattr(error, "__notes__", [])))
            continue
        met.update(played.faults)
        met.update(played.met())
        if options.log:
            print("\n".join(played.log))
    took_s = time.perf_counter() - started
    counts = {"played": options.count, "failures": failures, "took_s": round(took_s, 2)}
    print(json.dumps({**counts, "failed": failed, "met": met}))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
