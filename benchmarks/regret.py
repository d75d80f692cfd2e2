"""How many measurements a policy needs, on simulated specimens and on a recorded map.

Simulator: measurements until a place was measured whose true, noise-free value lies within
2 % of the property's true range of its maximum; the task is that of examples/simulator.toml
on specimens with seeds 200 to 219, none of which was looked at while simulator and policies
were made.
A run that has not got there after `CAP` measurements counts as more than that.

Recording (needs BEAMLOOP_DATA): error of the predicted map of a BiFeO3 film over places
not measured, in units of the map's standard deviation, with 250 of 2500 I-V curves, seeds
0 to 9. That the kernel has two parts was decided on this map with seeds 100 to 111.

    python benchmarks/regret.py [--quick] [--json] [--picture docs/pictures/regret_simulator.png]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from figure import Figure, announce, options
from matplotlib.figure import Figure as Picture
from numpy.typing import NDArray
from open_beam import OpenBeam
from scipy.spatial import cKDTree

from beamloop.active_learning import Measure
from beamloop.active_learning.policy import gp_coordinates, gp_features, random
from beamloop.active_learning.trial import KnownMap, trial, visits
from beamloop.core import Acquisition, GridScan, Measurement, PointScan, Policy, Pool, Scan, Signal
from beamloop.models.features import patch_features
from beamloop.simulators.microscope import simulated_microscope
from beamloop.streaming.files import open_recording
from beamloop.streaming.reduce.engine import Reducing
from beamloop.streaming.reduce.spectrum import SpectrumWindow

CAP = 400
HORIZON = 100
FIRST_SEED = 200
POLICIES: dict[str, Callable[[Pool, int], Policy]] = {
    "random": random,
    "gp-coordinates": gp_coordinates,
    "gp-features": gp_features,
}
EDGE = SpectrumWindow(window=(705.0, 735.0), background=(640.0, 700.0), combine="ratio")
DWELL_S = 0.05
RECORDING = "afm-spectral-grids/bfo_iv_final.hf5"


class Specimen:
    """One simulated specimen: its overview, its pool, the truth, and measurements of it."""

    def __init__(self, seed: int, shape: tuple[int, int] = (64, 64), components: int = 8) -> None:
        self._microscope = simulated_microscope({"seed": seed}, OpenBeam())
        field = self._microscope.describe().field
        grid = GridScan(detector="eels", shape=shape, dwell_s=DWELL_S, expected=True)
        self.truth = self._reduced(grid, "truth")["value"].data.ravel()
        positions = grid.positions(field)
        overview = self._overview(GridScan(detector="haadf", shape=(256, 256), dwell_s=4e-6))
        self.pool = Pool(positions, patch_features(overview, positions, size_m=4e-9, components=components), shape)

    def measure(self, command: Measure) -> Measurement:
        """Take a spectrum where the loop asks for one."""
        place = command.suggestion
        plan = PointScan(detector="eels", points=(place.position,), dwell_s=DWELL_S)
        found = self._reduced(plan, command.measurement_id)
        return Measurement(
            measurement_id=command.measurement_id,
            candidate=place.candidate,
            position=place.position,
            value=float(found["value"].data[0]),
            std=float(found["std"].data[0]),
        )

    def _overview(self, plan: GridScan) -> Signal:
        scan, frames = self._frames(plan, "overview")
        return Signal(frames.reshape(scan.scan_shape), scan.scan_axes)

    def _reduced(self, plan: Acquisition, name: str) -> dict[str, Signal]:
        scan = self._microscope.begin(plan, name, name, "benchmark")
        reducing = Reducing(scan, {"edge": EDGE})
        for batch in self._microscope.frames(plan, scan):
            reducing.add(batch)
        return reducing.results()["edge"]

    def _frames(self, plan: Acquisition, name: str) -> tuple[Scan, NDArray]:
        scan = self._microscope.begin(plan, name, name, "benchmark")
        frames = np.zeros((scan.n_frames, *scan.frame_shape), dtype=scan.dtype)
        for batch in self._microscope.frames(plan, scan):
            frames[batch.indices] = batch.frames
        return scan, frames


@dataclass(frozen=True, slots=True)
class Search:
    """One run: measurements to the goal (`CAP` + 1 if it was not reached) and the best true value after each."""

    needed: int
    best: NDArray[np.float64]


def search(specimen: Specimen, policy: Policy) -> Search:
    """Run one loop, one measurement ahead, until the goal is reached and the horizon is filled."""
    truth = specimen.truth
    low, high = truth.min(), truth.max()
    values, needed = [], CAP + 1
    for measurement in visits(specimen.measure, policy, CAP):
        values.append((truth[measurement.candidate] - low) / (high - low))
        if values[-1] >= 0.98:
            needed = min(needed, len(values))
        if needed <= CAP and len(values) >= HORIZON:
            break
    return Search(needed, np.maximum.accumulate(values))


def simulator_figures(seeds: range, as_json: bool) -> dict[str, list[Search]]:
    """Show measurements to the goal for each policy, and how the medians compare."""
    found: dict[str, list[Search]] = {name: [] for name in POLICIES}
    for seed in seeds:
        for name, policy in POLICIES.items():
            specimen = Specimen(seed)
            found[name].append(search(specimen, policy(specimen.pool, seed)))
    medians = {}
    for name, searches in found.items():
        needed = np.array([s.needed for s in searches])
        first, median, third = np.percentile(needed, [25, 50, 75])
        medians[name] = float(median)
        figure = f"points_to_2_percent_{name.replace('-', '_')}"
        Figure(figure, medians[name], "measurements", "lower", n=len(needed), spread=(third - first) / median).show(
            as_json
        )
        missed = int((needed > CAP).sum())
        Figure(f"{figure}_over_{CAP}", missed, "runs", "lower", n=len(needed)).show(as_json)
        Figure(f"{figure}_first_quartile", float(first), "measurements", "lower", n=len(needed)).show(as_json)
        Figure(f"{figure}_third_quartile", float(third), "measurements", "lower", n=len(needed)).show(as_json)
    names = list(POLICIES)
    for better, worse in zip(names[1:], names[:-1], strict=True):
        ratio = medians[better] / medians[worse]
        name = f"{better}_over_{worse}".replace("-", "_")
        Figure(name, ratio, "of the points", "lower", goal=0.999, n=len(seeds)).show(as_json)
    return found


def draw(found: dict[str, list[Search]], path: Path) -> None:
    """Save the best true value so far: medians with quartiles."""
    picture = Picture(figsize=(7, 4.2), layout="constrained")
    axes = picture.add_subplot()
    steps = np.arange(1, HORIZON + 1)
    colours = ("#777777", "#2a7fb8", "#d9541e")
    for (name, searches), colour in zip(found.items(), colours, strict=True):
        curves = np.array([s.best[:HORIZON] for s in searches])
        first, median, third = np.percentile(curves, [25, 50, 75], axis=0)
        axes.fill_between(steps, first, third, color=colour, alpha=0.18, linewidth=0)
        needed = float(np.median([s.needed for s in searches]))
        goal = f"{needed:g}" if needed <= CAP else f"more than {CAP}"
        axes.plot(steps, median, color=colour, label=f"{name}: {goal} to the goal")
    axes.axhline(0.98, color="black", linewidth=0.8, linestyle=":", label="the goal: within 2 % of the range")
    axes.set(
        xlabel="measurements",
        ylabel="best true value so far (0 lowest, 1 highest)",
        xlim=(1, HORIZON),
        ylim=(0.3, 1.01),
    )
    axes.set_title(f"{len(next(iter(found.values())))} simulated specimens: median and quartiles", fontsize=10)
    axes.legend(loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=150)


def map_figures(seeds: range, as_json: bool) -> None:
    """Show the error of the predicted map of the recorded grid, or say that there is no recording."""
    folder = os.environ.get("BEAMLOOP_DATA")
    if not folder:
        print("no figures on recorded data: set BEAMLOOP_DATA to the folder of recordings", flush=True)
        return
    with open_recording(Path(folder) / RECORDING) as recording:
        curves = recording.detector("spectrum").signal()
    y, x = (axis.coordinates() for axis in curves.axes[:2])
    truth = curves.data.sum(axis=2)
    pool = Pool(np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2), shape=truth.shape)
    errors = np.array([map_errors(pool, truth.ravel(), seed) for seed in seeds])
    names = ("random_nearest", "random_gp", "uncertainty_gp")
    for name, goal, values in zip(names, (None, 0.80, 0.765), errors.T, strict=True):
        spread = float(np.subtract(*np.percentile(values, [75, 25])) / np.median(values))
        figure = Figure(
            f"map_error_bfo_{name}", float(values.mean()), "of the std", "lower", goal, n=len(values), spread=spread
        )
        figure.show(as_json)


def map_errors(pool: Pool, truth: NDArray[np.float64], seed: int, points: int = 250) -> tuple[float, float, float]:
    """Return the map's error for random points by nearest value and by GP, and for the most uncertain points by GP."""
    known = KnownMap(pool, truth)
    listener, rows = gp_coordinates(pool, seed), []
    for measurement in visits(known.answers(seed), random(pool, seed), points, ahead=0):
        listener.observe(measurement)
        rows.append(measurement.candidate)
    nearest = truth[rows][cKDTree(pool.positions[rows]).query(pool.positions)[1]]
    leader = trial(known, gp_coordinates(pool, seed, acquisition="max-std"), points, seed, ahead=0)
    return (
        map_error(nearest, truth, rows),
        map_error(predicted(listener), truth, rows),
        float(leader.map_error[-1]),
    )


def predicted(policy: Policy) -> NDArray[np.float64]:
    """Return the map that a policy believes in."""
    belief = policy.belief()
    assert belief is not None
    return belief.mean


def map_error(predicted: NDArray[np.float64], truth: NDArray[np.float64], rows: list[int]) -> float:
    """Return the root mean square error over places not measured, in standard deviations of the whole map."""
    left = np.setdiff1d(np.arange(len(truth)), rows)
    return float(np.sqrt(np.mean((predicted - truth)[left] ** 2)) / truth.std())


def main() -> None:
    """Show all figures."""
    parser = options(__doc__)
    parser.add_argument("--picture", type=Path, help="where to save the curves of the simulator")
    asked = parser.parse_args()
    announce(asked.json)
    map_figures(range(2 if asked.quick else 10), asked.json)
    found = simulator_figures(range(FIRST_SEED, FIRST_SEED + (3 if asked.quick else 20)), asked.json)
    if asked.picture:
        draw(found, asked.picture)


if __name__ == "__main__":
    main()
