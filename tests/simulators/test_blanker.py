"""The shared line: its states, its sharing between processes, and how little it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from beamloop.simulators import SharedLine


def test_new_line_is_blanked(tmp_path: Path) -> None:
    assert SharedLine(tmp_path).is_open() is False


def test_existing_line_is_adopted_as_it_stands(tmp_path: Path) -> None:
    SharedLine(tmp_path).open()
    assert SharedLine(tmp_path).is_open() is True


def test_both_ends_see_each_other_at_once(tmp_path: Path) -> None:
    guard, driver = SharedLine(tmp_path), SharedLine(tmp_path)
    driver.open()
    assert guard.is_open() is True
    guard.close()
    assert driver.is_open() is False


def test_another_process_sees_and_blanks_the_line(tmp_path: Path) -> None:
    line = SharedLine(tmp_path)
    line.open()
    program = (
        "import sys, pathlib; from beamloop.simulators import SharedLine; "
        "line = SharedLine(pathlib.Path(sys.argv[1])); print(line.is_open()); line.close()"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.strip() == "True"
    assert line.is_open() is False


def test_state_that_is_neither_is_unknown(tmp_path: Path) -> None:
    line = SharedLine(tmp_path)
    (tmp_path / "beam").write_bytes(b"\x07")
    assert line.is_open() is None


def test_released_line_closes_without_a_word_and_knows_nothing(tmp_path: Path) -> None:
    line = SharedLine(tmp_path)
    line.open()
    line.release()
    line.close()
    assert line.is_open() is None
    assert SharedLine(tmp_path).is_open() is True


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SharedLine(tmp_path / "nowhere")


def test_loading_the_line_loads_no_numbers() -> None:
    program = "import sys, beamloop.simulators.blanker; print({'numpy', 'scipy', 'h5py'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "set()"
