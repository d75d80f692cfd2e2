"""Half an hour with a receiver that is killed and comes back each minute: flat memory, nothing lost.

The source sends scans at a steady rate; the receiver is a process of its own that checks
every frame's values against its number, notes it in a file, and only then says `stored`.
It dies by SIGKILL wherever it happens to be. What it had not noted comes again. At the end
each frame of each scan must have been noted as right. The memory of either side is looked
at every second: its growth is the highest of the last third less the highest of the first.

    python benchmarks/soak.py --quick
    python benchmarks/soak.py --minutes 30 --json > soak.jsonl
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from figure import Figure, announce, options

from beamloop.core import Axis, FrameBatch, Scan, ScanEnd
from beamloop.core.errors import BeamloopError
from beamloop.streaming import Receiver, Sender

NAME = "soak"
SHAPE = (128, 128)
TOGETHER = 16
FRAMES_A_SECOND = 800
SCAN_S = 10
RIGHT, WRONG = 1, 2
RETENTION_BYTES = 64 * 2**20
WAIT_S = 120.0
_PIXELS = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint32).reshape(SHAPE)


def frames_of(numbers: np.ndarray) -> np.ndarray:
    """Return the frames of these numbers, shape (n, *SHAPE); no two frames of a scan are alike."""
    return (_PIXELS * 40_503 + numbers[:, None, None].astype(np.uint32) * 7919).astype("<u2")


def receive(endpoint: str, folder: Path) -> None:
    """Take whatever comes and note each frame in its scan's file; runs until it is killed."""
    with Receiver(endpoint, NAME) as receiver:
        while True:
            try:
                incoming = receiver.any_scan(WAIT_S)
                scan = incoming.header
                noted = np.memmap(folder / scan.scan_id, np.uint8, "r+", shape=(scan.n_frames,))
                for batch in incoming.batches(WAIT_S):
                    right = (batch.frames == frames_of(batch.indices)).all(axis=(1, 2))
                    noted[batch.indices] = np.maximum(noted[batch.indices], np.where(right, RIGHT, WRONG))
                    incoming.stored()
                incoming.stored()
            except BeamloopError as error:
                print(f"receiver: {type(error).__name__}: {error}", flush=True)


def resident_bytes(pid: int) -> int:
    """Return the memory a process has now; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


@dataclass
class Soak:
    """A soak under way: the receiver's process, when it dies next, and what memory was seen.

    Attributes
    ----------
    deaths
        Times the receiver was killed.
    memory
        For each look: seconds since the start, bytes of the source, bytes of the receiver.
    """

    endpoint: str
    folder: Path
    own_pid: int
    life_s: float
    started_s: float = field(default_factory=time.monotonic)
    deaths: int = 0
    memory: list[tuple[float, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._be_born()

    def _be_born(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.receiver = spawn.Process(target=receive, args=(self.endpoint, self.folder), daemon=True)
        self.receiver.start()
        self._dies_s = time.monotonic() + self.life_s * self._rng.uniform(0.9, 1.1)
        self._looked_s = 0.0

    def look(self) -> None:
        """Note the memory once a second, and let the receiver die and return when it is time."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= 1.0:
            self._looked_s = now_s
            assert self.receiver.pid is not None
            seen = (now_s - self.started_s, resident_bytes(self.own_pid), resident_bytes(self.receiver.pid))
            self.memory.append(seen)
        if now_s >= self._dies_s:
            self.end()
            self.deaths += 1
            self._be_born()

    def end(self) -> None:
        """Kill the receiver."""
        self.receiver.kill()
        self.receiver.join()

    def growth_mib(self, side: int) -> float:
        """Return how much more memory a side (1 source, 2 receiver) had in the last third than in the first."""
        seen = np.array(self.memory, dtype=float)
        first, last = seen[: len(seen) // 3, side], seen[-(len(seen) // 3) :, side]
        return float(last.max() - first.max()) / 2**20


def send_scan(sender: Sender, soak: Soak, number: int, seconds: float) -> str:
    """Send one scan at the steady rate; return its id."""
    n = max(TOGETHER, int(seconds * FRAMES_A_SECOND) // TOGETHER * TOGETHER)
    scan = Scan(
        scan_id=f"scan_{number:04}", measurement_id="soak", receiver=NAME, detector="camera", dtype="<u2",
        scan_axes=(Axis(name="index", size=n),), dwell_s=1.0 / FRAMES_A_SECOND, simulated=True,
        frame_axes=tuple(Axis(name=name, size=size) for name, size in zip("vu", SHAPE, strict=True)),
    )  # fmt: skip
    (soak.folder / scan.scan_id).write_bytes(bytes(n))
    sender.begin(scan)
    started_s = time.monotonic()
    for start in range(0, n, TOGETHER):
        soak.look()
        numbers = np.arange(start, start + TOGETHER)
        sender.send(FrameBatch(scan.scan_id, numbers, np.zeros((TOGETHER, 2)), frames_of(numbers)), _looking(soak))
        time.sleep(max(0.0, started_s + start / FRAMES_A_SECOND - time.monotonic()))
    sender.end(ScanEnd(scan_id=scan.scan_id, status="complete", n_frames=n))
    return scan.scan_id


def _looking(soak: Soak):
    def look() -> bool:
        soak.look()
        return False

    return look


def soaked(minutes: float, life_s: float, own_pid: int) -> list[Figure]:
    """Soak, and return what was found."""
    with tempfile.TemporaryDirectory() as name, Sender(retention_bytes=RETENTION_BYTES) as sender:
        soak = Soak(sender.endpoint, Path(name), own_pid, life_s)
        scans: list[str] = []
        try:
            while time.monotonic() - soak.started_s < 60 * minutes:
                left_s = 60 * minutes - (time.monotonic() - soak.started_s)
                scans.append(send_scan(sender, soak, len(scans), min(SCAN_S, max(0.1, left_s))))
            given_up_s = time.monotonic() + WAIT_S
            while sender.statistics().receivers[NAME].retained and time.monotonic() < given_up_s:
                time.sleep(0.05)
        finally:
            soak.end()
        outflow = sender.statistics().receivers[NAME]
        noted = np.concatenate([np.fromfile(Path(name) / scan, np.uint8) for scan in scans])
    return [
        Figure("soak_minutes", (time.monotonic() - soak.started_s) / 60, "min", "higher"),
        Figure("soak_receiver_deaths", soak.deaths, "kills", "higher", 1),
        Figure("soak_frames_sent", len(noted), "frames", "higher", n=len(scans)),
        Figure("soak_frames_lost", int((noted == 0).sum()), "frames", "lower", 0),
        Figure("soak_frames_wrong", int((noted == WRONG).sum()), "frames", "lower", 0),
        Figure("soak_messages_sent_again", outflow.resent, "messages", "lower"),
        Figure("soak_source_growth", soak.growth_mib(1), "MiB", "lower", 8, n=len(soak.memory)),
        Figure("soak_receiver_growth", soak.growth_mib(2), "MiB", "lower", 8, n=len(soak.memory)),
    ]


def main() -> None:
    """Soak and print."""
    parser = options(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long")
    chosen = parser.parse_args()
    announce(chosen.json)
    minutes, life_s = (0.5, 4.0) if chosen.quick else (chosen.minutes, 60.0)
    for figure in soaked(minutes, life_s, multiprocessing.current_process().pid or 0):
        figure.show(chosen.json)


if __name__ == "__main__":
    main()
