"""Hearing another version: more is passed over, less or wrong is not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from beamloop.core import GridScan, LeaseInfo, PlanInvalid, plan_from
from beamloop.core.hearing import heard

LEASE = {"holder": "ada", "purpose": "", "expires_in_s": 5.0}
WAITING = {"client": "bob", "purpose": "", "expires_in_s": 5.0}


def test_fields_that_are_not_known_are_passed_over_at_every_depth() -> None:
    said = {**LEASE, "colour": 1, "queue": [{**WAITING, "colour": {"a": 1}}, WAITING]}
    assert heard(LeaseInfo, said) == LeaseInfo.model_validate({**LEASE, "queue": [WAITING, WAITING]})


@pytest.mark.parametrize("wrong", [{"holder": "ada"}, {**LEASE, "expires_in_s": "soon", "colour": 1}, None, []])
def test_what_is_known_must_be_there_and_right(wrong: object) -> None:
    with pytest.raises(ValidationError):
        heard(LeaseInfo, wrong)


def test_plans_stay_strict() -> None:
    plan = GridScan(detector="haadf", shape=(2, 2), dwell_s=1e-3).model_dump()
    with pytest.raises(PlanInvalid, match="colour"):
        plan_from({**plan, "colour": 1})
