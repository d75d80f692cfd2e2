"""An instrument of one's own: up, addressed, gone; and if it does not come up, why."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from beamloop.core import DriverFailed, InstrumentUnreachable, RecordingUnreadable, SettingsInvalid
from beamloop.edge_client import connect
from beamloop.edge_client.embedded import embedded
from beamloop.edge_client.first_word import _refusal


def test_an_instrument_that_does_not_come_up_raises_what_it_told(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.toml"
    with pytest.raises(SettingsInvalid, match="did not start: no such file") as caught, embedded(str(nothing)):
        pass
    assert "\n" not in str(caught.value)


def test_a_recording_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.h5"
    file.write_bytes(b"not HDF5")
    with pytest.raises(RecordingUnreadable, match=r"broken\.h5"), embedded(f"replay:{file}"):
        pass


def test_last_words_that_are_no_error_of_ours_are_told_whole() -> None:
    refusal = _refusal("simulator", 1, "Traceback (most recent call last):\nValueError: no such thing")
    assert isinstance(refusal, DriverFailed)
    assert "Traceback" in str(refusal)
    assert "ValueError: no such thing" in str(refusal)


def test_an_instrument_leaves_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    starter = (
        "import sys, time\n"
        "from beamloop.edge_client.embedded import embedded\n"
        "with embedded('simulator') as address:\n"
        "    print(address, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with connect(address) as instrument:
        assert instrument.state().activity == "idle"
    process.kill()
    process.communicate(timeout=10)
    until = time.monotonic() + 15
    while answers(address):
        assert time.monotonic() < until, "the instrument outlived the process that it belonged to"
        time.sleep(0.1)


def answers(address: str) -> bool:
    try:
        with connect(address):
            return True
    except InstrumentUnreachable:
        return False


def test_one_that_is_not_up_in_time_is_ended() -> None:
    with pytest.raises(InstrumentUnreachable, match="was not up within"), embedded("simulator", ready_within_s=0.05):
        pass
