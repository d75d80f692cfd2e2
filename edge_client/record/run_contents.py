"""What a run file holds beside its rows: first picture, maps, the journal; read and written whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import h5py

from ... import __version__
from ...core import RecordingUnreadable, Signal
from ...streaming.files import write_signal
from ...streaming.files.facts import part_of, parts_of, stored_signal
from ...streaming.files.nsid import MEASUREMENT
from .disk import reading
from .journal import Entry
from .run_tables import write_tables
from .story import Story

FORMAT = 2
"""Version of the layout, in the attribute `run_file_format`; files of version 1 have none."""

OVERVIEW, FIRST_MAP = "Channel_000", 2


@dataclass(frozen=True, slots=True)
class Contents:
    """What a run file holds beside its rows.

    Attributes
    ----------
    overview
        The first picture; None if there was none.
    maps
        What was found, by name, in the order of their channels.
    entries, story
        The journal and what it tells; None where nothing was set up.
    """

    overview: Signal | None = None
    maps: Mapping[str, Signal] = field(default_factory=dict)
    entries: Sequence[Entry] = ()
    story: Story | None = None


def write_contents(file: h5py.File, contents: Contents) -> None:
    """Write everything into a new file, with the version of this layout and the program's."""
    file.attrs.update({"run_file_format": FORMAT, "program": "beamloop", "program_version": __version__})
    if contents.overview is not None:
        write_signal(file, OVERVIEW, "overview", contents.overview)
    for number, (name, signal) in enumerate(contents.maps.items(), start=FIRST_MAP):
        write_signal(file, f"Channel_{number:03d}", name, signal)
    if contents.entries:
        write_tables(file, contents.story, contents.entries)


def contents_of(file: h5py.File) -> Contents:
    """Return the pictures and maps of an open run file; its journal is the journal's own.

    Raises
    ------
    RecordingUnreadable
        If they are damaged, or the layout is newer than this program knows.
    """
    with reading(file.filename):
        found = int(file.attrs.get("run_file_format", 1))
    if found > FORMAT:
        raise RecordingUnreadable(
            f"{file.filename} has run file format {found}; this version of beamloop reads up to {FORMAT}"
        )
    with reading(file.filename):
        signals = {place: stored_signal(main) for place, main in _mains(file)}
    maps = {name: signal for (channel, name), signal in signals.items() if channel >= f"Channel_{FIRST_MAP:03d}"}
    return Contents(signals.get((OVERVIEW, "overview")), maps)


def _mains(file: h5py.File) -> Iterator[tuple[tuple[str, str], h5py.Dataset]]:
    channels = part_of(file, MEASUREMENT)
    for channel, group in sorted(parts_of(channels).items()) if isinstance(channels, h5py.Group) else []:
        if isinstance(group, h5py.Group) and (channel == OVERVIEW or channel >= f"Channel_{FIRST_MAP:03d}"):
            for name in parts_of(group):
                main = part_of(group, f"{name}/{name}")
                if isinstance(main, h5py.Dataset):
                    yield (channel, name), main
