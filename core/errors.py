"""One family of errors, each named for the condition that raised it.

An error crosses the control channel as its class name and its message, so the client
raises the same class that the instrument raised; `error_named` finds it again. A message
says what was asked, what was found and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class BeamloopError(Exception):
    """Anything beamloop refuses or cannot do.

    Attributes
    ----------
    exit_status
        With which status a command ends that raises it: 1, it failed; 2, it was wrongly used.
    """

    exit_status: ClassVar[int] = 1


class LimitRefused(BeamloopError):
    """A command would leave the limits; nothing was moved or exposed."""


class InstrumentOutside(LimitRefused):
    """The instrument itself stands outside its limits, so nothing is exposed wherever it is asked for."""


class DoseRefused(LimitRefused):
    """A plan would bring more dose to some place than its budget allows; nothing was exposed."""


class DoseUncounted(BeamloopError):
    """Dose was asked for of an instrument whose beam current nobody knows."""


class UnknownName(BeamloopError):
    """A parameter, detector, plugin or key that does not exist was named."""

    exit_status = 2


class NotInstalled(BeamloopError):
    """A plugin is registered, but a package that it imports is not installed."""


class PlanInvalid(BeamloopError):
    """A plan is malformed before any limit is looked at."""


class SettingsInvalid(BeamloopError):
    """A configuration or experiment file has a wrong key or value."""

    exit_status = 2


class LeaseHeld(BeamloopError):
    """Somebody else holds the lease on the instrument, or the caller holds none."""


class LeaseTaken(LeaseHeld):
    """The caller held the lease, and a person took it away or gave it to somebody else."""


class LocalOverride(LeaseHeld):
    """Somebody at the instrument has turned the switch; it takes no remote commands, but for looking and stopping."""


class RequestReused(BeamloopError):
    """A request id was used before, for another request; nothing was done and no other's answer is given."""


class RoleLacking(BeamloopError):
    """The caller's key does not let them ask this."""


class KeyRefused(BeamloopError):
    """No key was shown where one is wanted, or the one that was shown is not let in."""


class NotArmed(BeamloopError):
    """The instrument was stopped; it needs a new arming before it exposes again."""


class ProofFailed(BeamloopError):
    """The chain that stops the instrument failed its proof, or was not proved lately; nothing is exposed."""


class Interrupted(BeamloopError):
    """A command was begun and its outcome is not known: the server or driver died on it."""


class BeamBlanked(BeamloopError):
    """The beam was blanked while an acquisition needed it."""


class MotionHalted(BeamloopError):
    """A move was stopped before it arrived; the instrument's parameters tell where it is."""


class NotRecorded(BeamloopError):
    """A recording was asked for a position or detector that it does not hold."""


class RecordingUnreadable(BeamloopError):
    """A file is missing, truncated, corrupt or of a kind that cannot be replayed."""


class StorageFailed(BeamloopError):
    """A disk is full, gone or read-only, so that something could not be kept."""


class OutputExists(BeamloopError):
    """The output is already there; beamloop never overwrites a run."""


class NothingToResume(BeamloopError):
    """A run came to its end; there is nothing left to go on with."""


class NotRunning(BeamloopError):
    """A run was to be looked at or ended while it runs, and no process works on it."""


class InstrumentUnreachable(BeamloopError):
    """No answer came from an instrument within the stated time."""


class RelayRefused(InstrumentUnreachable):
    """A relay does not lead to the instrument that was asked for."""


class DriverFailed(BeamloopError):
    """The instrument's driver raised, died or stopped answering."""


class DriverSilent(DriverFailed):
    """The driver did not answer in time; whether it did what was asked is not known."""


class ProtocolMismatch(BeamloopError):
    """The two sides speak versions that do not fit."""


class WireInvalid(BeamloopError):
    """Bytes from the data channel are not a message of this protocol."""


class WireDamaged(WireInvalid):
    """A message of the data channel is not what was sent: it fails its checksum."""


class FrameShapeWrong(BeamloopError):
    """Frames do not have the shape or dtype that their scan header announced."""


class ChannelClosed(BeamloopError):
    """The data channel was closed while frames were expected."""


class ScanIncomplete(BeamloopError):
    """A scan ended with fewer frames than its header announced."""


class ValueUnusable(BeamloopError):
    """A measurement was made, but the number it gave is not finite or not plausible."""


class NotEnoughData(BeamloopError):
    """A result was asked for before there was data to support it."""


def error_named(name: str) -> type[BeamloopError]:
    """Return the error class of this name, or `BeamloopError` for a name unknown here.

    >>> error_named("LimitRefused").__name__
    'LimitRefused'
    """
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, BeamloopError) else BeamloopError
