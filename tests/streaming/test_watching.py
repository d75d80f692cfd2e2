"""Over real sockets: viewers and readers come and go beside a recorder, and every frame is accounted for."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from beamloop.core import ChannelClosed, InstrumentUnreachable, ProtocolMismatch, ScanEnd
from beamloop.streaming import Reader, Receiver, Sender, Viewer, collect, sender
from beamloop.streaming.viewer import Sight

from .traffic import WAIT_S, batches_of, frames_of, scan_of, send_scan, until, whole


def _sights(viewer: Viewer, scan_id: str) -> list[Sight]:
    """Look until a scan has ended; every sight on the way."""
    sights: list[Sight] = []
    while not sights or sights[-1].end is None or sights[-1].scan.scan_id != scan_id:
        sights.append(viewer.look(WAIT_S))
    return sights


def _there(at: Sender, *names: str) -> None:
    until(lambda: all(name in at.statistics().receivers for name in names))


def test_a_viewer_sees_a_scan_beside_its_recorder_and_every_frame_is_accounted_for() -> None:
    scan = scan_of(n=400)
    with (
        Sender() as at,
        Receiver(at.endpoint, "edge") as recorder,
        Viewer(at.endpoint, "screen") as viewer,
    ):
        _there(at, "screen (live)")
        send_scan(at, scan)
        np.testing.assert_array_equal(collect(recorder.scan("a", WAIT_S), WAIT_S).data, frames_of(scan))
        last = _sights(viewer, "a")[-1]
        assert last.end == whole(scan)
        assert last.seen + last.passed == 400
        assert last.seen > 0


def test_a_viewer_that_looks_late_sees_the_newest_first_and_is_told_what_it_passed_over() -> None:
    scan = scan_of(n=400)
    with Sender(viewer_bytes=40_000) as at, Viewer(at.endpoint, "screen", credit=1) as viewer:
        _there(at, "screen (live)")
        send_scan(at, scan)
        sights = _sights(viewer, "a")
        shown = [int(sight.batch.indices[0]) for sight in sights if sight.batch is not None]
        # The first was under way before there were others; from then on the newest comes first.
        later = [index for index in shown if index > 40]
        assert later == sorted(later, reverse=True)
        assert sights[-1].seen == 4 * len(shown)
        assert sights[-1].seen + sights[-1].passed == 400
        assert sights[-1].passed > 200
        counted = at.statistics().receivers["screen (live)"]
        assert counted.lost == sights[-1].passed


@pytest.mark.parametrize("viewers", [1, 4])
def test_a_viewer_that_never_looks_holds_up_nobody_and_takes_no_more_than_its_bound(viewers: int) -> None:
    scan, bound = scan_of(n=2000), 50_000
    with Sender(viewer_bytes=bound) as at, Receiver(at.endpoint, "edge") as recorder:
        idle = [Viewer(at.endpoint, f"v{n}") for n in range(viewers)]
        _there(at, *(f"v{n} (live)" for n in range(viewers)))
        send_scan(at, scan)
        incoming = recorder.scan("a", WAIT_S)
        np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan))
        receivers = at.statistics().receivers
        assert all(receivers[f"v{n} (live)"].retained_bytes <= bound for n in range(viewers))
        for viewer in idle:
            viewer.close()


def test_of_a_scan_under_way_a_viewer_that_comes_late_is_told_what_was_before() -> None:
    scan = scan_of(n=40)
    with Sender() as at:
        at.begin(scan)
        batches = list(batches_of(scan))
        for batch in batches[:7]:
            at.send(batch)
        with Viewer(at.endpoint, "screen") as viewer:
            _there(at, "screen (live)")
            for batch in batches[7:]:
                at.send(batch)
            at.end(whole(scan))
            last = _sights(viewer, "a")[-1]
            assert (last.seen, last.passed) == (12, 28)


def test_a_viewer_that_leaves_is_forgotten_and_one_that_returns_counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "SILENCE_S", 0.3)
    scan = scan_of(n=40)
    with Sender() as at:
        at.begin(scan)
        batches = list(batches_of(scan))
        with Viewer(at.endpoint, "screen"):
            _there(at, "screen (live)")
        at.send(batches[0])
        until(lambda: "screen (live)" not in at.statistics().receivers)
        with Viewer(at.endpoint, "screen") as viewer:
            _there(at, "screen (live)")
            at.send(batches[1])
            at.end(ScanEnd(scan_id="a", status="stopped", n_frames=8))
            last = _sights(viewer, "a")[-1]
            assert (last.seen, last.passed) == (4, 4)


def test_scans_of_which_a_viewer_saw_nothing_are_counted_whole() -> None:
    with Sender() as at, Viewer(at.endpoint, "screen", credit=1) as viewer:
        _there(at, "screen (live)")
        for n in range(300):
            send_scan(at, scan_of(f"s{n}", n=4))
            # No more is on its way than one message, for which there is credit.
            assert at.statistics().receivers["screen (live)"].retained <= 1
        seen = passed = ends = 0
        while True:
            sight = viewer.look(WAIT_S)
            ends += sight.end is not None
            if sight.end is not None:
                seen, passed = seen + sight.seen, passed + sight.passed
                if ends + viewer.statistics().lost_scans == 300:
                    break
        assert seen + passed + viewer.statistics().lost_frames == 1200
        assert viewer.statistics().lost_scans > 200


def test_a_viewer_may_want_one_scan_only() -> None:
    with Sender() as at, Viewer(at.endpoint, "screen", only="b") as viewer:
        _there(at, "screen (live)")
        for name in "abc":
            send_scan(at, scan_of(name))
        assert {sight.scan.scan_id for sight in _sights(viewer, "b")} == {"b"}
        with pytest.raises(InstrumentUnreachable, match="nothing came within"):
            viewer.look(0.2)


def test_two_readers_get_everything_beside_the_recorder() -> None:
    scans = [scan_of(name, n=100) for name in ("a", "b", "c")]
    with (
        Sender() as at,
        Receiver(at.endpoint, "edge") as recorder,
        Reader(at.endpoint, "one", credit=4) as one,
        Reader(at.endpoint, "two", only="b") as two,
    ):
        _there(at, "one (read)", "two (read)")
        for scan in scans:
            send_scan(at, scan)
            incoming = recorder.scan(scan.scan_id, WAIT_S)
            np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan))
            incoming.stored()
        for scan in scans:
            incoming = one.next_scan(WAIT_S)
            np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan))
            assert (incoming.lost, incoming.complete) == (0, True)
            incoming.stored()
        incoming = two.next_scan(WAIT_S)
        np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scans[1]))
        incoming.stored()
        until(lambda: all(flow.retained == 0 for flow in at.statistics().receivers.values()))


def test_a_reader_beyond_its_bound_loses_alone_and_is_told_exactly_which_frames() -> None:
    scan = scan_of(n=400)
    with (
        Sender(reader_bytes=60_000) as at,
        Receiver(at.endpoint, "edge") as recorder,
        Reader(at.endpoint, "slow", credit=1) as slow,
    ):
        _there(at, "slow (read)")
        send_scan(at, scan)
        np.testing.assert_array_equal(collect(recorder.scan("a", WAIT_S), WAIT_S).data, frames_of(scan))
        assert at.statistics().receivers["slow (read)"].retained_bytes <= 60_000 + 3 * 1024
        incoming = slow.next_scan(WAIT_S)
        got = {int(index) for batch in incoming.batches(WAIT_S) for index in batch.indices}
        lost = {index for first, last in incoming.lost_frames.pairs() for index in range(first, last + 1)}
        assert got | lost == set(range(400))
        assert not got & lost
        assert incoming.lost == len(lost) == at.statistics().receivers["slow (read)"].lost
        assert f"{len(lost)} of them lost before they were sent" in incoming.lack()


def test_a_source_that_cannot_wait_loses_by_number_and_both_sides_say_the_same() -> None:
    scan = scan_of(n=400)
    with Sender(retention_bytes=60_000) as at, Receiver(at.endpoint, "edge", credit=1) as recorder:
        at.begin(scan, pausable=False)
        sent = [at.send(batch) for batch in batches_of(scan)]
        at.end(ScanEnd(scan_id="a", status="failed", n_frames=4 * sum(sent)))
        incoming = recorder.scan("a", WAIT_S)
        for _ in incoming.batches(WAIT_S):
            pass
        lost = np.flatnonzero(~np.repeat(sent, 4))
        assert 0 < len(lost) < 400
        np.testing.assert_array_equal(np.flatnonzero(~incoming.valid), lost)
        assert incoming.lost == len(incoming.lost_frames) == len(lost) == at.statistics().receivers["edge"].lost
        assert f"lacks {len(lost)} of 400 frames" in incoming.lack()


def test_memory_then_disk_then_the_source_waits_and_nothing_is_lost(tmp_path: Path) -> None:
    scan = scan_of(n=1000)
    with Sender(retention_bytes=20_000, spill_bytes=200_000, spill_folder=tmp_path) as at:
        thread = threading.Thread(target=send_scan, args=(at, scan))
        thread.start()
        until(lambda: at.statistics().receivers["edge"].spilled_bytes > 190_000)
        kept = at.statistics().receivers["edge"]
        assert kept.spilled_bytes <= 200_000
        assert kept.retained_bytes <= 20_000 + 1024
        assert kept.spilled_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.spill"))
        assert kept.offered < 120, "the source did not wait"
        assert re.search(r"the bound is 20000, \d+ on disk, where it is 200000", at.waits_for("edge"))
        with Receiver(at.endpoint, "edge") as recorder:
            incoming, frames = recorder.scan("a", WAIT_S), []
            for batch in incoming.batches(WAIT_S):
                frames.append(np.array(batch.frames))
                incoming.stored()
            incoming.stored()
            thread.join(WAIT_S)
            assert incoming.complete
            np.testing.assert_array_equal(np.concatenate(frames), frames_of(scan))
            until(lambda: at.statistics().receivers["edge"].retained == 0)
    assert list(tmp_path.glob("*.spill")) == []


def test_what_is_on_disk_survives_the_receiver(tmp_path: Path) -> None:
    scan = scan_of(n=200)
    with Sender(retention_bytes=20_000, spill_bytes=1 << 20, spill_folder=tmp_path) as at:
        send_scan(at, scan)
        for _ in range(3):
            with Receiver(at.endpoint, "edge") as recorder:
                incoming = recorder.scan("a", WAIT_S)
                np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan))
        with Receiver(at.endpoint, "edge") as recorder:
            collect(recorder.scan("a", WAIT_S), WAIT_S, keeps=True)
            until(lambda: list(tmp_path.glob("*.spill")) == [])


def test_a_second_viewer_of_a_name_takes_its_place_and_the_first_is_told() -> None:
    with Sender() as at, Viewer(at.endpoint, "screen") as first:
        until(lambda: first.heard)
        with Viewer(at.endpoint, "screen") as second:
            until(lambda: second.heard)
            with pytest.raises(ChannelClosed, match="another receiver of the name 'screen'"):
                first.look(WAIT_S)
            send_scan(at, scan_of())
            assert _sights(second, "a")[-1].end == whole(scan_of())


def test_a_class_that_nobody_knows_and_too_many_watchers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "MOST_WATCHERS", 1)
    with Sender() as at:
        with Receiver(at.endpoint, "x", 2, "steal") as thief, pytest.raises(ProtocolMismatch, match="class 'steal'"):
            thief.next_scan(WAIT_S)
        with Viewer(at.endpoint, "one") as one, Viewer(at.endpoint, "two") as two:
            until(lambda: one.heard or two.heard)
            late = two if one.heard else one
            with pytest.raises(ChannelClosed, match="1 readers and viewers watch"):
                late.look(WAIT_S)


def test_a_viewer_of_a_recorders_name_does_not_take_its_place() -> None:
    scan = scan_of()
    with Sender() as at, Receiver(at.endpoint, "edge") as recorder, Viewer(at.endpoint, "edge") as viewer:
        _there(at, "edge", "edge (live)")
        send_scan(at, scan)
        np.testing.assert_array_equal(collect(recorder.scan("a", WAIT_S), WAIT_S).data, frames_of(scan))
        assert _sights(viewer, "a")[-1].end == whole(scan)


def test_a_recorder_whose_lease_ended_leaves_the_viewer_with_the_end() -> None:
    scan = scan_of(n=40)
    with Sender() as at, Viewer(at.endpoint, "screen") as viewer:
        _there(at, "screen (live)")
        at.begin(scan)
        first, second, *_ = batches_of(scan)
        at.send(first)
        at.lapse("edge")
        with pytest.raises(ChannelClosed, match="the lease of 'edge'"):
            at.send(second)
        end = ScanEnd(scan_id="a", status="stopped", n_frames=4, reason="nobody is there")
        at.end(end)
        last = _sights(viewer, "a")[-1]
        assert (last.end, last.seen + last.passed) == (end, 4)
