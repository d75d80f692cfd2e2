"""The shared line: its states, its sharing between processes, and how little it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from beamloop.core import Blanker
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


def test_a_halt_and_a_move_are_seen_at_the_other_end(tmp_path: Path) -> None:
    guard, driver = SharedLine(tmp_path), SharedLine(tmp_path)
    assert (driver.is_halted(), guard.is_moving()) == (False, False)
    driver.moves(True)
    guard.halt()
    assert (driver.is_halted(), guard.is_moving()) == (True, True)
    driver.moves(False)
    guard.free()
    assert (driver.is_halted(), guard.is_moving()) == (False, False)


def test_beam_and_motion_leave_each_other_alone(tmp_path: Path) -> None:
    line = SharedLine(tmp_path)
    line.open()
    line.halt()
    line.moves(True)
    assert line.is_open() is True
    line.close()
    assert (line.is_halted(), line.is_moving()) == (True, True)


def test_a_line_of_an_earlier_version_gains_its_motion_at_rest(tmp_path: Path) -> None:
    (tmp_path / "beam").write_bytes(b"\x01")
    line = SharedLine(tmp_path)
    assert (line.is_open(), line.is_halted(), line.is_moving()) == (True, False, False)


def test_a_line_that_can_only_blank_halts_nothing_and_says_so() -> None:
    class Relay(Blanker):
        def open(self) -> None: ...

        def close(self) -> None: ...

        def is_open(self) -> bool | None: ...

    line = Relay()
    line.halt()
    line.moves(True)
    assert (line.is_halted(), line.is_moving()) == (False, None)
    assert isinstance(line, Blanker)


def test_state_that_is_neither_is_unknown(tmp_path: Path) -> None:
    line = SharedLine(tmp_path)
    (tmp_path / "beam").write_bytes(b"\x07\x07\x07")
    assert line.is_open() is None
    assert line.is_moving() is None
    assert line.is_halted()


def test_released_line_closes_without_a_word_and_knows_nothing(tmp_path: Path) -> None:
    line = SharedLine(tmp_path)
    line.open()
    line.release()
    for word in (line.close, line.halt, line.free):
        word()
    assert (line.is_open(), line.is_moving(), line.is_halted()) == (None, None, True)
    assert SharedLine(tmp_path).is_open() is True
    assert not SharedLine(tmp_path).is_halted()


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SharedLine(tmp_path / "nowhere")


def test_loading_the_line_loads_no_numbers() -> None:
    program = "import sys, beamloop.simulators.blanker; print({'numpy', 'scipy', 'h5py'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "set()"
