"""How quickly an instrument answers, and how quickly a run gets from one measurement to the next.

Everything goes through all three processes and both channels on this machine: a question
and its answer; a 512 x 512 frame asked for and in hand, beside the field's habit of nested
lists over Pyro's default serializer; and the time from "measurement arrived" to "next
command sent" beyond the policy's own thinking, taken with nothing asked ahead, so that the
instrument's whole wait counts.

    python benchmarks/loop.py --quick
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import Pyro5.api
from figure import Figure, announce, options

from beamloop.core import Axis, Region, Signal
from beamloop.edge_client import connect
from beamloop.edge_client.embedded import embedded
from beamloop.edge_client.experiment import Experiment
from beamloop.edge_client.runner import RunRequest, run_experiment
from beamloop.streaming.files import write_signal

SIZE = 512
EXPERIMENT = {
    "name": "loop-benchmark",
    "question": "How long does the instrument wait for the next command?",
    "pool": {"shape": (40, 40)},
    "overview": {"detector": "haadf", "shape": (256, 256), "dwell_s": 4e-6},
    "measure": {"detector": "eels", "dwell_s": 0.1},
    "target": {
        "name": "edge ratio",
        "reduction": "spectrum-window",
        "settings": {"combine": "ratio", "window": (705.0, 760.0), "background": (620.0, 700.0)},
    },
    "features": {"size_m": 9e-9, "components": 8},
    "policy": {"name": "gp-features"},
    "ahead": 0,
}


@Pyro5.api.expose
class NestedLists:
    """A camera as most Pyro servers of the field give one: a list of lists."""

    def frame(self) -> list[list[int]]:
        """Return one frame."""
        return _pattern().tolist()


def _pattern() -> np.ndarray:
    return (np.arange(SIZE * SIZE, dtype=np.uint32) % 4096).astype("<u2").reshape(SIZE, SIZE)


def _timed(action: Callable[[], object], times: int) -> np.ndarray:
    """Return milliseconds of each call, shape (times,); one call before is not counted."""
    action()
    taken = np.empty(times)
    for index in range(times):
        start = time.perf_counter()
        action()
        taken[index] = time.perf_counter() - start
    return 1e3 * taken


def _figure(
    name: str, taken: np.ndarray, goal: float, peer: str | None = None, peer_value: float | None = None
) -> Figure:
    low, middle, high = np.percentile(taken, [25, 50, 75])
    spread = float((high - low) / middle) if middle else None
    return Figure(name, float(middle), "ms", "lower", goal, peer, peer_value, len(taken), spread)


def answers(quick: bool) -> Figure:
    """Measure a question and its answer on the control channel."""
    with embedded("simulator") as address, connect(address) as instrument:
        return _figure("control_round_trip_p50", _timed(instrument.state, 500 if quick else 5000), goal=1.0)


def frame(quick: bool, folder: Path) -> Figure:
    """Measure from asking for a 512 x 512 uint16 frame to the array in hand."""
    y, x = Region(y_m=0, x_m=0, height_m=1e-8, width_m=1e-8).grid((2, 2))
    axes = (y, x, *(Axis(name=n, size=SIZE, units="1/m", scale=1e7) for n in "vu"))
    file = folder / "frames.h5"
    with h5py.File(file, "x") as made:
        write_signal(
            made, "Channel_000", "diffraction", Signal(np.stack([_pattern()] * 4).reshape(2, 2, SIZE, SIZE), axes)
        )
    with embedded(f"replay:{file}") as address, connect(address, "benchmark") as instrument:
        at = (float(y.coordinates()[0]), float(x.coordinates()[0]))
        taken = _timed(lambda: instrument.points("diffraction", [at], 1e-3), 50 if quick else 500)
    return _figure("frame_512_request_to_array_p50", taken, 5.0, "Pyro5 nested list", _nested_lists(2 if quick else 5))


def _nested_lists(times: int) -> float:
    with Pyro5.api.Daemon(host="127.0.0.1") as daemon:
        uri = daemon.register(NestedLists())
        serving = threading.Thread(target=daemon.requestLoop)
        serving.start()
        with Pyro5.api.Proxy(uri) as camera:
            taken = _timed(lambda: np.array(camera.frame(), dtype="<u2"), times)
        daemon.shutdown()
        serving.join()
    return float(np.median(taken))


def steps(quick: bool, folder: Path) -> list[Figure]:
    """Measure how long the instrument waits between measurements, less the policy's thinking."""
    points = 60 if quick else 300
    experiment = Experiment.model_validate({**EXPERIMENT, "stop": {"points": points}})
    with embedded("simulator") as address, connect(address) as instrument:
        finished = run_experiment(RunRequest(experiment, "", "simulator", folder), instrument)
    done = [step for step in finished.story.steps[1:] if step.arrived is not None]
    waits = np.array([1e3 * (s.arrived.budget.wait_s - s.commanded.decide_s) for s in done if s.arrived is not None])
    thinking = np.array([1e3 * s.commanded.decide_s for s in done])
    p99 = float(np.percentile(waits, 99))
    return [
        _figure("arrival_to_next_command_p50", waits, goal=5.0),
        Figure("arrival_to_next_command_p99", p99, "ms", "lower", goal=20.0, n=len(waits)),
        Figure("policy_thinking_p50", float(np.median(thinking)), "ms", "lower", n=len(thinking)),
    ]


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__).parse_args()
    announce(chosen.json)
    with tempfile.TemporaryDirectory() as folder:
        for measured in (answers(chosen.quick), frame(chosen.quick, Path(folder)), *steps(chosen.quick, Path(folder))):
            measured.show(chosen.json)


if __name__ == "__main__":
    main()
