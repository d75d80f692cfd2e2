"""How quickly a stop is answered, and all is read back at rest: with everything busy, and while the driver hangs.

Busy: stops at random moments of scans whose frames nobody takes (the data channel is full), with every
thread of the server taken by requests that wait. Flooded: another key asks as fast as it can on all the
connections that it may have, from a process of its own. Hanging: the driver holds the interpreter lock
inside C code for five seconds, as a vendor's library can; the stop is said from this process, and as the
whole command with Python's start.

    python benchmarks/stop.py --quick
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from figure import Figure, announce, options

from beamloop.core import BeamBlanked, BeamloopError, PointScan
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.connection.guard_line import reports
from beamloop.edge_client.embedded import embedded
from beamloop.instrument_server.keys.making import add_key, make_folder
from beamloop.instrument_server.keys.place import Place

PLUGINS = Path(__file__).parent.parent / "tests" / "plugins"
HANG_S = 5.0
WORKERS = 24
"""Requests that wait in the server at any time, each in a thread of its own."""

FLOOD = """
import sys, threading, time
from pathlib import Path
from beamloop.core import BeamloopError
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.control_line import ControlLine
from beamloop.edge_client.connection.shown_key import ShownKey
key, address = ShownKey(Path(sys.argv[1])), Address("127.0.0.1", int(sys.argv[2]))
asked = [0] * 32
def ask(number):
    line = ControlLine(address, f"{key.name}/flood", key=key)
    while True:
        try:
            line.ask("state")
            asked[number] += 1
        except BeamloopError:
            pass
for number in range(32):
    threading.Thread(target=ask, args=(number,), daemon=True).start()
while not all(asked):
    time.sleep(0.05)
print("all asks", flush=True)
sys.stdin.read()
"""
CONFIG = '[instrument]\nplugin = "bench"\n'


def _measure(bench: RemoteInstrument) -> None:
    with suppress(BeamBlanked):
        bench.points("camera", [(0.0, 0.0)], 1e-3)


def _occupy(bench: RemoteInstrument, over: threading.Event) -> None:
    """Take a thread of the server: ask for what waits for the scan under way, and is refused then."""
    line = ControlLine(bench.address, bench.client)
    while not over.is_set():
        with suppress(BeamloopError):
            line.ask("set", {"plan": {"kind": "set", "values": {"frame_s": 1e9}}})
    line.close()


def busy(bench: RemoteInstrument, stops: int) -> tuple[list[float], list[float], int]:
    """Stop so often; return the times to the first and the last report in ms, and how often all was confirmed."""
    over, rng = threading.Event(), np.random.default_rng(0)
    workers = [threading.Thread(target=_occupy, args=(bench, over)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    first, last, confirmed = [], [], 0
    plan = PointScan(detector="camera", points=((0.0, 0.0),) * 5000, dwell_s=1e-3)
    for _ in range(stops):
        bench.arm()
        incoming = bench.start(plan, "full")
        time.sleep(rng.uniform(0.0, 0.3))
        start = time.perf_counter()
        told = []
        for report in reports(bench.address, "stop"):
            told.append(report)
            (last if len(told) > 1 else first).append(1e3 * (time.perf_counter() - start))
        if len(told) == 1:
            last.append(first[-1])
        confirmed += {told[-1].beam, told[-1].acquisition, told[-1].motion} == {"confirmed"}
        bench.discard(incoming)
    over.set()
    bench.arm()
    for worker in workers:
        worker.join()
    return first, last, confirmed


def show_busy(bench: RemoteInstrument, stops: int, as_json: bool) -> None:
    """Measure and print what a stop takes with everything busy."""
    first, last, confirmed = busy(bench, stops)
    for name, times, goal in (("first_answer", first, 100), ("read_back", last, None)):
        for percentile in (50, 99):
            value = float(np.percentile(times, percentile))
            Figure(f"stop_busy_{name}_p{percentile}", value, "ms", "lower", goal=goal, n=stops).show(as_json)
    Figure("stop_busy_confirmed", 100 * confirmed / stops, "%", "higher", goal=100, n=stops).show(as_json)


def show_flooded(folder: Path, stops: int, as_json: bool) -> None:
    """Measure and print what a stop takes while another key asks without end."""
    place = Place(folder / "keys")
    make_folder(place)
    for name in ("operator", "observer"):
        add_key(place, name, name, 1.0, folder / f"{name}.key")
    config = folder / "keyed.toml"
    config.write_text('keys = "keys"\n' + CONFIG)
    with embedded(str(config)) as address, connect(address, key=folder / "operator.key") as bench:
        times = {"alone": _stops(bench, stops)}
        command = [sys.executable, "-c", FLOOD, str(folder / "observer.key"), address.rpartition(":")[2]]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as flood:
            assert flood.stdout is not None
            assert flood.stdout.readline()
            times["flooded"] = _stops(bench, stops)
            flood.kill()
    for how, taken in times.items():
        for percentile in (50, 99):
            value = float(np.percentile(taken, percentile))
            Figure(f"stop_{how}_first_answer_p{percentile}", value, "ms", "lower", goal=100, n=stops).show(as_json)


def _stops(bench: RemoteInstrument, stops: int) -> list[float]:
    """Stop so often; return the times to the first report in ms."""
    times = []
    for _ in range(stops):
        time.sleep(0.02)
        start = time.perf_counter()
        assert next(reports(bench.address, "stop", key=bench._key)).beam == "confirmed"
        times.append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__).parse_args()
    announce(chosen.json)
    os.environ["PYTHONPATH"] = str(PLUGINS)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.toml"
        config.write_text(CONFIG)
        with embedded(str(config)) as address, connect(address, "benchmark") as bench:
            show_busy(bench, 40 if chosen.quick else 200, chosen.json)
            show_flooded(Path(folder), 100 if chosen.quick else 500, chosen.json)
            bench.write({"hold_lock_s": HANG_S})
            # Not from this thread: its frames come only after the hang.
            measuring = threading.Thread(target=_measure, args=(bench,))
            measuring.start()
            time.sleep(0.2)
            answers = []
            for _ in range(20):
                start = time.perf_counter()
                report = next(reports(bench.address, "stop"))
                answers.append(1e3 * (time.perf_counter() - start))
                assert report.beam == "confirmed"
                assert report.acquisition != "confirmed"
            commands = []
            for _ in range(7):
                start = time.perf_counter()
                subprocess.run([sys.executable, "-m", "beamloop", "stop", address], check=True, capture_output=True)
                commands.append(1e3 * (time.perf_counter() - start))
            assert measuring.is_alive(), "the driver hung no longer; these figures are of a driver at rest"
            measuring.join()
    Figure("stop_first_answer_driver_hung", answers[0], "ms", "lower", goal=250, n=1).show(chosen.json)
    Figure("stop_answer_driver_hung_worst", float(np.max(answers)), "ms", "lower", goal=250, n=20).show(chosen.json)
    low, middle, high = np.percentile(commands, [25, 50, 75])
    spread = float((high - low) / middle)
    figure = Figure("stop_whole_command_driver_hung", float(middle), "ms", "lower", 250, n=len(commands), spread=spread)
    figure.show(chosen.json)


if __name__ == "__main__":
    main()
