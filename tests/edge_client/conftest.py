"""A short run, made by hand: 20 x 24 candidates, a smooth truth, a dozen steps."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator

import numpy as np
import pytest

from beamloop.core import (
    Axis,
    DetectorInfo,
    InstrumentInfo,
    InstrumentState,
    Measurement,
    Parameter,
    Pool,
    Prediction,
    Region,
    Signal,
    Suggestion,
)
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.embedded import embedded
from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.record.events import (
    Arrived,
    Budget,
    Commanded,
    Declined,
    Described,
    Ended,
    Event,
    Installed,
    Noted,
    Opened,
    Plugin,
)
from beamloop.edge_client.record.journal import Entry
from beamloop.edge_client.record.story import Seen

from .budgeted import CONFIG, CURRENT_A


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    """Serve a simulated microscope for all tests that need one; tests leave it armed and without a lease."""
    with embedded("simulator") as address:
        until = time.monotonic() + 5
        with connect(address) as looking:
            # The server knows the beam from the guard's first answer on.
            while looking.state().beam == "unknown" and time.monotonic() < until:
                time.sleep(0.01)
        yield address


@pytest.fixture(scope="session")
def budgeted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a simulated microscope with limits, a rule and a dose budget; see `budgeted.CONFIG`."""
    config = tmp_path_factory.mktemp("budgeted") / "stem.toml"
    config.write_text(CONFIG)
    with embedded(str(config)) as address:
        yield address


@pytest.fixture
def stem(budgeted: str) -> Iterator[RemoteInstrument]:
    """Return the budgeted microscope with the lease, a specimen that had no dose, and its settings as at the start."""
    with connect(budgeted, purpose="a test") as stem:
        stem.safety.new_specimen("another")
        stem.arm()
        stem.move(beam_current_a=CURRENT_A)
        while stem.read("defocus_m"):
            at = stem.read("defocus_m")
            stem.move(defocus_m=at - max(-1e-7, min(1e-7, at)))
        yield stem


FIELD = Region(y_m=0.0, x_m=0.0, height_m=200e-9, width_m=240e-9)
SHAPE = (20, 24)
STEPS = 14

EXPERIMENT_TEXT = """# Where is the <edge> strongest?
name = "canned"
question = "Where is the edge & its ratio strongest?"
seed = 3
[pool]
shape = [20, 24]
[overview]
shape = [80, 96]
dwell_s = 1e-6
[measure]
detector = "spectrometer"
dwell_s = 0.01
[target]
name = "edge ratio"
units = "counts"
reduction = "spectrum-window"
[policy]
name = "gp-coordinates"
[stop]
points = 12
"""


@pytest.fixture(scope="session")
def experiment_text() -> str:
    return EXPERIMENT_TEXT


@pytest.fixture(scope="session")
def info() -> InstrumentInfo:
    energy = Axis(name="energy_loss", size=40, units="eV", quantity="energy loss", offset=400.0, scale=2.5)
    return InstrumentInfo(
        name="canned stem",
        source="simulator",
        field=FIELD,
        parameters=(Parameter(name="defocus_m", units="m", value=0.0, low=-1e-6, high=1e-6, doc="Defocus."),),
        detectors=(DetectorInfo(name="haadf"), DetectorInfo(name="spectrometer", frame_axes=(energy,))),
        overview="haadf",
        expects=True,
    )


@pytest.fixture(scope="session")
def pool() -> Pool:
    y, x = FIELD.grid(SHAPE)
    rows, columns = np.meshgrid(y.coordinates(), x.coordinates(), indexing="ij")
    return Pool(np.column_stack([rows.ravel(), columns.ravel()]), shape=SHAPE)


@pytest.fixture(scope="session")
def truth(pool: Pool) -> np.ndarray:
    y, x = pool.positions.T * 1e9
    return 100 * np.exp(-((y - 60) ** 2 + (x - 150) ** 2) / 2 / 40**2) + 20 * np.sin(x / 30)


@pytest.fixture(scope="session")
def seen(pool: Pool, truth: np.ndarray) -> Seen:
    y, x = FIELD.grid((80, 96))
    picture = np.random.default_rng(0).poisson(50, (80, 96)).astype("<u2")
    spectrum = Axis(name="energy_loss", size=40, units="eV", quantity="energy loss", offset=400.0, scale=2.5)
    return Seen(
        pool=pool,
        overview=Signal(picture, (y, x), "intensity", "counts"),
        belief=Prediction(truth * 0.9 + 2, np.full(len(pool), 3.0)),
        truth=truth,
        best_frame=Signal(np.linspace(90, 20, 40), (spectrum,), "intensity", "counts"),
    )


@pytest.fixture(scope="session")
def entries(info: InstrumentInfo, pool: Pool, truth: np.ndarray) -> list[Entry]:
    experiment = Experiment.model_validate(tomllib.loads(EXPERIMENT_TEXT))
    plugin = Plugin(name="gp-coordinates", entry="here:it", version="0")
    events: list[Event] = [
        Opened(
            run="canned",
            experiment=EXPERIMENT_TEXT,
            settings=experiment.model_dump(mode="json"),
            instrument="simulator",
            seed=3,
            started="2026-01-01T12:00:00+00:00",
            durability="process",
            versions={"beamloop": "0", "python": "3"},
        ),
        Described(
            address="127.0.0.1:1", protocol=1, version_there="0", info=info,
            state=InstrumentState(activity="idle", beam="blanked"),
        ),
        Installed(
            reduction=plugin, policy=plugin, seed=3, candidates=len(pool), shape=SHAPE, pool="0", features="",
        ),
        Noted(text="the pool is a grid of 20 x 24"),
    ]  # fmt: skip
    chosen = np.random.default_rng(1).choice(len(pool), STEPS, replace=False)
    for step, candidate in enumerate(chosen):
        events += _step(step, int(candidate), pool, truth)
    events.append(Ended(outcome="finished", reason="12 of 12 points measured"))
    return [Entry(seq, 1.7e9 + 0.1 * seq, event) for seq, event in enumerate(events, 1)]


def _step(step: int, candidate: int, pool: Pool, truth: np.ndarray) -> list[Event]:
    y, x = map(float, pool.positions[candidate])
    name = f"m{step:04d}"
    asked = Commanded(
        step=step, measurement_id=name, request_id=f"me/{name}", decide_s=0.004 + 0.001 * step, react_s=0.0005,
        suggestion=Suggestion(
            candidate=candidate, position=(y, x), why="largest log expected improvement", score=0.1 * step,
            mean=None if step < 3 else float(truth[candidate]) + 2, std=None if step < 3 else 6.0,
        ),
    )  # fmt: skip
    if step == 5:
        return [asked, Declined(measurement_id=name, outcome="refused", error="LimitRefused", message="dose <spent>")]
    if step == STEPS - 1:
        return [asked]
    budget = Budget(
        wait_s=0.001, move_s=0.002, acquire_s=0.01, produce_s=0.03, transfer_s=0.002, reduce_s=0.0004, store_s=0.003
    )
    measured = Measurement(
        measurement_id=name, candidate=candidate, position=(y, x), value=float(truth[candidate]) + 1.0, std=1.5,
        electrons=1e6, duration_s=0.012,
    )  # fmt: skip
    return [asked, Arrived(measurement=measured, scan_id=f"s{step}", budget=budget)]
