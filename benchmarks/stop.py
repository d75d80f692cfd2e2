"""How quickly a stop is answered with the beam read back as blanked, while the driver hangs.

The driver holds the interpreter lock inside C code for five seconds, as a vendor's library
can; the stop is said from this process, and as the whole command with Python's start.

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

from beamloop.core import BeamBlanked
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.embedded import embedded

PLUGINS = Path(__file__).parent.parent / "tests" / "plugins"
HANG_S = 5.0
CONFIG = '[instrument]\nplugin = "bench"\n'


def _measure(bench: RemoteInstrument) -> None:
    with suppress(BeamBlanked):
        bench.points("camera", [(0.0, 0.0)], 1e-3)


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__).parse_args()
    announce(chosen.json)
    os.environ["PYTHONPATH"] = str(PLUGINS)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.toml"
        config.write_text(CONFIG)
        with embedded(str(config)) as address, connect(address, "benchmark") as bench:
            bench.write({"hold_lock_s": HANG_S})
            # Not from this thread: its frames come only after the hang.
            measuring = threading.Thread(target=_measure, args=(bench,))
            measuring.start()
            time.sleep(0.2)
            answers = []
            for _ in range(20):
                start = time.perf_counter()
                report = bench.stop()
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
