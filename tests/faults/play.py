"""Play schedules of faults in virtual time, from the command line.

    python tests/faults/play.py 755 --log         one schedule, with everything that happened
    python tests/faults/play.py 0 --count 1000    a thousand, spread over all cores

Prints one line of JSON at the end, or at Ctrl-C: how many were played, which failed and why, what was met.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from virtual.schedule import play

MOST_TOLD = 20
"""Failures that are told with their seed."""

SHARE = 50
"""Schedules that a process plays before it tells what it met and takes the next."""


@dataclass
class Told:
    """What came of some schedules: how many, what they met, and why which of them failed."""

    played: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)


def play_all(seeds: range, log: bool = False) -> Told:
    """Play one schedule after another; a failure is told with its seed, and the next is played."""
    told = Told(len(seeds))
    for seed in seeds:
        try:
            played = play(seed)
        except Exception as error:  # every failure is told, whatever it is
            told.failed[seed] = f"{type(error).__name__}: {error}"
            lines = getattr(error, "__notes__", [])
        else:
            told.met += Counter(played.faults) + played.met()
            lines = played.log
        if log:
            print("\n".join(lines))
    return told


def begin_process() -> None:
    """Silence the log of misbehaving plugins, and look for garbage seldom: a world leaves little of it."""
    logging.disable(logging.CRITICAL)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def alone(seeds: range, log: bool) -> Iterator[Told]:
    """Play in this process."""
    begin_process()
    yield play_all(seeds, log)


def together(seeds: range, processes: int) -> Iterator[Told]:
    """Play in several processes, and yield what each tells of a share as it is done."""
    shares = [seeds[first : first + SHARE] for first in range(0, len(seeds), SHARE)]
    with multiprocessing.get_context("spawn").Pool(processes, begin_process) as pool:
        yield from pool.imap_unordered(play_all, shares)


def main() -> int:
    """Play what the command line asks for; return 1 if a promise was broken."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("seed", type=int)
    asked.add_argument("--count", type=int, default=1)
    asked.add_argument("--log", action="store_true")
    options = asked.parse_args()
    seeds = range(options.seed, options.seed + options.count)
    processes = 1 if options.log else min(os.cpu_count() or 1, -(-len(seeds) // SHARE))
    started, all_told = time.perf_counter(), Told()
    with suppress(KeyboardInterrupt):
        for told in alone(seeds, options.log) if processes == 1 else together(seeds, processes):
            all_told.played += told.played
            all_told.failed |= told.failed
            all_told.met += told.met
    failed = dict(sorted(all_told.failed.items())[:MOST_TOLD])
    counts = {"played": all_told.played, "failures": len(all_told.failed), "processes": processes}
    took_s = round(time.perf_counter() - started, 2)
    print(json.dumps({**counts, "took_s": took_s, "failed": failed, "met": all_told.met}))
    return 1 if all_told.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
