"""How fast frames are reduced: GB of their own bytes per CPU-second, beside numpy and LiberTEM.

uint16 frames of 128 x 128, in memory, one thread. Each way makes the whole run: it begins, takes
every frame, and gives its results. numpy is what one would write by hand, in blocks of 1 MiB.
LiberTEM runs inline on the same frames in a process and an environment of its own, which
`peers/libertem.sh` makes; its detectors are masks, so our rings stand beside numpy only.

    python benchmarks/reductions.py --quick
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from figure import Figure, announce, options, spread
from numpy.typing import NDArray

from beamloop.core import Axis, FrameBatch, Reduction, Scan
from beamloop.streaming.reduce import CentreOfMass, Masks, Moments, Reducing, Ring, Total, VirtualDetector
from beamloop.streaming.reduce.kernels import fetch, plain

ROOT = Path(__file__).parents[1]
SIZE = 128
BATCH = 1024
"""Frames handed over at once, 32 MiB: what `beamloop reduce` reads of a file."""

BLOCK = 32
"""Frames that numpy takes at once."""

RINGS = ((0, 10), (12, 30), (35, 60))
GOALS = {
    "sum": 22, "masks_1": 20, "masks_4": 12, "masks_16": 5, "rings_3": 18, "centre_of_mass": 25, "mean_variance": 15,
    "one_run": 8,
}  # fmt: skip


def scan_of(n: int) -> Scan:
    """Return the header of a scan with so many frames."""
    axes = [Axis(name=name, size=size) for name, size in (("y", n // 64), ("x", 64), ("v", SIZE), ("u", SIZE))]
    return Scan(
        scan_id="s", measurement_id="m", receiver="", detector="camera", scan_axes=tuple(axes[:2]),
        frame_axes=tuple(axes[2:]), dtype="<u2", dwell_s=0.0,
    )  # fmt: skip


def ours(masks: NDArray) -> dict[str, dict[str, Reduction]]:
    """Return the reductions of each set."""
    centre = (SIZE / 2, SIZE / 2)
    rings = [Ring(inner=inner, outer=outer, centre=centre, pixels=True) for inner, outer in RINGS]
    of: dict[int, Reduction] = {k: Masks.model_validate({"masks": masks[:k]}) for k in (1, 4, 16)}
    return {
        "sum": {"sum": Total()},
        **{f"masks_{k}": {"masks": each} for k, each in of.items()},
        "rings_3": {f"ring {n}": VirtualDetector(region=ring) for n, ring in enumerate(rings)},
        "centre_of_mass": {"com": CentreOfMass()},
        "mean_variance": {"moments": Moments()},
        "one_run": {"sum": Total(), "masks": of[4], "com": CentreOfMass(), "moments": Moments()},
    }


def reduced(scan: Scan, reductions: Mapping[str, Reduction], frames: NDArray) -> None:
    """Make one run of ours."""
    reducing, positions = Reducing(scan, reductions), np.zeros((BATCH, 2))
    for first in range(0, len(frames), BATCH):
        part = slice(first, first + BATCH)
        reducing.add(FrameBatch("s", np.arange(first, first + BATCH), positions, frames[part]))
    reducing.results()


def by_hand(masks: NDArray) -> dict[str, list[Callable[[NDArray], object]]]:
    """Return what numpy does with a block of frames, for each set."""
    numbers = np.arange(SIZE)
    v, u = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    rings = [np.flatnonzero((np.hypot(v, u) >= inner) & (np.hypot(v, u) < outer)) for inner, outer in RINGS]

    def total(block: NDArray) -> object:
        return block.sum(axis=0, dtype=np.int64), block.sum(axis=(1, 2), dtype=np.int64)

    def masked(k: int) -> Callable[[NDArray], object]:
        flat = masks[:k].reshape(k, -1).T.copy()
        return lambda block: block.reshape(len(block), -1).astype(np.float32) @ flat

    def ringed(block: NDArray) -> object:
        return [block.reshape(len(block), -1)[:, ring].sum(axis=1, dtype=np.int64) for ring in rings]

    def centred(block: NDArray) -> object:
        return block.sum(axis=2, dtype=np.int64) @ numbers, block.sum(axis=1, dtype=np.int64) @ numbers

    def scattered(block: NDArray) -> object:
        wide = block.astype(np.int64)
        return wide.sum(axis=0), np.einsum("i...,i...->...", wide, wide)

    return {
        "sum": [total], "masks_1": [masked(1)], "masks_4": [masked(4)], "masks_16": [masked(16)],
        "rings_3": [ringed], "centre_of_mass": [centred], "mean_variance": [scattered],
        "one_run": [total, masked(4), centred, scattered],
    }  # fmt: skip


def block_by_block(steps: list[Callable[[NDArray], object]], frames: NDArray) -> None:
    """Make one run of numpy's."""
    for first in range(0, len(frames), BLOCK):
        for step in steps:
            step(frames[first : first + BLOCK])


def rate(action: Callable[[], object], nbytes: int) -> float:
    """Return GB per CPU-second."""
    start = time.process_time()
    action()
    return nbytes / (time.process_time() - start) / 1e9


def libertem(frames: NDArray, masks: NDArray, times: int) -> tuple[str, dict[str, list[float]]] | None:
    """Return LiberTEM's version and rates; None, with a word why, where it cannot be had."""
    made = subprocess.run([ROOT / "benchmarks/peers/libertem.sh"], capture_output=True, text=True, check=False)
    if made.returncode:
        print(f"no LiberTEM: {(made.stderr.strip() or 'no word').splitlines()[-1]}", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as name:
        np.save(f"{name}/frames.npy", frames)
        np.save(f"{name}/masks.npy", masks)
        words = [".peers/libertem/bin/python", "benchmarks/peers/libertem_reductions.py"]
        words += [f"{name}/frames.npy", f"{name}/masks.npy", str(times)]
        one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        done = subprocess.run(words, cwd=ROOT, env=os.environ | one, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"no LiberTEM: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    told = json.loads(done.stdout.splitlines()[-1])
    return f"LiberTEM {told['version']}", told["rates"]


def main() -> None:
    """Print all figures."""
    asked = options(__doc__).parse_args()
    announce(asked.json)
    n, times = (4096, 3) if asked.quick else (16_384, 9)
    rng = np.random.default_rng(0)
    frames = rng.poisson(3.0, (n, SIZE, SIZE)).astype(np.uint16)
    masks = rng.random((16, SIZE, SIZE), dtype=np.float32)
    scan, hand = scan_of(n), by_hand(masks)
    read = [rate(lambda: fetch(plain(frames)), frames.nbytes) for _ in range(times + 1)][1:]
    Figure("reduce_memory_read", median(read), "GB/cpu-s", "higher", n=times, spread=spread(read)).show(asked.json)
    peer = libertem(frames, masks, times)
    for name, reductions in ours(masks).items():
        reduced(scan, reductions, frames[:BATCH])
        found = [rate(partial(reduced, scan, reductions, frames), frames.nbytes) for _ in range(times)]
        block_by_block(hand[name], frames[:BLOCK])
        numpys = [rate(partial(block_by_block, hand[name], frames), frames.nbytes) for _ in range(3)]
        beside = {} if peer is None or name not in peer[1] else {peer[0]: median(peer[1][name])}
        for who, value in [*beside.items(), ("numpy", median(numpys))]:
            figure = f"reduce_{name}_beside_numpy" if who == "numpy" else f"reduce_{name}"
            Figure(
                figure, median(found), "GB/cpu-s", "higher", GOALS[name], who, value, times, spread(found)
            ).show(asked.json)  # fmt: skip


if __name__ == "__main__":
    main()
