"""What a run's journal says before the first exposure, and whether the instrument may expose at all."""

from __future__ import annotations

import importlib.metadata
import platform

from .. import __version__
from ..core import NotArmed, ProtocolMismatch
from .instrument import RemoteInstrument
from .record.events import Clocked, Described

TOLD = ("numpy", "scipy", "torch", "gpytorch", "scikit-learn", "h5py", "pyzmq", "Pyro5", "pydantic")
"""Packages whose versions are kept with a run."""


def make_ready(instrument: RemoteInstrument, arm: bool) -> str:
    """Make sure that the instrument may expose, prove that it can be stopped, and return what to say of that.

    Needs the lease. That the guard hears this side, on the line by which it would be stopped, is part of it.

    Raises
    ------
    ProofFailed
        If the chain that stops it is not as promised.
    InstrumentUnreachable
        If the guard does not hear this side.
    NotArmed
        If a person has stopped it and `arm` does not say that it may go on.
    """
    activity = instrument.state().activity
    if activity in ("stopped", "paused") and not arm:
        raise NotArmed(
            f"{instrument.info.name} is {activity} by a person; if it is safe to go on, run again with --arm"
        )
    if activity in ("stopped", "paused"):
        instrument.arm()
    instrument.guard()
    try:
        return f"before the first exposure: {instrument.prove()}"
    except ProtocolMismatch:
        return "the instrument's server is of an older version, which cannot prove that it can be stopped"


def described(instrument: RemoteInstrument) -> Described:
    """Return what the instrument says of itself, and the state it is found in."""
    there = instrument.description
    return Described(
        address=str(instrument.address), protocol=there.protocol, version_there=there.version, info=there.info,
        state=instrument.state(), audit=there.audit,
    )  # fmt: skip


def clocked(instrument: RemoteInstrument) -> list[Clocked]:
    """Return by how much the two clocks differ, to be written down; nothing if the server cannot be asked."""
    found = instrument.clock_offset()
    return [] if found is None else [Clocked(**found.model_dump(exclude={"at_s"}))]


def told_on_arrival(instrument: RemoteInstrument) -> tuple[str, ...]:
    """Return what a newcomer should know: what the instrument's server was doing when it was last ended or killed."""
    return tuple(f"before its server was restarted: {one.in_words()}" for one in instrument.state().interrupted)


def versions() -> dict[str, str]:
    """Return the versions of this program, of Python and of the packages that numbers depend on."""
    found = {}
    for name in TOLD:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # A policy that does not need it runs without it.
            continue
    return {"beamloop": __version__, "python": platform.python_version(), **found}
