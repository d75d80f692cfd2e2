"""The folder of a run: new, named by date and experiment, never written over; and found again later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...core import OutputExists, RecordingUnreadable, StorageFailed
from ...core.nearest import nearest

LATEST = "latest"
"""Word for the newest run of a folder of runs."""

MOST_TOLD = 5
"""So many of the newest runs are named to a person who named none."""


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

    def put_report(self, html: str) -> None:
        """Write the report, in place of an older one; whoever has that open never sees half of the new one.

        Raises
        ------
        StorageFailed
            If the disk is full, gone or read-only.
        """
        put_page(self.report, html)


def put_page(page: Path, html: str) -> None:
    """Write a page, in place of an older one; whoever has that open never sees half of the new one.

    Raises
    ------
    StorageFailed
        If it cannot be written.
    """
    beside = page.with_name(f".{page.name}.part")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(html, encoding="utf-8")
        beside.replace(page)
    except OSError as error:
        raise StorageFailed(
            f"{page} cannot be written: {error.strerror}; make space or choose another place, then go on"
        ) from None


def new_run_folder(parent: Path, name: str, started: datetime, experiment: str) -> RunFolder:
    """Make `<parent>/<date>-<time>_<name>`, put the experiment into it, and return it.

    Raises
    ------
    OutputExists
        If a folder of that name or a file in its way is there.
    StorageFailed
        If it cannot be written.
    """
    folder = RunFolder(parent / f"{started:%Y-%m-%d-%H%M%S}_{name}")
    try:
        folder.path.mkdir(parents=True)
        folder.experiment.write_text(experiment, encoding="utf-8")
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputExists(
            f"{folder.path} cannot be made: {error.filename} is already there; a run is never written over"
        ) from None
    except OSError as error:
        raise StorageFailed(
            f"{folder.path} cannot be made: {error.strerror}; make it writable, or choose another folder with -o"
        ) from None
    return folder


def find_run(named: str, parent: Path = Path("runs")) -> RunFolder:
    """Return the run that a person names: its folder, a file in it, or `latest`, the newest below `parent`.

    A bare name is also looked for below `parent`.

    Raises
    ------
    RecordingUnreadable
        If there is no such run.
    """
    if named == LATEST:
        return _newest(parent)
    for path in (Path(named), parent / named):
        folder = RunFolder(path.parent if path.is_file() else path)
        if folder.journal.is_file():
            return folder
    known = sorted(folder.path.name for folder in _runs(parent))[-MOST_TOLD:]
    why = "holds no journal.sqlite, so it is no run" if Path(named).exists() else "does not exist"
    raise RecordingUnreadable(f"{named} {why}{nearest(named, known) if known else ''}")


def _newest(parent: Path) -> RunFolder:
    runs = _runs(parent)
    if not runs:
        raise RecordingUnreadable(f"no run below {parent.absolute()}; name the folder of a run")
    # Names begin with the date and time of the start.
    return max(runs, key=lambda folder: folder.path.name)


def _runs(parent: Path) -> list[RunFolder]:
    return [RunFolder(path.parent) for path in parent.glob("*/journal.sqlite")]
