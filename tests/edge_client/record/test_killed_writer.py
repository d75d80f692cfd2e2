"""A process that writes a run file is killed (SIGKILL) at random moments; what it was told is stored is there.

`BEAMLOOP_KILLS=50` kills 50 times; 8 times without it. A failure prints its seed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from beamloop.edge_client.record.run_file import RunFile

KILLS = int(os.environ.get("BEAMLOOP_KILLS", "8"))

WRITER = """
import itertools, sys
from pathlib import Path
import numpy as np
from beamloop.core import Axis, FrameBatch, Scan, Signal
from beamloop.edge_client.record.run_file import RunFile

path, rows_between = Path(sys.argv[1]), int(sys.argv[2])
pixels = tuple(Axis(name=name, size=64, units="1/m") for name in "vu")
picture = Signal(np.arange(4096.0).reshape(64, 64), tuple(Axis(name=n, size=64, units="m", scale=1e-9) for n in "yx"))
file = RunFile.reopened(path, 400, swmr=sys.argv[3] == "swmr")
print("begun", flush=True)
for row in itertools.count(len(file.rows())):
    scan = Scan(
        scan_id=f"s{row}", measurement_id=f"m{row}", receiver="", detector="camera", dtype="<u2", dwell_s=0.1,
        scan_axes=(Axis(name="index", size=1),), frame_axes=pixels,
    )
    frame = np.random.default_rng(row).integers(0, 1000, (1, 64, 64)).astype("<u2")
    assert file.add(scan, [FrameBatch("s", np.zeros(1, np.int64), np.zeros((1, 2)), frame)]) == row
    print(row, flush=True)
    if row % rows_between == rows_between - 1:
        file.put_overview(picture)
        file.put_map("predicted", picture)
        file.close()
        file = RunFile.reopened(path, 400, swmr=sys.argv[3] == "swmr")
"""


def told_until_killed(path: Path, rows_between: int, after_s: float, mode: str) -> int:
    """Let a writer go on in this file, kill it, and return the last row that it was told is stored."""
    command = [sys.executable, "-c", WRITER, str(path), str(rows_between), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline(), "the writer did not begin"
        killer = threading.Timer(after_s, writer.kill)
        killer.start()
        told = [int(line) for line in writer.stdout if line.endswith("\n")]
        killer.join()
    return told[-1] if told else -1


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("mode", ["plain", "swmr"])
def test_every_row_that_was_told_stored_is_readable_after_a_kill(tmp_path: Path, mode: str) -> None:
    path, seed = tmp_path / "run.h5", random.randrange(10**6)
    chance, slowest_s, told = random.Random(seed), 0.0, -1
    RunFile(path, 400).close()
    for kill in range(max(1, KILLS // 2)):
        where = f"seed {seed}, kill {kill}, {mode}"
        told = max(told, told_until_killed(path, chance.choice([3, 25]), chance.uniform(0.0, 0.25), mode))
        start = time.perf_counter()
        with closing(RunFile.reopened(path, 400)) as file:
            slowest_s = max(slowest_s, time.perf_counter() - start)
            rows = file.rows()
            assert len(rows) > told, where
            for row in range(len(rows)):
                frame = file.frame(row)
                assert frame is not None, where
                wanted = np.random.default_rng(row).integers(0, 1000, (64, 64))
                np.testing.assert_array_equal(frame.data, wanted, err_msg=where)
    print(f"{mode}: {told + 1} rows, opened again in {slowest_s:.2f} s at most")
