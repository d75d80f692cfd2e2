"""The words that client and server say to each other on the control channel.

One request, one reply; a repeated request id returns the first answer. Arrays never pass
here: an acquisition's reply names the scan, and its frames come on the data channel.
An instrument takes three neighbouring ports, so that a tunnel needs no more than a
number: control at `port`, frames at `port + 1`, guard at `port + 2`.

Versions are `PROTOCOL.MINOR`, and of plans `PLANS`; both sides learn them from the first message,
`describe`. The rules:

- Another `PROTOCOL` is refused by both sides, saying which is where. It is raised when a word loses or
  changes its meaning, or a field is removed.
- Within a `PROTOCOL`, either side may be older. `MINOR` is raised with each new verb, and with each new field
  of a reply, which has a default for servers that do not send it. A client ignores fields that it does not
  know (`heard`); a verb that a server does not know is told as such (`ProtocolMismatch`).
- `Request` gains no fields. Arguments may be added to a verb if a server may ignore them; one that must be
  understood comes as a new verb, since a server ignores arguments that it does not know.
- Plans are exact on both sides: whatever is wanted of an instrument is understood whole or refused. A new
  kind or field raises `PLANS`; a server takes all versions up to its own.

What 1.0 was (before leases could be handed over, limits asked for and keys shown) is kept as a transcript in
`tests/versions`, beside one of today's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from .frozen import Frozen
from .instrument import InstrumentInfo

PROTOCOL, MINOR = 1, 1
"""Version of these messages."""

PLANS = 1
"""Version of the plans."""

PORT = 7440
"""Control port where none is named."""

FRAMES_OFFSET = 1
GUARD_OFFSET = 2

FACE = "beamloop.instrument"
"""Name under which the server registers its one object."""

MOST_WORDS = 200
"""Characters of a client's name, of a purpose and of a reason; a request id may have twice as many."""

Verb = Literal[
    "describe", "state", "clock", "limits", "check", "dose", "restrict", "specimen",
    "lease", "renew", "release", "hand_over", "break_glass", "arm", "prove", "set", "acquire",
]  # fmt: skip
Rest = Literal["confirmed", "commanded", "unknown", "active"]
Role = Literal["observer", "operator", "engineer"]
"""Each may also do what those before it may."""

_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, Field(min_length=1, max_length=MOST_WORDS, pattern=_PRINTABLE)]
"""A client's name; it is shown to others, so it carries no control characters."""

Words = Annotated[str, Field(max_length=MOST_WORDS, pattern=_PRINTABLE)]
"""A purpose or a reason; it is shown to others as well."""

RequestId = Annotated[str, Field(min_length=1, max_length=2 * MOST_WORDS, pattern=_PRINTABLE)]


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
        Its arguments: `lease` takes `purpose` and `wait` (ask to be next if it is held); `hand_over` takes
        `to`; `break_glass` takes `reason` and `purpose`; `set` takes `plan`; `acquire` takes `plan` and
        `measurement_id`; `check` takes `steps` (`TrialStep`); `dose` takes `area` (`field` or `everywhere`), or
        `plan` to learn which of its positions have dose left; `restrict` takes `set` (values by configuration key),
        `restore` (keys) and `why`; `specimen` takes `name`.
    protocol
        Version the asker speaks.
    """

    request_id: RequestId
    client: Name
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


class Waiting(Frozen):
    """Who asked to have the lease next, why, and how long their place is kept unless renewed."""

    client: str
    purpose: str
    expires_in_s: float


class LeaseInfo(Frozen):
    """Who may command the instrument, why, and for how long.

    Attributes
    ----------
    how
        How it came to them, if not simply by asking: by whom it was handed over, or why it was broken.
    queue
        Who waits for it, the next one first.
    """

    holder: str
    purpose: str
    expires_in_s: float
    how: str = ""
    queue: tuple[Waiting, ...] = ()

    def position(self, client: str) -> int | None:
        """Return 0 for the holder, 1 for who is next, and so on; None for who has asked for nothing.

        >>> LeaseInfo(holder="ada", purpose="", expires_in_s=5).position("ada")
        0
        """
        names = (self.holder, *(waiting.client for waiting in self.queue))
        return names.index(client) if client in names else None


class LocalControl(Frozen):
    """Somebody at the instrument has turned the switch: no remote commands until they turn it back.

    Attributes
    ----------
    by, reason
        Who, and why.
    since
        Date and time, ISO 8601, UTC.
    admits
        Whose commands are taken all the same, a key's or a client's name; nobody's if empty.
    """

    by: Words
    reason: Words
    since: Words
    admits: Words = ""


class Interruption(Frozen):
    """A command that was begun before the server was restarted, and whose end nobody knows.

    Attributes
    ----------
    request_id, client
        Under which name it was asked, and by whom.
    what
        The command in a few words.
    began
        Date and time, ISO 8601, UTC; empty if it was not kept.
    """

    request_id: str
    client: str
    what: str
    began: str

    def in_words(self) -> str:
        """Return one line for people."""
        by = f" of {self.client}" if self.client else ""
        at = f", begun {self.began}" if self.began else ""
        return (
            f"{self.what}{by}{at} (request {self.request_id}): the server ended meanwhile, and whether it came to its "
            "end is not known"
        )


class Proof(Frozen):
    """How the chain that stops the instrument fared when it was last tried, with everything read back.

    Attributes
    ----------
    passed, failure
        Whether all went as promised, and what did not.
    at, age_s
        Date and time, and how long ago; the age is None if it was made before this server's start.
    counts
        Whether a run may begin on it.
    beam
        Whether the beam was opened for it, or all was done in the dark.
    expiry_s
        An unrenewed permission was gone after this time.
    blank_s, stop_s
        From the word to the beam read back as blanked.
    open_s
        How long the beam was open for it at most; on hardware the place under the parked probe is charged with it.
    """

    passed: bool
    at: str
    beam: Literal["open", "dark"]
    failure: str = ""
    age_s: float | None = 0.0
    counts: bool = False
    expiry_s: float = 0.0
    blank_s: float = 0.0
    stop_s: float = 0.0
    open_s: float = 0.0

    def __str__(self) -> str:
        if not self.passed:
            return f"the proof of the chain that stops the beam FAILED: {self.failure}"
        return (
            f"stop proved in {1e3 * self.stop_s:.1f} ms, blank in {1e3 * self.blank_s:.1f} ms, lease expiry after "
            f"{1e3 * self.expiry_s:.0f} ms, refusals refused (beam {self.beam})"
        )


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
    frames_wait
        What the scan under way waits for, if its source is paused until frames are stored; empty otherwise.
    local
        Who has turned the switch at the instrument, so that it takes no remote commands; None if nobody has.
    interrupted
        What the server was doing when it was last ended or killed; told until its client has asked about it or
        a later scan has come to its end.
    notice
        Why the server itself halted the last scan, a limit that was narrowed or a dose that does not add up; told
        until the next scan begins.
    proof
        How the chain that stops the instrument fared when it was last proved; None if it never was.
    """

    activity: Literal["idle", "acquiring", "stopped", "paused", "lost"]
    beam: Literal["blanked", "open", "unknown"]
    lease: LeaseInfo | None = None
    parameters: dict[str, float] = Field(default_factory=dict)
    clock_s: float = 0.0
    dose_electrons: float = 0.0
    frames_wait: str = ""
    local: LocalControl | None = None
    interrupted: tuple[Interruption, ...] = ()
    notice: str = ""
    proof: Proof | None = None


class Description(Frozen):
    """What a client learns when it connects, before it holds any lease.

    Attributes
    ----------
    protocol, minor, plans, version
        What the instrument's side speaks, up to which version of plans it takes, and its program's version.
    info
        What the instrument is.
    audit
        How far its audit has come, as `NUMBER:HASH`; kept elsewhere, it shows later that nothing before was changed.
    key, role
        As whom the instrument knows the asker, and what they may do; no key where it wants none.
    """

    protocol: int
    version: str
    info: InstrumentInfo
    key: str = ""
    role: Role = "engineer"
    minor: int = 0
    plans: int = 1
    audit: str = ""


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


def belongs(name: str, key: str) -> bool:
    """Tell whether a client, receiver or request of this name is one of this key's own.

    >>> belongs("ada/laptop/7", "ada"), belongs("adam", "ada")
    (True, False)
    """
    return name == key or name.startswith(f"{key}/")
