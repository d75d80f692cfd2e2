"""A run that outlives the terminal that started it: a process of its own session, with a log in the run folder.

The starter waits until the run has its folder, or tells why it did not begin, and leaves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .first_word import first_word
from .progress import Onlooker

BEGUN_WITHIN_S = 120.0
LOG = "run.log"
ANNOUNCE = "--announce"
"""Hidden option of the commands that can be detached: say where the run is kept, then write to its log."""

_DETACHED_PROCESS = 0x00000208
"""`DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP`, which only Windows has."""


def detached(words: Sequence[str]) -> Path:
    """Start a beamloop command that outlives this process and return its run folder.

    Parameters
    ----------
    words
        The command and its arguments, for example `run`, `experiment.toml`.

    Raises
    ------
    BeamloopError
        What it told, if it ended before it had a run folder.
    """
    command = [sys.executable, "-m", "beamloop", *words, ANNOUNCE]
    on_windows = sys.platform == "win32"
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=not on_windows,
            creationflags=_DETACHED_PROCESS if on_windows else 0,
        )
        said = first_word(child, complaints, f"beamloop {words[0]}", "folder", BEGUN_WITHIN_S)
    # It is left to itself from here on, on purpose; nobody waits for its end.
    child.returncode = 0
    return Path(said["folder"])


class Announcing:
    """An onlooker that says where the run is kept and from then on writes to the run's log; for a detached process.

    Parameters
    ----------
    onlooker
        Who is told how the run goes.
    """

    def __init__(self, onlooker: Onlooker) -> None:
        self._onlooker = onlooker
        self.note, self.arrived, self.declined = onlooker.note, onlooker.arrived, onlooker.declined

    def began(self, folder: Path) -> None:
        """Say the folder to whoever started this process, and let go of their terminal."""
        print(json.dumps({"folder": str(folder.absolute())}), flush=True)
        log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log, stream.fileno())
        os.close(log)
        self._onlooker.began(folder)
