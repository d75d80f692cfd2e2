"""How quickly the simulated microscope gives what it is asked for, Poisson noise included.

In this process, one thread, at the microscope's own 50 pA: a scan of diffraction patterns, an
overview, one spectrum.

    OMP_NUM_THREADS=1 python benchmarks/simulator.py --quick
"""

from __future__ import annotations

import time

import numpy as np
from figure import Figure, announce, options
from open_beam import OpenBeam

from beamloop.core import Acquisition, GridScan, PointScan
from beamloop.simulators.microscope import simulated_microscope

PATTERNS = GridScan(detector="diffraction", shape=(64, 64), dwell_s=1e-3)
OVERVIEW = GridScan(detector="haadf", shape=(256, 256), dwell_s=4e-6)
SPECTRUM = PointScan(detector="eels", points=((50e-9, 50e-9),), dwell_s=0.05)


def seconds(plan: Acquisition, times: int) -> np.ndarray:
    """Return how long the plan takes, on a fresh microscope, after one run that is not counted."""
    microscope = simulated_microscope({}, OpenBeam())
    taken = np.empty(times + 1)
    for index in range(times + 1):
        start = time.perf_counter()
        scan = microscope.begin(plan, f"s{index}", f"m{index}", "benchmark")
        frames = sum(len(batch.indices) for batch in microscope.frames(plan, scan))
        taken[index] = time.perf_counter() - start
        assert frames == scan.n_frames
    return taken[1:]


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__).parse_args()
    announce(chosen.json)
    few = 1 if chosen.quick else 5
    for name, plan, times, unit, scale, goal in (
        ("simulator_4096_patterns_128", PATTERNS, few, "s", 1.0, 5.0),
        ("simulator_overview_256", OVERVIEW, 5 * few, "s", 1.0, 1.0),
        ("simulator_spectrum", SPECTRUM, 100 * few, "ms", 1e3, 1.0),
    ):
        taken = scale * seconds(plan, times)
        low, middle, high = np.percentile(taken, [25, 50, 75])
        figure = Figure(name, float(middle), unit, "lower", goal, n=times, spread=float((high - low) / middle))
        figure.show(chosen.json)


if __name__ == "__main__":
    main()
