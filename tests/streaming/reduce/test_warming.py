from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beamloop.streaming.reduce import Reducing, compilations, warm_up
from beamloop.streaming.reduce.warming import DTYPES

from .scans import scan_of
from .test_contract import CASES


@pytest.mark.parametrize("dtype", DTYPES)
def test_after_warming_up_no_reduction_compiles_anything(dtype: str) -> None:
    warm_up(dtype)
    seen: list[str] = []
    with compilations(seen.append):
        for reduction, axes in CASES.values():
            Reducing(scan_of(dtype, frame_axes=axes), {"it": reduction})
    assert seen == []


def test_kernels_are_compiled_once_on_a_machine_and_each_is_told(tmp_path: Path) -> None:
    program = (
        "import json\n"
        "from beamloop.streaming.reduce import compilations, warm_up\n"
        "seen = []\n"
        "with compilations(seen.append): warm_up('<u2')\n"
        "print(json.dumps(seen))\n"
    )
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True,
            text=True, timeout=100, check=True,
        )  # fmt: skip
        told.append(json.loads(done.stdout))
    assert {"add frames", "add squares", "block sums", "first moments", "mask sums"} <= set(told[0])
    assert "impl" not in told[0], "numba's own parts mean nothing to a user"
    assert told[1] == []
