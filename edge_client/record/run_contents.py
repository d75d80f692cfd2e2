"""What a run file holds beside its rows: first picture, maps, the journal; read and written whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import h5py
import numpy as np

from ... import __version__
from ...core import Measurement, RecordingUnreadable, Signal
from ...streaming.files import write_signal
from ...streaming.files.facts import part_of, parts_of
from ...streaming.files.nsid import MEASUREMENT
from ...streaming.files.readers.nsid import stored_signal
from .damage import reading
from .disk import FORMAT
from .journal import Entry
from .rows import CHANNEL, index_of
from .run_tables import write_tables
from .story import Story

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


def with_values(contents: Contents, measured: Sequence[Measurement], name: str, units: str) -> Contents:
    """Return the contents with the values of these measurements and their standard errors (nan where not known)."""
    if not measured:
        return contents
    index = (index_of(len(measured)),)
    places = {"y_m": [m.position[0] for m in measured], "x_m": [m.position[1] for m in measured]}
    values = np.array([m.value for m in measured])
    errors = np.array([np.nan if m.std is None else m.std for m in measured])
    maps = {
        "values": Signal(values, index, name, units, metadata=places),
        "standard_errors": Signal(errors, index, f"standard error of {name}", units, metadata=places),
    }
    return replace(contents, maps={**contents.maps, **maps})


def contents_of(file: h5py.File, lost: list[str] | None = None) -> Contents:
    """Return the pictures and maps of an open run file; its journal is the journal's own.

    Parameters
    ----------
    lost
        Takes what is said of each that is damaged; None to raise at the first.

    Raises
    ------
    RecordingUnreadable
        If they are damaged.
    """
    signals = {}
    for (channel, name), path in _mains(file):
        try:
            with reading(f"{file.filename}: {name}"):
                main = part_of(file, path)
                if isinstance(main, h5py.Dataset):
                    signals[channel, name] = stored_signal(main)
        except RecordingUnreadable as error:
            if lost is None:
                raise
            lost.append(str(error))
    maps = {name: signal for (channel, name), signal in signals.items() if channel != OVERVIEW}
    return Contents(signals.get((OVERVIEW, "overview")), maps)


def _mains(file: h5py.File) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield channel, name and path of every main dataset that is no row of frames."""
    with reading(file.filename):
        channels = part_of(file, MEASUREMENT)
        for channel, group in sorted(parts_of(channels).items()) if isinstance(channels, h5py.Group) else []:
            if isinstance(group, h5py.Group) and channel != CHANNEL:
                yield from (((channel, str(name)), f"{MEASUREMENT}/{channel}/{name}/{name}") for name in group)
