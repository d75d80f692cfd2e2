"""The table of limits: ranges, rates, steps, forbidden combinations; one function for command and dry run."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamloop.core import (
    Condition,
    DetectorInfo,
    GridScan,
    InstrumentInfo,
    InstrumentOutside,
    Limit,
    LimitRefused,
    Limits,
    Parameter,
    PlanInvalid,
    PointScan,
    Region,
    Rule,
    SetParameters,
    SettingsInvalid,
    Situation,
    Travel,
    UnknownName,
    plan_from,
)

INFO = InstrumentInfo(
    name="bench", source="hardware", field=Region(y_m=0, x_m=0, height_m=1e-7, width_m=1e-7), expects=True,
    parameters=(
        Parameter(name="defocus_m", units="m", value=0.0, low=-1e-6, high=1e-6, rate_per_s=1e-6),
        Parameter(name="bias_v", units="V", value=0.0, low=-10, high=10),
        Parameter(name="current_a", units="A", value=5e-11, low=0, high=1e-9),
        Parameter(name="stage_x_m", units="m", value=0.0, low=-1e-3, high=1e-3),
    ),
    detectors=(DetectorInfo(name="haadf", longest_dwell_s=1.0), DetectorInfo(name="camera")),
    stage=("stage_x_m", "stage_x_m"), beam_current="current_a",
)  # fmt: skip
POINT = PointScan(detector="haadf", points=((1e-8, 1e-8),), dwell_s=1e-3)
NARROW = {"bias_v": Limit(low=-2, high=2, rate_per_s=0.5, step=0.3)}
STAGE_IN_BEAM = Rule(moves=("stage_x_m",), beam_open=True, when={"current_a": Condition(above=2e-11)}, why="it burns")


def stands(beam_dark: bool = True, acquiring: bool = False, **values: float) -> Situation:
    return Situation({p.name: p.value for p in INFO.parameters} | values, beam_dark, acquiring)


def refusal(limits: Limits, plan: Any, now: Situation | None = None) -> str:
    with pytest.raises(LimitRefused) as caught:
        limits.check(plan, now)
    return str(caught.value)


@pytest.mark.parametrize("value", [-1e-6, 1e-6, 0.0])
def test_exactly_at_the_limit_is_within(value: float) -> None:
    Limits(INFO).check(SetParameters(values={"defocus_m": value}))


@pytest.mark.parametrize("value", [math.nextafter(1e-6, 1), math.nextafter(-1e-6, -1), 1e300])
def test_the_next_number_beyond_is_refused_with_value_limit_and_key(value: float) -> None:
    told = refusal(Limits(INFO), SetParameters(values={"defocus_m": value}))
    assert f"defocus_m = {value:g}" in told or f"defocus_m = {value!r}" in told
    assert "limit is -1e-06 .. 1e-06 m (config key limits.defocus_m)" in told
    assert f"= {1e-6:g} m" not in told, "the number must be told from the limit"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1.0", None, [1.0], 10**400, 1j])
def test_what_is_no_number_is_no_plan(value: object) -> None:
    for wrong in (
        {"kind": "set", "values": {"bias_v": value}},
        {"kind": "points", "detector": "haadf", "points": [[value, 0.0]], "dwell_s": 1e-3},
        {"kind": "points", "detector": "haadf", "points": [[0.0, 0.0]], "dwell_s": value},
        {"kind": "grid", "detector": "haadf", "shape": [value, 2], "dwell_s": 1e-3},
    ):
        with pytest.raises(PlanInvalid):
            plan_from(wrong)


def test_a_step_further_than_one_command_may_go_is_refused() -> None:
    limits = Limits(INFO, NARROW)
    limits.check(SetParameters(values={"bias_v": 0.3}), stands())
    limits.check(SetParameters(values={"bias_v": 0.1 + 0.2}), stands())
    told = refusal(limits, SetParameters(values={"bias_v": 0.31}), stands())
    assert "bias_v = 0.31 V refused: it stands at 0, and one command takes it no further than 0.3 V" in told
    assert "(config key limits.bias_v.step)" in told


def test_many_small_steps_keep_the_rate_too() -> None:
    limits, travel, at, refused = Limits(INFO, NARROW), Travel(), 0.0, 0
    moved: list[tuple[float, float]] = []
    for number in range(400):
        now_s, wanted = number * 0.05, at + (0.1 if (number // 60) % 2 == 0 else -0.1)
        now = Situation({"bias_v": at}, travelled=travel.lately(now_s))
        told = [str(e) for e in limits.objections(SetParameters(values={"bias_v": wanted}), now)]
        if told:
            assert "limit is 0.5 V in any second (config key limits.bias_v.rate_per_s)" in told[0]
            refused += 1
            continue
        travel.note({"bias_v": at}, {"bias_v": wanted}, now_s)
        moved.append((now_s, abs(wanted - at)))
        at = wanted
    assert moved
    assert refused > 100
    for start_s, _ in moved:
        assert sum(d for t, d in moved if start_s <= t < start_s + 1.0) <= 0.5 * (1 + 1e-9)


def test_the_instrument_declares_a_rate_and_the_configuration_may_only_make_it_slower() -> None:
    assert "limit is 1e-06 m in any second" in refusal(
        Limits(INFO), SetParameters(values={"defocus_m": 5e-7}), Situation({"defocus_m": -6e-7})
    )
    assert Limits(INFO, {"defocus_m": Limit(rate_per_s=1e-7)}).of("defocus_m").rate_per_s == 1e-7
    with pytest.raises(SettingsInvalid, match=r"limits.defocus_m.rate_per_s = 2e-06 is not within at most 1e-06"):
        Limits(INFO, {"defocus_m": Limit(rate_per_s=2e-6)})


@pytest.mark.parametrize("wider", [{"low": -11.0}, {"high": 10.5}, {"low": 3.0, "high": 11.0}])
def test_a_limit_is_never_widened(wider: dict[str, float]) -> None:
    with pytest.raises(SettingsInvalid, match="a setting may only narrow a limit"):
        Limits(INFO, {"bias_v": Limit.model_validate(wider)})


def test_what_one_narrowing_leaves_the_next_may_narrow_and_the_refusal_says_who_did() -> None:
    limits = Limits(INFO, NARROW, {"stage": STAGE_IN_BEAM})
    narrowed = limits.narrowed({"bias_v": Limit(high=1.0)}, {"limits.bias_v": "narrowed by eve: leak"})
    assert narrowed.of("bias_v") == Limit(low=-2, high=1, rate_per_s=0.5, step=0.3)
    assert narrowed.rules == limits.rules
    told = refusal(narrowed, SetParameters(values={"bias_v": 1.5}))
    assert "limit is -2 .. 1 V (config key limits.bias_v, narrowed by eve: leak)" in told
    with pytest.raises(SettingsInvalid, match=r"not within -2 .. 2"):
        limits.narrowed({"bias_v": Limit(high=3.0)}, {})
    with pytest.raises(UnknownName, match="did you mean 'bias_v'"):
        limits.narrowed({"bias": Limit(high=3.0)}, {})


def test_nothing_is_exposed_while_the_instrument_itself_is_outside() -> None:
    limits = Limits(INFO, {"current_a": Limit(high=2e-11)})
    with pytest.raises(InstrumentOutside, match=r"current_a stands at 5e-11 A: limit is 0 .. 2e-11 A"):
        limits.check(POINT, stands())
    limits.check(POINT.model_copy(update={"expected": True}), stands())
    limits.check(SetParameters(values={"current_a": 1e-11}), stands())
    limits.check(POINT, stands(current_a=2e-11))


@pytest.mark.parametrize(
    ("now", "values", "refused"),
    [
        (stands(beam_dark=False), {"stage_x_m": 1e-6}, True),
        (stands(beam_dark=True), {"stage_x_m": 1e-6}, False),
        (stands(beam_dark=False, current_a=2e-11), {"stage_x_m": 1e-6}, False),
        (stands(beam_dark=False, current_a=2e-11), {"stage_x_m": 1e-6, "current_a": 3e-11}, True),
        (stands(beam_dark=False), {"stage_x_m": 1e-6, "current_a": 1e-11}, True),
        (stands(beam_dark=False), {"stage_x_m": 0.0}, False),
        (stands(beam_dark=False), {"bias_v": 1.0}, False),
        (Situation(beam_dark=False), {"stage_x_m": 1e-6}, True),
    ],
    ids=["in beam", "in the dark", "at the edge", "brighter at once", "darker at once", "no move", "other", "unknown"],
)  # fmt: skip
def test_no_stage_move_in_a_strong_beam(now: Situation, values: dict[str, float], refused: bool) -> None:
    limits = Limits(INFO, rules={"stage-in-beam": STAGE_IN_BEAM})
    if refused:
        told = refusal(limits, SetParameters(values=values), now)
        assert "no moving stage_x_m while current_a is above 2e-11 and the beam is open" in told
        assert "(config key rules.stage-in-beam)" in told
        assert told.endswith("it burns")
    else:
        limits.check(SetParameters(values=values), now)


def test_a_combination_of_values_is_refused_whichever_is_set_first_and_the_way_out_stays_open() -> None:
    rule = Rule(when={"bias_v": Condition(above=5.0), "current_a": Condition(above=1e-10)})
    limits = Limits(INFO, rules={"both": rule})
    assert "rules.both" in refusal(limits, SetParameters(values={"bias_v": 6.0}), stands(current_a=2e-10))
    assert "rules.both" in refusal(limits, SetParameters(values={"bias_v": 6.0, "current_a": 2e-10}), stands())
    within = stands(bias_v=6.0, current_a=2e-10)
    assert "rules.both" in refusal(limits, POINT, within)
    limits.check(SetParameters(values={"bias_v": 5.0}), within)
    limits.check(SetParameters(values={"stage_x_m": 1e-6}), within)


def test_a_rule_about_a_detector_refuses_that_detector_only() -> None:
    limits = Limits(INFO, rules={"camera": Rule(acquires=("camera",), when={"current_a": Condition(above=2e-11)})})
    camera = POINT.model_copy(update={"detector": "camera"})
    assert "no reading camera while current_a is above 2e-11" in refusal(limits, camera, stands())
    limits.check(POINT, stands())
    limits.check(camera, stands(current_a=1e-11))


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (Rule(moves=("stage_x",)), "rules.odd: bench has no parameter 'stage_x'; did you mean 'stage_x_m'"),
        (Rule(acquires=("hadf",)), "rules.odd: bench has no detector 'hadf'; did you mean 'haadf'"),
        (Rule(when={"curent_a": Condition(above=1)}), "did you mean 'current_a'"),
    ],
)
def test_a_rule_that_names_what_is_not_there_is_told_when_it_is_loaded(rule: Rule, told: str) -> None:
    with pytest.raises(UnknownName, match=told):
        Limits(INFO, rules={"odd": rule})


@pytest.mark.parametrize("wrong", [{}, {"why": "no"}, {"when": {"a": {}}}, {"when": {"a": {"above": 2, "below": 1}}}])
def test_a_rule_that_says_nothing_is_no_rule(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a rule needs|a condition needs|no value is above"):
        Rule.model_validate(wrong)


def test_everything_that_speaks_against_a_plan_is_told_not_only_the_first() -> None:
    limits = Limits(INFO, {"current_a": Limit(high=2e-11)})
    plan = PointScan(detector="haadf", points=((1.0, 0.0), (0.0, 0.0), (2.0, 0.0)), dwell_s=5.0)
    told = [str(error) for error in limits.objections(plan, stands())]
    assert [words.split(" ")[0] for words in told] == ["dwell_s", "position", "current_a"]
    assert "position 0 at y = 1 m, x = 0 m refused (1 more too)" in told[1]


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    corner=st.tuples(st.floats(-1e-7, 1e-7), st.floats(-1e-7, 1e-7)),
    extent=st.floats(1e-9, 3e-7),
)
def test_a_grid_is_judged_as_the_list_of_its_points(
    shape: tuple[int, int], corner: tuple[float, float], extent: float
) -> None:
    region = Region(y_m=corner[0], x_m=corner[1], height_m=extent, width_m=extent)
    grid = GridScan(detector="haadf", shape=shape, dwell_s=1e-3, region=region)
    points = tuple(map(tuple, grid.positions(INFO.field).tolist()))
    listed = PointScan(detector="haadf", points=points, dwell_s=1e-3)
    limits = Limits(INFO)
    assert [str(e) for e in limits.objections(grid)] == [str(e) for e in limits.objections(listed)]
