"""A source that waits because nobody stores its frames: its beam is dark meanwhile, if the instrument allows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from beamloop.core import GridScan
from beamloop.edge_client import connect
from beamloop.edge_client.embedded import embedded
from beamloop.streaming.incoming import collect

from ..served import Served

ELEMENTARY_CHARGE_C = 1.602176634e-19
WAIT_S = 20.0
CONFIG = """
folder = "."
[frames]
memory_bytes = 4194304
disk_bytes = 0
[instrument]
"""
PLAN = GridScan(detector="diffraction", shape=(20, 20), dwell_s=1e-4)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Served]]:
    """Serve an instrument that keeps 4 MiB of frames, and then waits."""
    there: list[Served] = []

    def served(plugin: str) -> Served:
        config = tmp_path / "narrow.toml"
        config.write_text(f'{CONFIG}plugin = "{plugin}"')
        there.append(Served(tmp_path / "state", str(config)))
        there[-1].up()
        return there[-1]

    yield served
    for one in there:
        one.down()


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_the_beam_is_dark_while_frames_wait_and_the_scan_is_as_if_it_never_had(serve: Callable[[str], Served]) -> None:
    served = serve("simulator")
    with connect(served.address, purpose="a map") as stem:
        incoming = stem.start(PLAN, "m")
        until(lambda: stem.state().frames_wait != "" and not served.beam_is_open())
        # Longer than the beam's permission would last unrenewed.
        for _ in range(30):
            assert not served.beam_is_open()
            time.sleep(0.05)
        assert (stem.state().activity, stem.state().beam) == ("acquiring", "blanked")
        waited = collect(incoming, WAIT_S, keeps=True)
        until(lambda: stem.state().activity == "idle")
        each = stem.read("beam_current_a") * PLAN.dwell_s / ELEMENTARY_CHARGE_C
        assert stem.state().dose_electrons == pytest.approx(400 * each, rel=1e-12)
        assert stem.safety.dose().electrons == pytest.approx(400 * each, rel=1e-9), "the pause cost nothing"
        assert not served.beam_is_open()
    with embedded("simulator") as address, connect(address, purpose="the same") as stem:
        np.testing.assert_array_equal(waited.data, stem.acquire(PLAN, "m").data)


def test_a_stop_while_frames_wait_is_not_undone_by_going_on(serve: Callable[[str], Served]) -> None:
    served = serve("simulator")
    with connect(served.address, purpose="a map") as stem:
        incoming = stem.start(PLAN, "m")
        until(lambda: stem.state().frames_wait != "" and not served.beam_is_open())
        stem.stop()
        came = collect(incoming, WAIT_S, allow_incomplete=True, keeps=True)
        assert incoming.end is not None
        assert incoming.end.status == "stopped"
        assert came.valid is not None
        assert not served.beam_is_open()
        until(lambda: stem.state().activity == "stopped")
        taken = int(np.count_nonzero(came.valid))
        # One batch was exposed and found no room.
        each = stem.read("beam_current_a") * PLAN.dwell_s / ELEMENTARY_CHARGE_C
        exposed = stem.safety.dose().electrons / each
        assert taken < exposed < 400
        assert exposed == pytest.approx(stem.state().dose_electrons / each)


def test_an_instrument_that_does_not_declare_it_keeps_its_beam(
    serve: Callable[[str], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent / "plugins"))
    served = serve("bench")
    plan = GridScan(detector="camera", shape=(4, 4), dwell_s=1e-4)
    with connect(served.address, purpose="a map") as bench:
        incoming = bench.start(plan, "m")
        until(lambda: bench.state().frames_wait != "")
        assert served.beam_is_open()
        assert collect(incoming, WAIT_S, keeps=True).data.shape == (4, 4, 512, 512)
        until(lambda: not served.beam_is_open())
