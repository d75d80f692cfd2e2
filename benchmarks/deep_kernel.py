"""Whether features of an image shorten a search for the strongest spectrum, and whether a network adds to them.

Interface (needs BEAMLOOP_DATA): the task of examples/eels_dkl.toml on the recorded spectra,
seeds 0 to 9, `POINTS` of 294 places. The size of the patch and equal weights of features were
chosen on this same map with seeds 100 to 109; `gp-features-33` is the patch of one spectrum
only, which was not chosen.

Simulator: the task of regret.py on specimens 200 to 209, `LONG` measurements of the
noise-free truth with noise of the size that spectra have there. Network and its training
were tried on specimens 300 to 302.

Planted (needs BEAMLOOP_DATA): the same image, and an INVENTED property that follows the
seventeenth component, which holds 0.4 % of the variance of patches: what a network can do.
Seeds 0 to 9, measured where the map is least certain; component chosen with seed 100.

    python benchmarks/deep_kernel.py [--quick] [--json] [--picture docs/pictures/deep_kernel_eels.png]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from figure import Figure, announce, options
from regret import DWELL_S, Specimen

from beamloop.active_learning import Measure
from beamloop.active_learning.deep_kernel import deep_kernel
from beamloop.active_learning.fine_tuning import FineTuning, Measurements, fine_tuned
from beamloop.active_learning.hyperparameters import Hyperparameters, feature_kernel
from beamloop.active_learning.inputs import feature_inputs, position_inputs
from beamloop.active_learning.policy import gp_coordinates, gp_features, random
from beamloop.active_learning.trial import KnownMap, Quartiles, Trial, quartiles, trial
from beamloop.core import Policy, Pool, Suggestion
from beamloop.edge_client.reporting.comparison_figure import comparison_figure
from beamloop.models.features import patch_features
from beamloop.streaming.files import open_recording
from beamloop.streaming.reduce.spectrum import channels

POINTS, LONG = 120, 200
FOLDER, FILES = "eels-si-interface", ("SI-EELS.dm3", "SI-HAADF.dm3")
EDGE, BEFORE = (456.0, 475.0), (430.0, 450.0)
PATCH, CHOSEN, MANY = 65, 8, 32
FAINT = 16

Factory = Callable[[Pool, int], Policy]


@dataclass(frozen=True, slots=True)
class Entrant:
    """A policy on a map of its own: the truth is shared, the features need not be."""

    name: str
    known: KnownMap
    policy: Factory

    def tried(self, seeds: Sequence[int], points: int) -> list[Trial]:
        """Return one trial for each seed."""
        return [trial(self.known, self.policy(self.known.pool, seed), points, seed) for seed in seeds]


def interface(folder: Path) -> tuple[Callable[[int, int], Pool], np.ndarray, float]:
    """Return what makes a pool from a size of patch and a number of components, the truth and a typical error."""
    with open_recording(*(folder / FOLDER / file for file in FILES)) as recording:
        spectra, image = recording.detector("spectrum").signal(), recording.detector("haadf").signal()
    y, x, energy = spectra.axes
    positions = np.stack(np.meshgrid(y.coordinates(), x.coordinates(), indexing="ij"), axis=-1).reshape(-1, 2)
    edge, before = (spectra.data[..., channels(energy, limits)].sum(axis=-1).ravel() for limits in (EDGE, BEFORE))
    truth = np.asarray(edge / before, dtype=np.float64)
    std = float(np.median(truth * np.sqrt(1 / edge + 1 / before)))

    def pool(size_px: int, components: int) -> Pool:
        features = patch_features(image, positions, size_px=size_px, components=components)
        return Pool(positions, features, (y.size, x.size))

    return pool, truth, std


def interface_entrants(folder: Path) -> list[Entrant]:
    """Return who competes for the strongest titanium edge."""
    pool, truth, std = interface(folder)
    few, many, small = pool(PATCH, CHOSEN), pool(PATCH, MANY), pool(33, CHOSEN)
    alike = partial(gp_features, standardised=True)
    return [
        Entrant("random", KnownMap(few, truth, std), random),
        Entrant("gp-coordinates", KnownMap(few, truth, std), gp_coordinates),
        Entrant("gp-features-33", KnownMap(small, truth, std), alike),
        Entrant("gp-features", KnownMap(few, truth, std), alike),
        Entrant("deep-kernel", KnownMap(many, truth, std), partial(deep_kernel, standardised=True)),
    ]


def planted_entrants(folder: Path) -> list[Entrant]:
    """Return who competes for the map of an invented property that hides in a faint component."""
    pool, _, std = interface(folder)
    few, many = pool(PATCH, CHOSEN), pool(PATCH, MANY)
    assert many.features is not None
    faint = many.features[:, FAINT]
    truth = np.tanh(faint / faint.std())
    known = [KnownMap(each, truth, std) for each in (few, many, many, many)]
    names = ("gp-features", "gp-features-32", "deep-kernel", "deep-kernel-32")
    made = (gp_features, gp_features, deep_kernel, partial(deep_kernel, kept=MANY))
    return [
        Entrant(name, each, partial(policy, acquisition="max-std"))
        for name, each, policy in zip(names, known, made, strict=True)
    ]


def specimen_entrants(seed: int) -> list[Entrant]:
    """Return who competes on one simulated specimen."""
    few, many = Specimen(seed), Specimen(seed, components=MANY)
    y, x = few.pool.positions[0].tolist()
    std = few.measure(Measure("m", Suggestion(candidate=0, position=(y, x), why=f"noise at {DWELL_S} s"))).std
    assert std is not None
    makers: tuple[tuple[str, Pool, Factory], ...] = (
        ("gp-features", few.pool, gp_features),
        ("deep-kernel", many.pool, deep_kernel),
    )
    return [Entrant(name, KnownMap(pool, few.truth, std, std), policy) for name, pool, policy in makers]


def show(task: str, name: str, trials: list[Trial], as_json: bool, goal: float | None = None) -> None:
    """Show what one entrant needed to come within 2 %, missed along the way, and believed at the end."""
    about = f"{task}_{name.replace('-', '_')}"
    needed, most = quartiles(t.needed(0.02) for t in trials), len(trials[0].regret)
    # What was never reached is told as one more than was measured.
    low, median, high = (min(float(part), most + 1) for part in (needed.low, needed.median, needed.high))
    Figure(f"{about}_points_to_2_percent", median, "measurements", "lower", goal, n=len(trials)).show(as_json)
    Figure(f"{about}_first_quartile", low, "measurements", "lower", n=len(trials)).show(as_json)
    Figure(f"{about}_third_quartile", high, "measurements", "lower", n=len(trials)).show(as_json)
    show_one(f"{about}_area_under_regret", "of the range", quartiles(t.area for t in trials), trials, as_json)
    show_map(about, trials, as_json)


def show_map(about: str, trials: list[Trial], as_json: bool) -> None:
    """Show how wrong the map was at the end; nothing where there is none."""
    if not np.isnan(trials[0].map_error[-1]):
        show_one(f"{about}_map_error", "of the std", quartiles(t.map_error[-1] for t in trials), trials, as_json)


def show_one(figure: str, unit: str, found: Quartiles, trials: list[Trial], as_json: bool) -> None:
    """Show a median with its spread."""
    median = float(found.median)
    Figure(figure, median, unit, "lower", n=len(trials), spread=float(found.high - found.low) / median).show(as_json)


def show_refit(known: KnownMap, n: int, as_json: bool) -> None:
    """Show what trying a network costs with n measurements."""
    features, positions = feature_inputs(known.pool), position_inputs(known.pool)
    rows = np.random.default_rng(0).permutation(len(known.pool))[:n]
    values = (known.truth[rows] - known.truth[rows].mean()) / known.truth[rows].std()
    start = Hyperparameters(feature_kernel("matern52", CHOSEN, shared=True))
    before = time.process_time()
    fine_tuned(features, positions, Measurements(rows, values, np.full(n, np.nan)), start, FineTuning(kept=CHOSEN))
    Figure(f"network_tried_at_{n}", time.process_time() - before, "cpu-s", "lower").show(as_json)


def draw(found: dict[str, list[Trial]], path: Path) -> None:
    """Save regret and map error of all entrants: medians with quartiles."""

    def curves(of: Callable[[Trial], np.ndarray]) -> list[tuple[str, Quartiles]]:
        return [(name, quartiles(of(t) for t in trials)) for name, trials in found.items()]

    title = f"Titanium edge over pre-edge, {len(next(iter(found.values())))} seeds: median and quartiles"
    path.parent.mkdir(parents=True, exist_ok=True)
    comparison_figure(title, curves(lambda t: t.regret), curves(lambda t: t.map_error)).savefig(path, dpi=110)


def main() -> None:
    """Show all figures."""
    parser = options(__doc__)
    parser.add_argument("--picture", type=Path, help="where to save the curves of the interface")
    asked = parser.parse_args()
    announce(asked.json)
    folder = os.environ.get("BEAMLOOP_DATA")
    if folder:
        seeds, points = (range(2), 40) if asked.quick else (range(10), POINTS)
        entrants = interface_entrants(Path(folder))
        found = {one.name: one.tried(seeds, points) for one in entrants}
        least = min(
            float(quartiles(t.needed(0.02) for t in found[name]).median) for name in ("random", "gp-coordinates")
        )
        goal = min(least, points) - 1
        for name, trials in found.items():
            show("eels", name, trials, asked.json, goal if name in ("gp-features", "deep-kernel") else None)
        show_refit(entrants[-1].known, 100, asked.json)
        if not asked.quick:
            show_refit(entrants[-1].known, 250, asked.json)
        for one in planted_entrants(Path(folder)):
            tried = one.tried(seeds, 40 if asked.quick else 150)
            show_map(f"planted_{one.name.replace('-', '_')}", tried, asked.json)
        if asked.picture:
            draw(found, asked.picture)
    else:
        print("no figures on recorded data: set BEAMLOOP_DATA to the folder of recordings", flush=True)
    trials: dict[str, list[Trial]] = {}
    for seed in range(200, 201 if asked.quick else 210):
        for one in specimen_entrants(seed):
            trials.setdefault(one.name, []).extend(one.tried([seed], 40 if asked.quick else LONG))
    for name, tried in trials.items():
        show("specimens", name, tried, asked.json)


if __name__ == "__main__":
    main()
