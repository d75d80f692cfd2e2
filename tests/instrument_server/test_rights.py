"""Roles and verbs: what is declared is what is done."""

from __future__ import annotations

from typing import get_args

import pytest

from beamloop.core import RoleLacking
from beamloop.core.control import Role, Verb
from beamloop.instrument_server.rights import RIGHTS, Caller, require_role


def test_every_verb_has_a_right() -> None:
    assert set(RIGHTS) == set(get_args(Verb))


@pytest.mark.parametrize("role", get_args(Role))
@pytest.mark.parametrize("verb", get_args(Verb))
def test_a_role_may_do_what_is_declared_and_nothing_else(role: Role, verb: Verb) -> None:
    may = {"observer": ("observer",), "operator": ("observer", "operator")}.get(role, get_args(Role))
    if RIGHTS[verb].role in may:
        require_role(Caller(name="key", role=role), verb)
    else:
        with pytest.raises(RoleLacking, match=f"needs the role {RIGHTS[verb].role}; key is {role}"):
            require_role(Caller(name="key", role=role), verb)
