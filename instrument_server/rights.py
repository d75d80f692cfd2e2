"""Who may ask what: the one table of roles and verbs, and who a caller has proved to be.

An observer looks, an operator commands while holding the lease, an engineer also changes what
operators may do. `blank`, `stop` and `pause` are not here: they go to the guard, and everybody
who is let in may say them.
"""

from __future__ import annotations

from typing import NamedTuple, get_args

from ..core import Frozen, RoleLacking
from ..core.control import Role, Verb


class Caller(Frozen):
    """Who speaks, as the connection has proved; never what a message claims.

    Attributes
    ----------
    name
        Name of the key; empty where no keys are configured and any client name is taken as it comes.
    role
        What they may do.
    """

    name: str
    role: Role


LOOPBACK = Caller(name="", role="engineer")
"""Whoever has an account on this computer, where no keys are configured."""


class Right(NamedTuple):
    """What a verb asks of its caller."""

    role: Role
    needs_lease: bool


RIGHTS: dict[Verb, Right] = {
    "describe": Right("observer", needs_lease=False),
    "state": Right("observer", needs_lease=False),
    "clock": Right("observer", needs_lease=False),
    "limits": Right("observer", needs_lease=False),
    "check": Right("observer", needs_lease=False),
    "dose": Right("observer", needs_lease=False),
    "restrict": Right("engineer", needs_lease=False),
    "specimen": Right("engineer", needs_lease=False),
    "lease": Right("operator", needs_lease=False),
    "renew": Right("operator", needs_lease=False),
    "release": Right("operator", needs_lease=False),
    "hand_over": Right("operator", needs_lease=True),
    "break_glass": Right("operator", needs_lease=False),
    "arm": Right("operator", needs_lease=True),
    "prove": Right("operator", needs_lease=True),
    "set": Right("operator", needs_lease=True),
    "acquire": Right("operator", needs_lease=True),
}


def require_role(caller: Caller, verb: Verb) -> None:
    """Raise unless the caller's role lets them ask this.

    Raises
    ------
    RoleLacking
        With the role that is needed and the one that the caller has.
    """
    ranks = get_args(Role)
    needed = RIGHTS[verb].role
    if ranks.index(caller.role) < ranks.index(needed):
        raise RoleLacking(
            f"{verb!r} needs the role {needed}; {caller.name or 'the caller'} is {caller.role}. "
            "Ask an engineer of this instrument for a key with that role"
        )
