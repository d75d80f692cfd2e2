"""Frames that a sender which died has left on the disk, offered to their recorders by the next.

What it held in memory is gone, and with it which frames its recorders had stored. So each scan
of which something is on the disk is begun anew: its header, the batches that were not stored,
and an end that says what this is. Whoever reads it sees by number what lacks. A file that
holds nothing that can be offered is put aside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import StorageFailed
from ..core.frame import Scan, ScanEnd
from .channel import Outgoing
from .spill import Place, Segment, Spill, found_in

ASIDE = "left"
"""Folder for files that hold nothing that can be offered."""


@dataclass(eq=False, slots=True)
class _Left:
    """What is on the disk for one recorder: its files, its scans, and their batches."""

    segments: list[Segment] = field(default_factory=list)
    scans: dict[str, Scan] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)


def offer_left(folder: Path, made: Callable[[], tuple[Outgoing, Spill | None]]) -> dict[str, Outgoing]:
    """Offer every scan of which batches are on the disk; return the channels of their recorders, by name.

    Parameters
    ----------
    folder
        Where the dead sender had its files.
    made
        Makes a channel, and its store.

    Raises
    ------
    StorageFailed
        If a file can neither be read nor be put aside.
    """
    found: dict[str, _Left] = {}
    for path in sorted(folder.glob("*.spill")):
        try:
            _look_into(path, found)
        except OSError as error:
            raise StorageFailed(f"frames left in {path} cannot be read: {error}; move or delete it") from None
    channels = {}
    for receiver, left in found.items():
        channel, store = made()
        assert store is not None
        channels[receiver] = channel
        for segment in left.segments:
            store.take_up(segment)
        for scan_id, places in left.places.items():
            channel.offer(left.scans[scan_id])
            for place in places:
                store.hold(channel.offer_stored(), place)
            channel.offer(_end(scan_id, places))
    return channels


def _look_into(path: Path, found: dict[str, _Left]) -> None:
    """Add to what was found, by recorder, what a file holds."""
    segment, scans, places = found_in(path)
    places = [place for place in places if place.loss.scan_id in scans]
    if not places:
        segment.raw.close()
        path.parent.joinpath(ASIDE).mkdir(exist_ok=True)
        path.replace(path.parent / ASIDE / path.name)
        return
    # A file is one recorder's.
    left = found.setdefault(scans[places[0].loss.scan_id].receiver, _Left())
    left.segments.append(segment)
    left.scans |= scans
    for place in places:
        left.places.setdefault(place.loss.scan_id, []).append(place)


def _end(scan_id: str, places: list[Place]) -> ScanEnd:
    """Return how a scan ended, as far as is known."""
    frames = sum(place.loss.count for place in places)
    reason = (
        f"the instrument's driver died with {frames} of its frames on the disk and not stored; those that were "
        "neither stored before nor come now are lost"
    )
    return ScanEnd(scan_id=scan_id, status="failed", n_frames=frames, reason=reason)
