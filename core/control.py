"""The words that client and server say to each other on the control channel.

One request, one reply; a repeated request id returns the first answer. Arrays never pass
here: an acquisition's reply names the scan, and its frames come on the data channel.
An instrument takes three neighbouring ports, so that a tunnel needs no more than a
number: control at `port`, frames at `port + 1`, guard at `port + 2`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .frozen import Frozen
from .instrument import InstrumentInfo

PROTOCOL = 1
"""Version of these messages; raised whenever a message or its meaning changes."""

PORT = 7440
"""Control port where none is named."""

FRAMES_OFFSET = 1
GUARD_OFFSET = 2

FACE = "beamloop.instrument"
"""Name under which the server registers its one object."""

Verb = Literal["describe", "state", "lease", "renew", "release", "arm", "set", "acquire"]
Rest = Literal["confirmed", "commanded", "unknown", "active"]
Role = Literal["observer", "operator", "engineer"]
"""Each may also do what those before it may."""


class Request(Frozen):
    """One command or question.

    Attributes
    ----------
    request_id
        Unique name of this request; asking again with the same one never does it twice.
    client
        Who asks; also the name of the receiver of frames.
    verb
        What is asked.
    arguments
        Its arguments: `lease` takes `purpose`; `set` takes `plan`; `acquire` takes `plan` and
        `measurement_id`.
    protocol
        Version the asker speaks.
    """

    request_id: str
    client: str
    verb: Verb
    arguments: dict[str, Any] = Field(default_factory=dict)
    protocol: int = PROTOCOL


class Reply(Frozen):
    """The answer to one request.

    Attributes
    ----------
    status
        `done`; `refused` (nothing was done); `failed` (it was tried).
    value
        What was asked for: a description, a state, `{"scan": ...}` or `{"duration_s": ...}`.
    error, message
        Class of the error and what it says; empty when done.
    """

    status: Literal["done", "refused", "failed"]
    value: dict[str, Any] = Field(default_factory=dict)
    error: str = ""
    message: str = ""


class LeaseInfo(Frozen):
    """Who may command the instrument, why, and for how long."""

    holder: str
    purpose: str
    expires_in_s: float


class InstrumentState(Frozen):
    """What the instrument is doing.

    Attributes
    ----------
    activity
        `idle`, `acquiring`, `stopped` (needs a new arming), `paused`, or `lost` (no driver).
    beam
        `blanked`, `open` or `unknown`, as read back.
    lease
        Who holds it; None if nobody does.
    parameters
        Present values by name, SI units.
    clock_s
        The instrument's clock.
    dose_electrons
        Electrons that reached the specimen since the start.
    """

    activity: Literal["idle", "acquiring", "stopped", "paused", "lost"]
    beam: Literal["blanked", "open", "unknown"]
    lease: LeaseInfo | None = None
    parameters: dict[str, float] = Field(default_factory=dict)
    clock_s: float = 0.0
    dose_electrons: float = 0.0


class Description(Frozen):
    """What a client learns when it connects, before it holds any lease."""

    protocol: int
    version: str
    info: InstrumentInfo


class GuardReport(Frozen):
    """The guard's answer: for each part, whether its rest is confirmed, commanded or unknown.

    What is only commanded in the first answer is confirmed by read-back, or known to be unknown, in a second
    one; it is pushed to those who asked with `"follow": true`.

    Attributes
    ----------
    word
        What was asked: `blank`, `stop`, `pause` or `state`.
    beam, acquisition, motion
        `confirmed` (read back at rest), `commanded` (told, not yet read back), `unknown` (cannot be read back, or
        was not at rest within the driver's stopping time), or `active` (at work, and nothing told it to rest).
    armed
        Whether the instrument may expose and move.
    reason
        Why it is not armed, what is known of a silent process, or which part did not obey; empty if all is well.
    follows_within_s
        Another report follows on the same line within this time; 0 if this is the last.
    """

    word: str
    beam: Rest
    acquisition: Rest
    motion: Rest = "unknown"
    armed: bool
    reason: str = ""
    follows_within_s: float = 0.0
