"""The configuration file of an instrument server."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from ..core import Frozen, Limit, Rule
from ..core.storage import Durability
from .dose.budget import DoseSettings

Port = Annotated[int, Field(ge=0, le=65533)]


class Plugin(Frozen):
    """Which instrument to serve.

    Attributes
    ----------
    plugin
        Its name under the entry-point group `beamloop.instruments`.
    settings
        The plugin's own settings.
    blanker
        Name of the line that blanks the beam, under `beamloop.blankers`.
    """

    plugin: str
    settings: dict[str, Any] = Field(default_factory=dict)
    blanker: str = "shared-line"


class FrameBounds(Frozen):
    """How much of what was acquired is kept until it is stored by whom it is for; table `[frames]`.

    Attributes
    ----------
    memory_bytes
        In memory, for one recorder.
    disk_bytes
        After that on disk, in the server's folder; 0 for none. At both bounds the source is paused.
    reader_bytes, viewer_bytes
        In memory, for one reader and for one viewer.
    """

    memory_bytes: NonNegativeInt = 256 * 2**20
    disk_bytes: NonNegativeInt = 4 * 2**30
    reader_bytes: NonNegativeInt = 64 * 2**20
    viewer_bytes: NonNegativeInt = 16 * 2**20


class ServerSettings(Frozen):
    """What `beamloop serve` needs to know.

    Attributes
    ----------
    instrument
        The plugin and its settings.
    port
        Control port; frames and guard take the next two. 0 takes free ones.
    folder
        Where answers, audit and the blanker line live; beside the configuration file unless absolute.
    limits
        Ranges, rates and steps by parameter name, SI units, narrower than the instrument's own.
    rules
        Forbidden combinations, by a name of your choice.
    dose
        How much dose each place of the specimen may take.
    lease_s
        How long the holder of the lease may be silent.
    silence_s
        How long server or driver may be silent while the beam is open.
    relay
        `HOST[:PORT]` of a relay to dial out to, so that clients reach the instrument through it; None for none.
    keys
        Folder of the keys that let clients in (`beamloop keys`), beside the configuration file unless absolute; None
        lets in whoever has an account on this computer, and nobody else.
    listen
        Address to listen on, for example 0.0.0.0 for all; needs keys unless it is of this computer only.
    frames
        How much of what was acquired is kept until it is stored.
    processes
        `separate`, or `one` for a driver in the server's process, where a vendor's interpreter allows no other:
        with a reduced guarantee, which everybody is told.
    proof_hours
        How old the proof of the chain that stops the beam may be when a run begins.
    proof_opens
        Whether the beam is opened for that proof, about 0.1 s in all; if not given, not on hardware, where
        `dose.parked_m` must say which place of the specimen takes it.
    durability
        What begun commands, their answers and the audit survive: a power cut (`power`, four syncs of the
        disk more for each command) or a kill (`process`). If not given, `power` for hardware.
    """

    instrument: Plugin
    port: Port = 7440
    folder: Path = Path("instrument-state")
    limits: dict[str, Limit] = Field(default_factory=dict)
    rules: dict[str, Rule] = Field(default_factory=dict)
    dose: DoseSettings = DoseSettings()
    lease_s: PositiveFloat = 5.0
    silence_s: PositiveFloat = 1.0
    durability: Durability | None = None
    relay: str | None = None
    keys: Path | None = None
    listen: IPv4Address = IPv4Address("127.0.0.1")
    frames: FrameBounds = FrameBounds()
    processes: Literal["separate", "one"] = "separate"
    proof_hours: PositiveFloat = 12.0
    proof_opens: bool | None = None
