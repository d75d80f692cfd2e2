"""Over real sockets every frame arrives once, whatever dies, lags or lies; nothing is left open."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beamloop.core import (
    ChannelClosed,
    InstrumentUnreachable,
    Scan,
    ScanEnd,
    ScanIncomplete,
    UnknownName,
)
from beamloop.streaming import Receiver, Sender, collect
from beamloop.streaming.flow import Outflow

from .traffic import WAIT_S, after, batches_of, frames_of, scan_of, send_batches, send_scan, until, whole


def _outflow(sender: Sender, name: str = "edge") -> Outflow:
    return sender.statistics().receivers[name]


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", ">i4"])
def test_a_scan_arrives_bit_for_bit_with_its_axes(dtype: str) -> None:
    scan = scan_of(dtype=dtype)
    with Sender() as sender, Receiver(sender.endpoint, "edge") as receiver:
        send_scan(sender, scan)
        incoming = receiver.scan("a", WAIT_S)
        assert incoming.header == scan
        signal = collect(incoming, WAIT_S)
        assert signal.data.dtype.str == dtype
        np.testing.assert_array_equal(signal.data, frames_of(scan))
        assert signal.axes == (*scan.scan_axes, *scan.frame_axes)
        assert (signal.units, signal.valid, signal.metadata["simulated"]) == ("counts", None, True)
        assert incoming.complete
        assert incoming.end == whole(scan)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:*", "ipc://{folder}/frames"])
def test_scans_begun_before_the_receiver_exists_are_kept_for_it(
    endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ipc")
    with Sender(endpoint.format(folder=folder)) as sender:
        assert "*" not in sender.endpoint
        send_scan(sender, scan_of("a"))
        send_scan(sender, scan_of("b", receiver="other"))
        with Receiver(sender.endpoint, "edge") as receiver:
            np.testing.assert_array_equal(collect(receiver.scan("a", WAIT_S), WAIT_S).data, frames_of(scan_of("a")))
        with Receiver(sender.endpoint, "other") as receiver:
            np.testing.assert_array_equal(collect(receiver.scan("b", WAIT_S), WAIT_S).data, frames_of(scan_of("b")))


def test_frames_go_to_the_receiver_named_in_the_header_only() -> None:
    with (
        Sender() as sender,
        Receiver(sender.endpoint, "edge") as edge,
        Receiver(sender.endpoint, "viewer") as viewer,
    ):
        until(lambda: len(sender.statistics().receivers) == 2)
        send_scan(sender, scan_of())
        collect(edge.scan("a", WAIT_S), WAIT_S)
        with pytest.raises(InstrumentUnreachable, match=r"was not announced within 0\.1 s; the sender"):
            viewer.scan("a", 0.1)
        assert viewer.statistics().channel.delivered == 0


def test_retention_is_released_by_stored_and_by_nothing_else() -> None:
    with Sender() as sender, Receiver(sender.endpoint, "edge") as receiver:
        send_scan(sender, scan_of())
        incoming = receiver.scan("a", WAIT_S)
        collect(incoming, WAIT_S)
        until(lambda: _outflow(sender).received == 10)
        assert _outflow(sender).retained == 10
        incoming.stored()
        until(lambda: _outflow(sender).retained_bytes == 0)
        assert receiver.statistics().scans == ()


def test_acknowledgements_made_just_before_close_reach_the_sender() -> None:
    with Sender() as sender:
        for n in range(20):
            with Receiver(sender.endpoint, "edge") as receiver:
                scan = scan_of(f"s{n}", n=4)
                send_scan(sender, scan)
                incoming = receiver.scan(scan.scan_id, WAIT_S)
                collect(incoming, WAIT_S)
                incoming.stored()
            until(lambda: _outflow(sender).retained == 0)


CHILD = """
import sys, zlib
from beamloop.streaming import Receiver
endpoint, leave_after = sys.argv[1], int(sys.argv[2])
with Receiver(endpoint, "edge") as receiver:
    incoming = receiver.scan("a", 20.0)
    for count, batch in enumerate(incoming.batches(20.0), start=1):
        for index, frame in zip(batch.indices, batch.frames):
            print("frame", index, zlib.crc32(frame.tobytes()), flush=True)
        incoming.stored()
        if count == leave_after:
            sys.stdin.read()
    incoming.stored()
    print("complete", incoming.complete, flush=True)
"""


def _child(endpoint: str, leave_after: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, endpoint, str(leave_after)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _sums(lines: str) -> dict[int, int]:
    return {
        int(i): int(crc) for word, i, crc in (line.split() for line in lines.splitlines() if "frame" in line) if word
    }


def _expected(scan: Scan) -> dict[int, int]:
    return {index: zlib.crc32(frame.tobytes()) for index, frame in enumerate(frames_of(scan))}


def test_a_scan_reaches_another_process_bit_for_bit() -> None:
    scan = scan_of(n=500)
    with Sender() as sender, _child(sender.endpoint) as child:
        send_scan(sender, scan)
        lines, _ = child.communicate(timeout=WAIT_S)
        assert child.returncode == 0
        assert "complete True" in lines
        assert _sums(lines) == _expected(scan)
        until(lambda: _outflow(sender).retained == 0)


def test_a_receiver_process_killed_in_mid_scan_loses_nothing_when_it_comes_back() -> None:
    scan = scan_of(n=400)
    with Sender() as sender:
        with _child(sender.endpoint, leave_after=20) as first:
            send_scan(sender, scan)
            until(lambda: _outflow(sender).stored >= 20)
            first.kill()
            before, _ = first.communicate(timeout=WAIT_S)
        with _child(sender.endpoint) as second:
            after, _ = second.communicate(timeout=WAIT_S)
        assert second.returncode == 0
        assert len(_sums(before)) == 80
        assert _sums(before) | _sums(after) == _expected(scan)
        until(lambda: _outflow(sender).retained == 0)


def test_unstored_frames_come_again_to_a_receiver_of_the_same_name() -> None:
    scan = scan_of()
    with Sender() as sender:
        with Receiver(sender.endpoint, "edge") as receiver:
            send_scan(sender, scan)
            collect(receiver.scan("a", WAIT_S), WAIT_S)
        with Receiver(sender.endpoint, "edge") as receiver:
            np.testing.assert_array_equal(collect(receiver.scan("a", WAIT_S), WAIT_S).data, frames_of(scan))
        assert _outflow(sender).resent == 10


def test_a_returning_receiver_that_had_stored_half_is_told_honestly_what_it_lacks() -> None:
    scan = scan_of(n=32)
    with Sender() as sender:
        with Receiver(sender.endpoint, "edge") as receiver:
            send_scan(sender, scan)
            incoming = receiver.scan("a", WAIT_S)
            batches = incoming.batches(WAIT_S)
            for _ in range(3):
                next(batches)
            incoming.stored()
        # The first receiver's last word may be slow, and must come before the second asks.
        until(lambda: _outflow(sender).stored == 4)
        with Receiver(sender.endpoint, "edge") as receiver:
            incoming = receiver.scan("a", WAIT_S)
            with pytest.raises(ScanIncomplete, match=r"lacks 12 of 32 frames: 0-11; its end says complete"):
                collect(incoming, WAIT_S)
            assert not incoming.complete
            assert incoming.valid.sum() == 20


def test_a_slow_reader_slows_the_sender_and_gets_everything() -> None:
    scan = scan_of(n=600)
    bound = 40_000
    most = 0
    with Sender(retention_bytes=bound) as sender, Receiver(sender.endpoint, "edge", credit=4) as receiver:
        thread = threading.Thread(target=send_scan, args=(sender, scan, 2))
        thread.start()
        incoming = receiver.scan("a", WAIT_S)
        got = []
        for batch in incoming.batches(WAIT_S):
            time.sleep(0.001)
            got.append(batch.frames.copy())
            most = max(most, _outflow(sender).retained_bytes)
            assert receiver.statistics().channel.held <= 4
            assert _outflow(sender).offered - len(got) < 60, "the sender ran ahead of its bound"
            incoming.stored()
        thread.join(WAIT_S)
        np.testing.assert_array_equal(np.concatenate(got), frames_of(scan))
        assert incoming.complete
        assert most <= bound + 2 * 1024


def test_at_the_bound_send_waits_until_it_is_told_to_give_up() -> None:
    scan, asked = scan_of(n=1000), []

    def give_up() -> bool:
        asked.append(time.monotonic())
        return len(asked) == 5

    with Sender(retention_bytes=20_000) as sender:
        sender.begin(scan)
        with pytest.raises(ChannelClosed, match=r"given up: \d+ bytes wait to be stored there, the bound is 20000"):
            send_batches(sender, scan, give_up)
        assert len(asked) == 5
        assert _outflow(sender).retained_bytes <= 20_000 + 1024


def test_the_end_of_a_lease_wakes_a_waiting_sender_and_what_was_given_is_there_for_its_return() -> None:
    scan = scan_of(n=1000)
    with Sender(retention_bytes=20_000) as sender:
        sender.begin(scan)
        failures: list[str] = []

        def push() -> None:
            try:
                for batch in batches_of(scan):
                    sender.send(batch, after(WAIT_S))
            except ChannelClosed as error:
                failures.append(str(error))

        thread = threading.Thread(target=push)
        thread.start()
        until(lambda: _outflow(sender).retained_bytes > 15_000)
        sender.lapse("edge")
        thread.join(WAIT_S)
        assert len(failures) == 1
        assert "the lease of 'edge'" in failures[0]
        given = 4 * (_outflow(sender).offered - 1)
        sender.end(ScanEnd(scan_id="a", status="stopped", n_frames=given))
        sender.lapse("nobody")
        with Receiver(sender.endpoint, "edge") as receiver:
            incoming = receiver.scan("a", WAIT_S)
            seen = collect(incoming, WAIT_S, allow_incomplete=True)
            assert (incoming.taken, incoming.lost) == (given, 0)
            np.testing.assert_array_equal(seen.data[:given], frames_of(scan)[:given])


def test_a_recorder_that_stays_connected_gets_the_rest_of_its_scan_after_its_lease() -> None:
    with Sender() as sender, Receiver(sender.endpoint, "edge", credit=2) as receiver:
        send_scan(sender, scan_of("a"))
        incoming = receiver.scan("a", WAIT_S)
        sender.lapse("edge")
        np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan_of("a")))
        incoming.stored()
        send_scan(sender, scan_of("b"))
        np.testing.assert_array_equal(collect(receiver.scan("b", WAIT_S), WAIT_S).data, frames_of(scan_of("b")))


@pytest.mark.parametrize(("n", "disk_bytes"), [(100, 0), (400, 200_000)])
def test_of_former_recorders_the_oldest_are_told_what_they_lack_and_memory_and_disk_stay_bounded(
    n: int, disk_bytes: int, tmp_path: Path
) -> None:
    names = [f"edge-{i}" for i in range(4)]
    with Sender(retention_bytes=100_000, spill_bytes=disk_bytes, spill_folder=tmp_path) as sender:
        for name in names:
            send_scan(sender, scan_of(name, n, name), size=20)
            sender.lapse(name)
            kept = sender.statistics().receivers.values()
            # The last, those before it, and the accounts of what was let go: a bound each.
            assert sum(one.retained_bytes for one in kept) <= 3 * 100_000
            on_disk = sum(one.spilled_bytes for one in kept)
            assert on_disk == sum(path.stat().st_size for path in tmp_path.glob("*.spill")) <= 2 * disk_bytes
        lacks = []
        for name in names:
            with Receiver(sender.endpoint, name) as receiver:
                incoming = receiver.scan(name, WAIT_S)
                for batch in incoming.batches(WAIT_S):
                    np.testing.assert_array_equal(batch.frames, frames_of(incoming.header)[batch.indices])
                assert incoming.taken + incoming.lost == n, "a frame vanished without a word"
                assert len(incoming.lost_frames) == incoming.lost, "a loss does not say which frames"
                lacks.append(incoming.lack())
        assert lacks[-2:] == ["", ""]
        assert all(lack.startswith(f"lacks {n} of {n} frames: 0-{n - 1} (") for lack in lacks[:-2])


def test_a_recorder_that_took_frames_before_they_were_let_go_is_told_only_of_the_others() -> None:
    with Sender(retention_bytes=100_000) as sender, Receiver(sender.endpoint, "edge", credit=3) as receiver:
        send_scan(sender, scan_of(n=100), size=20)
        incoming = receiver.scan("a", WAIT_S)
        until(lambda: incoming.arrivals.waiting == 3)
        sender.lapse("edge")
        for name in ("one", "two"):
            send_scan(sender, scan_of(name, 100, name), size=20)
            sender.lapse(name)
        for _ in incoming.batches(WAIT_S):
            pass
        assert incoming.lost_frames.pairs() == ((60, 99),)
        assert np.flatnonzero(incoming.valid).tolist() == list(range(60))


def test_a_restarted_sender_is_found_again_and_the_broken_scan_says_so() -> None:
    with Sender() as sender:
        endpoint = sender.endpoint
        receiver = Receiver(endpoint, "edge")
        sender.begin(scan_of("a"))
        sender.send(next(batches_of(scan_of("a"))))
        incoming = receiver.scan("a", WAIT_S)
        batches = incoming.batches(WAIT_S)
        next(batches)
    with receiver, Sender(endpoint) as sender:
        send_scan(sender, scan_of("b"))
        with pytest.raises(ChannelClosed, match="the rest of scan 'a' will not come"):
            next(batches)
        np.testing.assert_array_equal(collect(receiver.scan("b", WAIT_S), WAIT_S).data, frames_of(scan_of("b")))


DYING = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from traffic import batches_of, scan_of
from beamloop.streaming import Sender
sender = Sender(retention_bytes=20_000, spill_bytes=1 << 20, spill_folder=Path(sys.argv[1]))
for name in ("edge", "desk"):
    scan = scan_of(name, 200, name)
    sender.begin(scan)
    for batch in batches_of(scan):
        if batch.indices[0] < 120:
            sender.send(batch)
print(sender.endpoint, flush=True)
time.sleep(60)
"""


def _dead(folder: Path, *meanwhile: Callable[[str], None]) -> None:
    """Send two scans from a process of its own, and kill it when it has given 120 frames of each."""
    command = [sys.executable, "-c", DYING, str(folder), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        endpoint = child.stdout.readline().strip()
        for act in meanwhile:
            act(endpoint)
        child.kill()


def test_what_a_killed_sender_had_on_disk_comes_from_the_next_and_the_rest_is_named(tmp_path: Path) -> None:
    _dead(tmp_path)
    for _ in range(2):
        # The first of them offers and ends, as if it were killed as well.
        sender = Sender(retention_bytes=20_000, spill_bytes=1 << 20, spill_folder=tmp_path)
        for name in ("edge", "desk"):
            with Receiver(sender.endpoint, name) as receiver:
                incoming = receiver.scan(name, WAIT_S)
                seen = collect(incoming, WAIT_S, allow_incomplete=True)
                there = np.flatnonzero(incoming.valid)
                assert 50 < len(there) < 120
                assert there.tolist() == list(range(there[0], 120))
                np.testing.assert_array_equal(seen.data[there], frames_of(incoming.header)[there])
                assert incoming.lack().startswith(f"lacks {200 - len(there)} of 200 frames: 0-{there[0] - 1}, 120-199")
                assert incoming.end is not None
                assert (incoming.end.status, incoming.end.n_frames) == ("failed", len(there))
                assert f"died with {len(there)} of its frames on the disk" in incoming.end.reason
        sender.close()
    with Sender(spill_bytes=1 << 20, spill_folder=tmp_path) as sender:
        for name in ("edge", "desk"):
            with Receiver(sender.endpoint, name) as receiver:
                incoming = receiver.scan(name, WAIT_S)
                collect(incoming, WAIT_S, allow_incomplete=True)
                incoming.stored()
                until(lambda name=name: sender.statistics().receivers[name].retained == 0)
    assert list(tmp_path.glob("*.spill")) == []


def test_what_was_stored_before_the_sender_died_does_not_come_again(tmp_path: Path) -> None:
    stored: list[int] = []

    def store_some(endpoint: str) -> None:
        with Receiver(endpoint, "edge") as receiver:
            incoming = receiver.scan("edge", WAIT_S)
            for batch in incoming.batches(WAIT_S):
                stored.extend(batch.indices.tolist())
                incoming.stored()
                if len(stored) == 80:
                    break

        def is_released() -> bool:
            with Receiver(endpoint, "edge") as receiver:
                return next(receiver.scan("edge", WAIT_S).batches(WAIT_S)).indices[0] == 80

        until(is_released)

    _dead(tmp_path, store_some)
    with (
        Sender(retention_bytes=20_000, spill_bytes=1 << 20, spill_folder=tmp_path) as sender,
        Receiver(sender.endpoint, "edge") as receiver,
    ):
        incoming = receiver.scan("edge", WAIT_S)
        collect(incoming, WAIT_S, allow_incomplete=True)
        assert stored + np.flatnonzero(incoming.valid).tolist() == list(range(120))


def test_a_scan_that_nobody_asked_for_does_not_lie_in_the_way_of_the_next() -> None:
    with Sender() as sender:
        for name in ("old", "asked", "new"):
            send_scan(sender, scan_of(name))
        with Receiver(sender.endpoint, "edge", credit=2) as receiver:
            found = receiver.scan("asked", WAIT_S, lambda scan: scan.scan_id == "old")
            np.testing.assert_array_equal(collect(found, WAIT_S).data, frames_of(scan_of("asked")))
            found.stored()
            new = receiver.scan("new", WAIT_S, lambda scan: True)
            np.testing.assert_array_equal(collect(new, WAIT_S).data, frames_of(scan_of("new")))


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class Cut:
    """A byte-level proxy on 127.0.0.1 whose connections can be cut."""

    def __init__(self, endpoint: str) -> None:
        self._target = int(endpoint.rsplit(":", 1)[1])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pump, args=(source, sink))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 14):
                sink.sendall(data)
        except OSError:
            pass
        # Closed only at the end: a closed socket's number could be given to the next connection.
        for end in (source, sink):
            _shut(end)

    def cut(self) -> None:
        """Break every connection as it stands, in the middle of a message if so."""
        for end in self._open:
            _shut(end)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(WAIT_S)
        for end in self._open:
            end.close()


def test_a_connection_cut_again_and_again_loses_and_doubles_nothing() -> None:
    scan, rng = scan_of(n=2000), random.Random(3)
    with Sender() as sender:
        proxy = Cut(sender.endpoint)
        with Receiver(proxy.endpoint, "edge", credit=8) as receiver:
            thread = threading.Thread(target=send_scan, args=(sender, scan))
            thread.start()
            incoming = receiver.scan("a", WAIT_S)
            got, cuts = [], 0
            for batch in incoming.batches(WAIT_S):
                got.append(batch.frames.copy())
                if len(got) % 50 == 25:
                    time.sleep(rng.random() * 0.005)
                    proxy.cut()
                    cuts += 1
                incoming.stored()
            thread.join(WAIT_S)
            assert cuts == 10
            assert incoming.complete
            np.testing.assert_array_equal(np.concatenate(got), frames_of(scan))
            assert receiver.statistics().channel.links >= 8
        proxy.close()


def test_a_second_receiver_of_the_same_name_takes_over_and_the_first_is_told() -> None:
    with Sender() as sender, Receiver(sender.endpoint, "edge") as first:
        until(lambda: first.statistics().channel.session != 0)
        with Receiver(sender.endpoint, "edge") as second:
            until(lambda: second.statistics().channel.session != 0)
            with pytest.raises(ChannelClosed, match="another receiver of the name 'edge'"):
                first.scan("a", WAIT_S)
            send_scan(sender, scan_of())
            assert collect(second.scan("a", WAIT_S), WAIT_S).valid is None


def test_a_scan_that_nobody_reads_blocks_with_a_clear_word_until_it_is_discarded() -> None:
    with Sender() as sender, Receiver(sender.endpoint, "edge", credit=4) as receiver:
        send_scan(sender, scan_of("unread"))
        send_scan(sender, scan_of("wanted"))
        until(lambda: receiver.statistics().channel.held == 4)
        with pytest.raises(InstrumentUnreachable, match=r"read or discard their scans: 'unread' \(4\)"):
            receiver.scan("wanted", 0.1)
        receiver.discard("unread")
        incoming = receiver.scan("wanted", WAIT_S)
        np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan_of("wanted")))
        incoming.stored()
        until(lambda: _outflow(sender).retained == 0)


def test_a_scan_discarded_before_it_came_is_never_held() -> None:
    with Sender() as sender, Receiver(sender.endpoint, "edge", credit=2) as receiver:
        receiver.discard("a")
        send_scan(sender, scan_of("a"))
        until(lambda: _outflow(sender).stored == 10)
        assert receiver.statistics().unclaimed == 10
        assert receiver.statistics().scans == ()


def test_two_scans_may_be_read_out_of_turn() -> None:
    with Sender() as sender, Receiver(sender.endpoint, "edge", credit=64) as receiver:
        for name in ("a", "b"):
            send_scan(sender, scan_of(name))
        for name in ("b", "a"):
            incoming = receiver.scan(name, WAIT_S)
            np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan_of(name)))
            incoming.stored()
            # What the first scan's reader has not stored holds back nothing of the other.
            retained = 10 if name == "b" else 0
            until(lambda retained=retained: _outflow(sender).retained == retained)


def test_a_stopped_scan_is_incomplete_and_names_its_frames_as_ranges() -> None:
    scan = scan_of(n=64)
    with Sender() as sender, Receiver(sender.endpoint, "edge") as receiver:
        sender.begin(scan)
        for number, batch in enumerate(batches_of(scan)):
            if number not in (2, 3, 9):
                sender.send(batch)
        sender.end(ScanEnd(scan_id="a", status="stopped", n_frames=52, reason="by a person"))
        incoming = receiver.scan("a", WAIT_S)
        signal = collect(incoming, WAIT_S, allow_incomplete=True)
        assert signal.valid is not None
        assert np.flatnonzero(~signal.valid).tolist() == [*range(8, 16), *range(36, 40)]
        np.testing.assert_array_equal(signal.data[signal.valid], frames_of(scan)[signal.valid])
        with pytest.raises(
            ScanIncomplete, match=r"lacks 12 of 64 frames: 8-15, 36-39; its end says stopped, 52 frames by"
        ):
            collect(incoming, WAIT_S)


def test_a_frame_sent_twice_keeps_a_scan_from_being_complete() -> None:
    scan = scan_of(n=8)
    with Sender() as sender, Receiver(sender.endpoint, "edge") as receiver:
        sender.begin(scan)
        for batch in (*batches_of(scan), next(batches_of(scan))):
            sender.send(batch)
        sender.end(whole(scan))
        incoming = receiver.scan("a", WAIT_S)
        with pytest.raises(ScanIncomplete, match="took 12 of 8"):
            collect(incoming, WAIT_S)
        assert incoming.valid.all()
        assert not incoming.complete


def test_nothing_heard_is_said_with_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Receiver(endpoint, "edge") as receiver,
            pytest.raises(InstrumentUnreachable, match=rf"within 0\.2 s: no answer at all from {endpoint}"),
        ):
            receiver.scan("a", 0.2)


def test_a_pause_between_batches_longer_than_the_time_out_is_said_and_can_be_waited_out() -> None:
    scan = scan_of(n=8)
    with Sender() as sender, Receiver(sender.endpoint, "edge") as receiver:
        sender.begin(scan)
        incoming = receiver.scan("a", WAIT_S)
        with pytest.raises(InstrumentUnreachable, match=r"no further message of scan 'a' came within 0\.05 s"):
            next(incoming.batches(0.05))
        for batch in batches_of(scan):
            sender.send(batch)
        sender.end(whole(scan))
        np.testing.assert_array_equal(collect(incoming, WAIT_S).data, frames_of(scan))


def test_misuse_of_the_sender_is_refused() -> None:
    with Sender() as sender:
        with pytest.raises(UnknownName, match="no scan 'a' was begun here; under way: none"):
            sender.send(next(batches_of(scan_of())))
        with pytest.raises(UnknownName, match="no scan 'a'"):
            sender.end(whole(scan_of()))
        sender.begin(scan_of())
        with pytest.raises(ValueError, match="'a' is under way already"):
            sender.begin(scan_of())
        with pytest.raises(ChannelClosed, match="cannot listen at"):
            Sender(sender.endpoint)
    with pytest.raises(ChannelClosed, match="is closed"):
        sender.begin(scan_of("b"))
    with pytest.raises(ChannelClosed, match="cannot connect to 'nonsense'"):
        Receiver("nonsense", "edge")
    with pytest.raises(ValueError, match="credit of 0"):
        Receiver("tcp://127.0.0.1:1", "edge", credit=0)


def test_close_is_repeatable_and_wakes_whoever_waits() -> None:
    sender = Sender(retention_bytes=20_000)
    receiver = Receiver(sender.endpoint, "edge")
    sender.begin(scan_of("b", n=1000, receiver="dead"))
    raised: list[type[Exception]] = []

    def wait(call: Callable[[], object]) -> None:
        try:
            call()
        except ChannelClosed as error:
            raised.append(type(error))

    def push() -> None:
        for batch in batches_of(scan_of("b", n=1000, receiver="dead")):
            sender.send(batch)

    waiting = [
        threading.Thread(target=wait, args=(lambda: receiver.scan("never", WAIT_S),)),
        threading.Thread(target=wait, args=(push,)),
    ]
    for thread in waiting:
        thread.start()
    until(lambda: _outflow(sender, "dead").retained_bytes > 15_000)
    for _ in range(2):
        sender.close()
        receiver.close()
    for thread in waiting:
        thread.join(WAIT_S)
    assert raised == [ChannelClosed, ChannelClosed]
    assert receiver.statistics().scans == ()


def test_close_delivers_what_a_connected_receiver_can_still_take() -> None:
    with Sender() as sender:
        receiver = Receiver(sender.endpoint, "edge")
        until(lambda: receiver.statistics().channel.session != 0)
        send_scan(sender, scan_of())
    with receiver:
        np.testing.assert_array_equal(collect(receiver.scan("a", WAIT_S), WAIT_S).data, frames_of(scan_of()))
