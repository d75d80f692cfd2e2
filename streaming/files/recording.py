"""Open recorded files as a set of detectors over one field of view.

A file is looked through once: every dataset with a grid in space becomes a detector, and what
had to be guessed about it is kept in `notes` for a person to read. Several files of one
session open as one recording. What lies on no grid, as a list of points does, is kept beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...core.closing import Closing
from ...core.errors import RecordingUnreadable
from ...core.nearest import nearest
from .alignment import aligned, main_of
from .found import Found
from .naming import apart, named
from .placing import lengths_among, placed
from .readers import Opened, read
from .recorded import RecordedDetector


@dataclass(frozen=True)
class Recording(Closing):
    """An open recording; for one thread; close it, or use it as a context.

    Attributes
    ----------
    paths
        The files.
    detectors
        Everything recorded on a grid, in the files' order.
    beside
        What lies on no grid of numbers over y and x, and so cannot be played back.
    """

    paths: tuple[Path, ...]
    detectors: tuple[RecordedDetector, ...]
    beside: tuple[Found, ...]
    _opened: tuple[Opened, ...]

    @property
    def path(self) -> Path:
        """The file, the first of several."""
        return self.paths[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was missing or odd, and what was taken instead; one line each."""
        passed = (each.passed_over() for each in self.beside)
        guessed = (note for detector in self.detectors for note in (*detector.notes, detector.place) if note)
        return (*passed, *guessed)

    @property
    def main(self) -> RecordedDetector:
        """The grid of spectra or frames with most positions; the first image if there are only images.

        Raises
        ------
        RecordingUnreadable
            If nothing was recorded on a grid.
        """
        if not self.detectors:
            raise RecordingUnreadable(f"{self.path} holds nothing recorded on a grid: {'; '.join(self.notes)}")
        return main_of(self.detectors)

    @property
    def overview(self) -> RecordedDetector | None:
        """The finest image that covers the main grid; None if there is none."""
        images = [d for d in self.detectors if d.kind == "image" and _covers(d, self.main)]
        return max(images, key=lambda d: d.valid.size, default=None)

    def detector(self, name: str) -> RecordedDetector:
        """Return the detector of this name.

        Raises
        ------
        RecordingUnreadable
            If there is none; the message names the nearest.
        """
        found = {detector.name: detector for detector in self.detectors}
        if name not in found:
            raise RecordingUnreadable(f"{self.path} holds no detector {name!r}{nearest(name, found)}")
        return found[name]

    def close(self) -> None:
        """Close the files; may be called twice."""
        for opened in self._opened:
            opened.close()


def open_recording(*paths: Path | str) -> Recording:
    """Open a recorded file for reading, or several of one session as one recording.

    A dataset of another file than the main grid's is laid over the main grid's field if it has a whole number of
    pixels for each of its positions; see `alignment`.

    Raises
    ------
    RecordingUnreadable
        If a file is missing, cut off, corrupt, of a kind that is not read, or holds no dataset.
    NotInstalled
        If a file needs a package that is not installed.
    """
    files = tuple(Path(path) for path in paths)
    with ExitStack() as stack:
        opened = [stack.enter_context(read(file)) for file in files]
        detectors: list[RecordedDetector] = []
        beside: list[Found] = []
        for file, each in zip(files, opened, strict=True):
            if not each.found:
                raise RecordingUnreadable(f"{file} holds nothing recorded on a grid of positions: {each.instead}")
            here, rest = _detectors(file, each.found)
            detectors += here
            beside += rest
        recording = Recording(files, tuple(aligned(apart(detectors))), tuple(beside), tuple(opened))
        stack.pop_all()
    return recording


def _detectors(file: Path, found: Sequence[Found]) -> tuple[list[RecordedDetector], list[Found]]:
    """Return what of a file can be played back, under names of their own, and what cannot."""
    lengths = lengths_among(found)
    both = [(placed(each, file, lengths), each) for each in found]
    return named((d, each) for d, each in both if d is not None), [each for d, each in both if d is None]


def _covers(image: RecordedDetector, grid: RecordedDetector) -> bool:
    """Tell whether an image covers the positions of a grid, to half a step of either."""
    for mine, other in ((image.y, grid.y), (image.x, grid.x)):
        slack = max(mine.scale, other.scale) / 2
        ends = [(a.offset, a.offset + a.scale * (a.size - 1)) for a in (mine, other)]
        if ends[0][0] > ends[1][0] + slack or ends[0][1] < ends[1][1] - slack:
            return False
    return True
