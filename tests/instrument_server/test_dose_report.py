"""The dose map as a client gets it: whole cells to a pixel, nothing lost between them."""

from __future__ import annotations

import numpy as np
import pytest

from beamloop.core import InstrumentInfo, Parameter, PointScan, Region
from beamloop.instrument_server.dose import Dose, DoseSettings
from beamloop.instrument_server.dose.report import MOST_PIXELS, dose_report

INFO = InstrumentInfo(
    name="bench", source="hardware", field=Region(y_m=0.0, x_m=0.0, height_m=48e-9, width_m=64e-9),
    parameters=tuple(
        Parameter(name=f"stage_{axis}_m", units="m", value=0.0, low=-1e-3, high=1e-3) for axis in "yx"
    ),
    detectors=(), stage=("stage_y_m", "stage_x_m"),
)  # fmt: skip
ELEMENTARY_CHARGE_C = 1.602176634e-19
CURRENT_A = 1e-10


def exposed(cell_m: float, budget_per_m2: float | None = None) -> tuple[Dose, np.ndarray]:
    """Return a dose of 300 points at random and a dozen at one of them, and all places."""
    dose = Dose(INFO, DoseSettings(cell_m=cell_m, current_a=CURRENT_A, budget_per_m2=budget_per_m2), None)
    places = np.random.default_rng(4).uniform(0, 1, (300, 2)) * [48e-9, 64e-9]
    places = np.concatenate([places, np.repeat(places[:1], 12, axis=0)])
    dose.reserve("a", PointScan(detector="haadf", points=tuple(map(tuple, places.tolist())), dwell_s=1e-3), {})
    return dose, places


@pytest.mark.parametrize(("cell_m", "step"), [(1e-9, 1), (0.25e-9, 4)])
def test_each_pixel_is_the_mean_and_the_greatest_of_whole_cells(cell_m: float, step: int) -> None:
    dose, places = exposed(cell_m, budget_per_m2=1e30)
    report = dose_report(dose, INFO, {})
    edges = [np.arange(round(extent / cell_m) + 1) * cell_m for extent in (48e-9, 64e-9)]
    cells = np.histogram2d(places[:, 0], places[:, 1], edges)[0] * CURRENT_A * 1e-3 / ELEMENTARY_CHARGE_C / cell_m**2
    pixels = cells.reshape(cells.shape[0] // step, step, cells.shape[1] // step, step)
    assert max(report.y.size, report.x.size) <= MOST_PIXELS
    np.testing.assert_allclose(report.map("mean").data, pixels.mean(axis=(1, 3)), rtol=1e-6)
    np.testing.assert_allclose(report.map("greatest").data, pixels.max(axis=(1, 3)), rtol=1e-6)
    np.testing.assert_allclose(report.map("left").data, 1e30 - pixels.max(axis=(1, 3)), rtol=1e-6)
    assert report.y.coordinates()[0] == pytest.approx(step * cell_m / 2), "a pixel's centre"
    assert report.greatest_per_m2 == pytest.approx(cells.max())
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    assert report.greatest_at_m == pytest.approx(((row + 0.5) * cell_m, (column + 0.5) * cell_m))


def test_the_field_moves_with_the_stage_and_everywhere_does_not() -> None:
    dose, _ = exposed(1e-9)
    aside = {"stage_y_m": 16e-9, "stage_x_m": -8e-9}
    here, there = dose_report(dose, INFO, {}), dose_report(dose, INFO, aside)
    np.testing.assert_array_equal(there.map().data[:32, 8:], here.map().data[16:, :56])
    assert not there.map().data[32:].any()
    assert there.electrons == here.electrons, "all of the specimen, inside the field and outside"
    wide = dose_report(dose, INFO, aside, "everywhere")
    total = wide.map("mean").data.sum() * (wide.y.scale * wide.x.scale)
    assert total == pytest.approx(here.electrons, rel=1e-6)


def test_an_untouched_specimen_has_a_map_without_dose_and_all_of_no_budget_left() -> None:
    report = dose_report(Dose(INFO, DoseSettings(cell_m=1e-9, current_a=CURRENT_A), None), INFO, {}, "everywhere")
    assert (report.electrons, report.greatest_per_m2, report.greatest_at_m, report.budgets) == (0.0, 0.0, None, {})
    assert not report.map().data.any()
    assert np.isinf(report.map("left").data).all()
