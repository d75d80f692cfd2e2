"""What a journal can say: one immutable record for each thing that happens in a run.

Whatever enters a decision is an event: arrivals, clock readings, suggestions, refusals,
versions, seeds. Feeding the same events to the same loop gives the same next point. Each
kind carries its own version, raised when its meaning changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

from pydantic import Field, ValidationError

from ... import __version__
from ...core import (
    Frozen,
    InstrumentInfo,
    InstrumentState,
    Measurement,
    RecordingUnreadable,
    Scan,
    ScanEnd,
    Suggestion,
)

Settings = dict[str, object]


class Plugin(Frozen):
    """A policy or reduction as it was installed: its name, where it came from, how it was set."""

    name: str
    entry: str
    version: str
    settings: Settings = Field(default_factory=dict)


class Budget(Frozen):
    """Where the time of one step went, in seconds.

    Attributes
    ----------
    wait_s
        The instrument waited for a decision; wall.
    move_s, acquire_s
        Settling and flyback, then exposure; instrument clock, which a simulator's is virtual.
    produce_s
        What move and exposure together took on the wall, at the instrument.
    transfer_s
        From asking to all frames in hand, less `produce_s`; wall.
    reduce_s, store_s
        Frames to a value, and to the disk; wall.
    """

    wait_s: float
    move_s: float
    acquire_s: float
    produce_s: float
    transfer_s: float
    reduce_s: float
    store_s: float


Data = Mapping[str, object]
"""The fields of an event as JSON gives them, without its kind."""


def as_it_was(data: Data) -> Data:
    """Return old data unchanged: since then fields were added that have defaults."""
    return data


class Recorded(Frozen):
    """What every event shares: the version of its kind, and how older ones are read.

    Attributes
    ----------
    version
        Raised when the fields or their meaning change.
    older
        For each earlier version that is still read, what makes its data into today's.
    """

    version: ClassVar[int] = 1
    older: ClassVar[Mapping[int, Callable[[Data], Data]]] = {}


class Opened(Recorded):
    """A run begins: what is asked, with which seed, by which versions.

    Attributes
    ----------
    run
        Name of the run folder.
    experiment
        The experiment file, as it stood.
    settings
        The same as values, with what the command line changed.
    instrument
        Where it runs, as asked: an address, `simulator` or `replay:FILE`.
    started
        Date and time, ISO 8601, UTC.
    """

    kind: Literal["opened"] = "opened"
    run: str
    experiment: str
    settings: Settings
    instrument: str
    seed: int
    started: str
    durability: Literal["power", "process"]
    versions: dict[str, str]


class Described(Recorded):
    """What the instrument said it is, and in which state it was found; `audit` is where its audit stood then."""

    kind: Literal["described"] = "described"
    address: str
    protocol: int
    version_there: str
    info: InstrumentInfo
    state: InstrumentState
    audit: str = ""


class Clocked(Recorded):
    """By how much the instrument's time of day was ahead of ours; times in the journal are ours.

    Attributes
    ----------
    offset_s, uncertainty_s
        Their clock less ours, and a bound on its error.
    samples
        Of how many round trips the quickest was taken.
    """

    kind: Literal["clocked"] = "clocked"
    offset_s: float
    uncertainty_s: float
    samples: int


class Leased(Recorded):
    """The lease was asked for, in this name and for this purpose."""

    kind: Literal["leased"] = "leased"
    client: str
    purpose: str


class Installed(Recorded):
    """What values measurements and decisions: reduction, policy, and the pool they work on.

    Attributes
    ----------
    pool, features
        SHA-256 of the candidates' positions and features; features is empty where there are none.
    """

    kind: Literal["installed"] = "installed"
    reduction: Plugin
    policy: Plugin
    seed: int
    candidates: int
    shape: tuple[int, int] | None
    pool: str
    features: str


class Asked(Recorded):
    """A scan that is no step of the loop is asked for: the overview, or the truth at the end."""

    kind: Literal["asked"] = "asked"
    name: Literal["overview", "truth"]
    measurement_id: str
    request_id: str


class Acquired(Recorded):
    """A scan that is no step of the loop arrived; `sha256` is that of what it gave."""

    kind: Literal["acquired"] = "acquired"
    name: Literal["overview", "truth"]
    scan: Scan
    end: ScanEnd
    sha256: str


class Commanded(Recorded):
    """The loop decided on the next measurement.

    Attributes
    ----------
    step
        Its number in the order of asking, from 0.
    request_id
        Under which the instrument is asked, so that it is never done twice.
    decide_s
        The policy's own thinking that led to it; wall.
    react_s
        From the arrival that caused it to here, less all thinking; wall.
    """

    kind: Literal["commanded"] = "commanded"
    step: int
    measurement_id: str
    request_id: str
    suggestion: Suggestion
    decide_s: float
    react_s: float


class Framed(Recorded):
    """Some frames of a measurement came in."""

    kind: Literal["framed"] = "framed"
    measurement_id: str
    scan_id: str
    frames: int
    nbytes: int


class Arrived(Recorded):
    """A measurement ended with a value; written before the loop sees it."""

    kind: Literal["arrived"] = "arrived"
    measurement: Measurement
    scan_id: str
    budget: Budget


class Declined(Recorded):
    """A measurement was refused before it began, or failed; written before the loop sees it."""

    kind: Literal["declined"] = "declined"
    measurement_id: str
    outcome: Literal["refused", "failed"]
    error: str
    message: str


class Closed(Recorded):
    """Candidates that are not asked for any more; written before the loop sees it.

    Attributes
    ----------
    candidates
        Indices into the pool.
    reason
        Why, for example that their dose budget does not allow a measurement.
    """

    kind: Literal["closed"] = "closed"
    candidates: tuple[int, ...]
    reason: str

    def told(self) -> str:
        """Return what a person is told.

        >>> Closed(candidates=(3,), reason="no dose left").told()
        '1 candidate closed: no dose left'
        """
        return f"{len(self.candidates)} candidate{'s' if len(self.candidates) > 1 else ''} closed: {self.reason}"


class Interrupted(Recorded):
    """A measurement or side scan was cut off; whether it was done is not known, so it is repeated under a new name.

    Attributes
    ----------
    electrons, duration_s
        What it is charged with: what its end told, or else the most that such a measurement has cost.
    estimated
        Whether no end told what it cost.
    """

    kind: Literal["interrupted"] = "interrupted"
    measurement_id: str
    reason: str
    electrons: float
    duration_s: float
    estimated: bool


class Resumed(Recorded):
    """A run that was cut off goes on: where, since when, by which versions. What was stopped is taken up again."""

    kind: Literal["resumed"] = "resumed"
    instrument: str
    started: str
    versions: dict[str, str]


class Intervened(Recorded):
    """A person, the guard or a lost line intervened; written before the loop sees it."""

    kind: Literal["intervened"] = "intervened"
    word: Literal["pause", "continue", "stop"]
    reason: str


class Ended(Recorded):
    """The loop is over.

    Attributes
    ----------
    outcome
        `finished` (a stop rule), `stopped` (a person, here or at the instrument) or `failed`.
    """

    kind: Literal["ended"] = "ended"
    outcome: Literal["finished", "stopped", "failed"]
    reason: str


class Noted(Recorded):
    """Something a reader of the run should know that enters no decision."""

    kind: Literal["noted"] = "noted"
    text: str


Event = (
    Opened
    | Described
    | Clocked
    | Leased
    | Installed
    | Asked
    | Acquired
    | Commanded
    | Framed
    | Arrived
    | Declined
    | Closed
    | Interrupted
    | Resumed
    | Intervened
    | Ended
    | Noted
)

_KINDS: Mapping[str, type[Event]] = {kind.model_fields["kind"].default: kind for kind in Event.__args__}


def event_from(kind: str, version: int, data: Data) -> Event:
    """Return the event that a row of a journal describes.

    Raises
    ------
    RecordingUnreadable
        If this version of beamloop does not know the kind, its version or its fields.
    """
    known = _known(kind, version)
    try:
        return known.model_validate(data if version == known.version else known.older[version](data))
    except ValidationError as error:
        raise _damaged(kind, error) from None


def event_of_json(kind: str, version: int, text: str) -> Event:
    """Return the event that a row of a journal describes, its data as JSON; see `event_from`."""
    known = _known(kind, version)
    if version != known.version:
        return event_from(kind, version, json.loads(text))
    try:
        return known.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(kind, error) from None


def _known(kind: str, version: int) -> type[Event]:
    known = _KINDS.get(kind)
    if known is None:
        raise _strange(kind, version, "does not know that kind")
    if version > known.version:
        raise _strange(kind, version, f"knows up to version {known.version}")
    if version < known.version and version not in known.older:
        raise _strange(kind, version, f"knows version {known.version} and no longer reads this one")
    return known


def _strange(kind: str, version: int, found: str) -> RecordingUnreadable:
    return RecordingUnreadable(
        f"event {kind!r} of version {version} cannot be read: beamloop {__version__} {found}; install the one that "
        "wrote it"
    )


def _damaged(kind: str, error: ValidationError) -> RecordingUnreadable:
    return RecordingUnreadable(f"event {kind!r} is damaged: {error}")
