"""Connecting from a notebook loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("h5py", "matplotlib", "torch", "gpytorch", "sklearn", "scipy", "numba", "rich")


def test_the_door_of_the_package_loads_nothing_heavy() -> None:
    program = f"import sys, beamloop.edge_client; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"


def test_only_the_control_line_imports_pyro() -> None:
    from pathlib import Path

    package = Path(__file__).parents[2] / "edge_client"
    assert [file.name for file in package.rglob("*.py") if "Pyro5" in file.read_text().split("TOLD =")[0]] == [
        "control_line.py"
    ]
