"""What a person sees who looks on: the frames that came, and an exact account of those that did not."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from beamloop.core import Axis, FrameBatch, Scan, ScanEnd
from beamloop.edge_client.watching import Watched
from beamloop.streaming.viewer import Sight


def _scan(frame_shape: tuple[int, ...] = (), dtype: str = "<u2", shape: tuple[int, ...] = (4, 6)) -> Scan:
    return Scan(
        scan_id="a", measurement_id="m", receiver="ada/1", detector="camera",
        scan_axes=tuple(Axis(name=name, size=size) for name, size in zip("yx", shape, strict=False)),
        frame_axes=tuple(Axis(name=name, size=size) for name, size in zip("vu", frame_shape, strict=False)),
        dtype=dtype, dwell_s=1e-3, simulated=True,
    )  # fmt: skip


def _sight(scan: Scan, indices: list[int], passed: int, end: ScanEnd | None = None) -> Sight:
    frames = np.ones((len(indices), *scan.frame_shape), scan.dtype)
    batch = FrameBatch("a", np.array(indices, np.int64), np.zeros((len(indices), 2)), frames)
    return Sight(scan, batch, len(indices), passed, end)


def _printed(watched: Watched, lost_scans: int = 0) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(watched.picture(lost_scans))
    return captured.get()


def test_the_account_says_who_records_what_was_seen_and_what_was_passed_over() -> None:
    now = [0.0]
    watched = Watched(lambda: now[0])
    watched.saw(Sight(_scan(), None, 0, 0, None))
    now[0] = 7.0
    watched.saw(_sight(_scan(), [3, 4], passed=5))
    assert watched.account(0) == (
        "SIMULATED camera scan a for ada/1",
        "2 of 24 frames seen, 5 passed over, 7 s, under way",
    )
    end = ScanEnd(scan_id="a", status="failed", n_frames=7, reason="lacks frames 3-5")
    watched.saw(Sight(_scan(), None, 2, 22, end))
    assert watched.account(3)[1].endswith("failed lacks frames 3-5; 3 whole scans passed over")
    facts = watched.facts(3)
    assert (facts["seen"], facts["passed_over"], facts["frames"], facts["ended"]) == (2, 22, 24, "failed")
    assert facts["scans_passed_over"] == 3


def test_frames_of_every_kind_can_be_drawn() -> None:
    for frame_shape, dtype in (((), "<u2"), ((40,), ">f4"), ((8, 9), "|b1"), ((8, 9), "<c8"), ((3, 4), "<i8")):
        watched = Watched()
        watched.saw(_sight(_scan(frame_shape, dtype), [0, 23], passed=0))
        assert "▀" in _printed(watched)
        assert ("latest frame" in _printed(watched)) == bool(frame_shape)


def test_a_single_point_keeps_the_frame_before_until_its_own_comes() -> None:
    watched = Watched()
    watched.saw(_sight(_scan((40,), shape=(1,)), [0], passed=0))
    before = _printed(watched).splitlines()[2:]
    other = _scan((40,), shape=(1,)).model_copy(update={"scan_id": "b"})
    watched.saw(Sight(other, None, 0, 0, None))
    assert _printed(watched).splitlines()[2:] == before
    watched.saw(_sight(_scan(shape=(1,)).model_copy(update={"scan_id": "c"}), [0], passed=0))
    assert "latest value 1" in _printed(watched)
