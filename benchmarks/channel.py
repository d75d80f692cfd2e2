"""The data channel between two processes, beside bare ZeroMQ and the raw disk in the same run.

Ours and bare take turns, messages of the same size out of the same ring of frames (`ends`);
a ratio is the median of the ratios of neighbours, so that what else the machine does counts
for both. *Received* is in the reader's hands with checksum, numbers and acknowledgements;
*stored* is in a compressed NSID file (`record`), flushed before it is acknowledged, beside the same
frames written to a plain file, both synced at the end. 512 x 512 frames run for a minute,
every one counted. The cost of a batch is processor time of the whole process at either end,
of batches with a single spectrum in them.

    python benchmarks/channel.py --quick
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import zmq
from ends import WAIT_S, Bare, Line, Load, Ours, Pair, Passage
from figure import Figure, announce, options, spread

from beamloop.edge_client import connect
from beamloop.edge_client.embedded import embedded
from beamloop.streaming import IncomingScan
from beamloop.streaming.files import record

ZEROMQ = f"ZeroMQ {zmq.zmq_version()}"
KEYS = (Pair.new(), Pair.new())


def in_turns(lines: tuple[Line, ...], messages: int, rounds: int) -> list[list[Passage]]:
    """Return `rounds` passages of each line, taken in turns after one that is not counted."""
    for line in lines:
        line.pass_through(max(20, messages // 4))
    return [[line.pass_through(messages) for line in lines] for _ in range(rounds)]


def beside_bare(name: str, load: Load, quick: bool, goal: float | None, slower: float = 1.0) -> list[Figure]:
    """Measure *received* beside bare ZeroMQ, and the ratio of the two."""
    messages = load.messages((2e8 if quick else 1e9) / slower)
    with Bare(load) as bare, Ours(load) as ours:
        turns = in_turns((bare, ours), messages, 5 if quick else 15)
    rates = np.array([[passage.rate for passage in turn] for turn in turns])
    ratios = rates[:, 1] / rates[:, 0]
    theirs, own = np.median(rates, axis=0) / 1e9
    return [
        Figure(name, float(own), "GB/s", "higher", None, ZEROMQ, float(theirs), len(turns), spread(rates[:, 1])),
        Figure(
            f"{name}_of_bare", float(np.median(ratios)), "of bare", "higher", goal, n=len(turns), spread=spread(ratios)
        ),
    ]


class Recorded(Ours):
    """The data channel into a file, flushed before each `stored`, synced at its end."""

    folder: Path

    def _open(self) -> None:
        super()._open()
        self.take = self._record

    def _record(self, incoming: IncomingScan) -> None:
        place = self.folder / f"{incoming.header.scan_id}.h5"
        record(incoming, place, WAIT_S)
        with place.open("rb+") as file:
            os.fsync(file.fileno())
        place.unlink()


def _raw_disk(load: Load, messages: int, place: Path) -> float:
    """Return bytes a second that this disk takes of the same frames, as they are, synced."""
    ring = load.ring()
    started = time.perf_counter()
    with place.open("xb", buffering=0) as file:
        for number in range(messages):
            file.write(ring[number % len(ring)].data)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    place.unlink()
    return messages * load.message_bytes / seconds


def stored(quick: bool, folder: Path) -> list[Figure]:
    """Measure *stored* beside the raw disk."""
    load, rounds = Load((128, 128), 64), 3 if quick else 7
    messages = load.messages(1e8 if quick else 5e8)
    Recorded.folder = folder
    with Recorded(load) as line:
        line.pass_through(20)
        turns = [
            (line.pass_through(messages).rate, _raw_disk(load, messages, folder / "raw")) for _ in range(rounds)
        ]  # fmt: skip
    own, raw = np.array(turns).T
    middle, peer = float(np.median(own)) / 1e9, float(np.median(raw)) / 1e9
    return [
        Figure("channel_stored_tcp_64", middle, "GB/s", "higher", None, "raw disk", peer, rounds, spread(own)),
        Figure(
            "channel_stored_of_raw_disk", float(np.median(own / raw)), "of raw disk", "higher", n=rounds,
            spread=spread(own / raw),
        ),
    ]  # fmt: skip


def minute(name: str, keys: tuple[Pair, Pair] | None, quick: bool, goal: float) -> list[Figure]:
    """Send 512 x 512 frames for a minute and count them; a frame that is missed raises."""
    load = Load((512, 512), 4, keys=keys)
    messages, seconds = load.messages(2.5e8 if keys else 5e8), 5.0 if quick else 60.0
    with Ours(load) as line:
        line.pass_through(20)
        passages, started = [], time.perf_counter()
        while time.perf_counter() - started < seconds:
            passages.append(line.pass_through(messages))
        wall_s = time.perf_counter() - started
    frames = sum(passage.messages for passage in passages) * load.together
    rates = np.array([passage.rate for passage in passages])
    return [Figure(name, frames / wall_s, "frames/s", "higher", goal, n=frames, spread=spread(rates))]


def batch_cost(quick: bool) -> list[Figure]:
    """Measure what a batch costs either end in processor time, with a single spectrum in it."""
    load = Load((1024,), 1)
    with Ours(load) as line:
        passages = [turn[0] for turn in in_turns((line,), 2000 if quick else 20_000, 5 if quick else 9)]
    source = np.array([1e6 * passage.source_cpu_s / passage.messages for passage in passages])
    drain = np.array([1e6 * passage.drain_cpu_s / passage.messages for passage in passages])
    return [
        Figure(f"batch_cost_{side}", float(np.median(cost)), "us CPU", "lower", 100, n=len(cost), spread=spread(cost))
        for side, cost in (("source", source), ("drain", drain))
    ]


def spectrum(quick: bool) -> list[Figure]:
    """Measure from asking the simulated instrument for a spectrum to its array in hand, through all processes."""
    with embedded("simulator") as address, connect(address, "benchmark") as instrument:
        taken = np.empty(200 if quick else 2000)
        for index in range(-1, len(taken)):
            started = time.perf_counter()
            instrument.points("eels", [(0.0, 0.0)], 1e-3)
            taken[index] = 1e3 * (time.perf_counter() - started)
    p50, p99 = (float(value) for value in np.percentile(taken, [50, 99]))
    return [
        Figure("spectrum_request_to_array_p50", p50, "ms", "lower", n=len(taken), spread=spread(taken)),
        Figure("spectrum_request_to_array_p99", p99, "ms", "lower", 3.0, n=len(taken)),
    ]


def main() -> None:
    """Measure and print."""
    parser = options(__doc__)
    parser.add_argument("--folder", type=Path, help="where files are written; a disk, not memory")
    chosen = parser.parse_args()
    quick = chosen.quick
    announce(chosen.json)
    frame = (128, 128)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for measure in (
            lambda: beside_bare("channel_received_tcp_64", Load(frame, 64), quick, 0.8),
            lambda: beside_bare("channel_received_ipc_16", Load(frame, 16, "ipc"), quick, 0.8),
            lambda: beside_bare("channel_received_tcp_16", Load(frame, 16), quick, None),
            lambda: beside_bare("channel_received_tcp_1", Load(frame, 1), quick, None, 4.0),
            lambda: beside_bare("channel_received_curve_64", Load(frame, 64, keys=KEYS), quick, None, 5.0),
            lambda: stored(quick, Path(folder)),
            lambda: batch_cost(quick),
            lambda: spectrum(quick),
            lambda: minute("frames_512_plain", None, quick, 1500),
            lambda: minute("frames_512_curve", KEYS, quick, 400),
        ):
            for figure in measure():
                figure.show(chosen.json)


if __name__ == "__main__":
    main()
