"""Roles and verbs: what is declared is what is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from beamloop.core import Reply, RoleLacking
from beamloop.core.control import Role, Verb
from beamloop.instrument_server.face import Face
from beamloop.instrument_server.rights import RIGHTS, Caller, require_role

from .test_desk import INFO, POINT, Bench


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


WORDS = {"purpose": "p", "reason": "r", "to": "bob", "plan": POINT}
STATES = ("nobody holds it", "another holds it", "the caller holds it")


@pytest.fixture(scope="module")
def matrix_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("matrix"))
    yield made
    made.answers.close()
    made.audit.close()


@pytest.mark.parametrize("role", get_args(Role))
@pytest.mark.parametrize("verb", get_args(Verb))
@pytest.mark.parametrize("lease", STATES)
def test_through_the_face_every_role_may_do_what_is_declared_and_needs_the_lease_where_declared(
    matrix_bench: Bench, role: Role, verb: Verb, lease: str
) -> None:
    bench, right, caller = matrix_bench, RIGHTS[verb], Caller(name="key", role=role)
    bench.desk = bench.made(INFO)
    bench.driver.asked.clear()
    bench.guard.said.clear()
    if lease != STATES[0]:
        bench.ask("lease", "eve" if lease == STATES[1] else "key/1", f"{role}/{verb}/{lease}/take")
    face = Face(bench.desk.answer, lambda: caller, lambda reason: pytest.fail(reason))
    asked = {"request_id": f"key/{role}/{verb}/{lease}", "client": "key/1", "verb": verb, "arguments": WORDS}
    reply = Reply.model_validate(face.call(asked))
    may = get_args(Role).index(role) >= get_args(Role).index(right.role)
    assert (reply.error == "RoleLacking") == (not may)
    if may and right.needs_lease:
        assert (reply.error == "LeaseHeld") == (lease != STATES[2])
    if not may or (right.needs_lease and lease != STATES[2]):
        assert reply.status == "refused"
        assert bench.driver.asked == []
        assert bench.guard.said == []
