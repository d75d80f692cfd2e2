"""A simulated microscope with limits, rules and a dose budget, and what its dose comes to by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beamloop.core import Acquisition, Region
from beamloop.edge_client.experiment import Experiment

ELEMENTARY_CHARGE_C = 1.602176634e-19
CURRENT_A = 5e-11
FIELD = Region(y_m=0.0, x_m=0.0, height_m=100e-9, width_m=100e-9)
CELL_M = 25e-9
POINT_S = 0.05
POINT_ELECTRONS = CURRENT_A * POINT_S / ELEMENTARY_CHARGE_C
"""Electrons of one measurement."""

BUDGET_PER_M2 = 2.5 * POINT_ELECTRONS / CELL_M**2
"""Two measurements in each cell, and something for a picture."""

CONFIG = f"""
folder = "."
[limits.defocus_m]
high = 500e-9
step = 100e-9
[limits.beam_current_a]
high = 100e-12
[rules.no-spectra-in-strong-beam]
acquires = ["eels"]
when.beam_current_a = {{ above = 60e-12 }}
why = "the film burns"
[dose]
budget_per_m2 = {BUDGET_PER_M2!r}
cell_m = {CELL_M!r}
[instrument]
plugin = "simulator"
"""


def electrons(plan: Acquisition, current_a: float = CURRENT_A) -> float:
    """Return what all positions of a plan take."""
    return plan.count * current_a * plan.dwell_s / ELEMENTARY_CHARGE_C


def by_cell(*plans: Acquisition, cell_m: float = CELL_M, current_a: float = CURRENT_A) -> NDArray[np.float64]:
    """Return the dose in each cell of the field, electrons per square metre, counted position by position."""
    across = round(FIELD.height_m / cell_m)
    found = np.zeros((across, across))
    for plan in plans:
        for y, x in plan.positions(FIELD):
            found[int(y // cell_m), int(x // cell_m)] += current_a * plan.dwell_s / ELEMENTARY_CHARGE_C
    return found / cell_m**2


def budgeted_experiment(policy: str = "random", **stop: object) -> Experiment:
    """Return a short experiment on 8 x 8 candidates, four in each cell."""
    measure = {"detector": "eels", "dwell_s": POINT_S}
    target = {
        "name": "edge ratio", "reduction": "spectrum-window",
        "settings": {"combine": "ratio", "window": [705.0, 735.0], "background": [640.0, 700.0]},
    }  # fmt: skip
    return Experiment.model_validate({
        "name": "budgeted", "question": "Where?", "seed": 1, "pool": {"shape": (8, 8)}, "measure": measure,
        "overview": {"detector": "haadf", "shape": (64, 64), "dwell_s": 4e-6}, "target": target,
        "policy": {"name": policy}, "stop": {name: value for name, value in stop.items() if value is not None},
    })  # fmt: skip
