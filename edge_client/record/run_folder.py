"""The folder of a run: new, named by date and experiment, never written over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...core import OutputExists


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where everything about one run lies."""

    path: Path

    @property
    def run_file(self) -> Path:
        """The HDF5 with what was seen and found."""
        return self.path / "run.h5"

    @property
    def journal(self) -> Path:
        """The SQLite file with every event."""
        return self.path / "journal.sqlite"

    @property
    def report(self) -> Path:
        """The page that tells the run's story."""
        return self.path / "report.html"

    @property
    def experiment(self) -> Path:
        """The experiment file as it stood."""
        return self.path / "experiment.toml"


def new_run_folder(parent: Path, name: str, started: datetime, experiment: str) -> RunFolder:
    """Make `<parent>/<date>-<time>_<name>`, put the experiment into it, and return it.

    Raises
    ------
    OutputExists
        If a folder of that name or a file in its way is there.
    """
    folder = RunFolder(parent / f"{started:%Y-%m-%d-%H%M%S}_{name}")
    try:
        folder.path.mkdir(parents=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputExists(
            f"{folder.path} cannot be made: {error.filename} is already there; a run is never written over"
        ) from None
    folder.experiment.write_text(experiment, encoding="utf-8")
    return folder
