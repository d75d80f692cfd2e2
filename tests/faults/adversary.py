"""A crowd that asks for what it must not have: hypothesis chooses who says what, and what goes wrong meanwhile.

Everything goes through the real desk and is judged by a judge of the test's own (`bench.py`, `judge.py`). Time is a
number. A step of the machine is a command, several in a row, or a mishap.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from .bench import VERBS, Bench
from .judge import FIELD_M, KEYS, LEASE_S, STAGE, TABLE
from .odd import ODD

WHO = st.sampled_from(["", "", "", "", *KEYS])
"""A key; mostly that of whoever holds the lease."""

AFTER = st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.01, 0.2, 1.0])
"""How long after what was before, in seconds."""

MOODS = st.sampled_from(["obeys", "declines", "raises", "halts", "silent"])
PARTS = st.sampled_from(["request_id", "client", "verb", "arguments", "protocol", "colour"])
ARGUMENTS = st.sampled_from(["plan", "purpose", "wait", "to", "reason", "set", "restore", "name", "steps", "colour"])


def several(most: int, *of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Return several of these in a row: one step of the machine, many commands."""
    return st.lists(st.tuples(*of), min_size=1, max_size=most)


def number(low: float, high: float, *usual: float) -> st.SearchStrategy[Any]:
    """Return numbers that are mostly allowed, often at a limit or beyond it by as little as can be, or none at all."""
    edges = [edge for end in (low, high) for edge in (end, *(math.nextafter(end, far) for far in (-1e9, 1e9)))]
    common = usual * (3 * len(ODD) // len(usual))
    return st.sampled_from([*common, *(4 * edges), 2 * high, -high, *ODD]) | st.floats(low, high)


SETTING = st.one_of(
    st.tuples(st.just("bias_v"), number(-0.5, 0.5, 0.0, 0.1, 0.2, 0.25, 0.3, -0.1, -0.3)),
    st.tuples(st.just("current_a"), number(0.0, 1e-10, 1e-12, 1e-11, 2e-11, 3e-11, 5e-11)),
    *(st.tuples(st.just(name), number(-1e-6, 1e-6, 0.0, 1e-8, 5e-8, 2e-7, -1e-7)) for name in STAGE),
)
PLACE = number(0.0, FIELD_M, 1e-9, 10.5e-9, 15e-9, 33e-9, 60e-9)
DETECTOR = st.sampled_from(["haadf", "haadf", "eels", "eels", "camera"])
DWELL_S = number(1e-3, 1.0, 1e-4, 1e-3, 1e-3, 2e-3, 5e-3, 2e-2)
REGION = st.none() | st.fixed_dictionaries(dict.fromkeys(("y_m", "x_m", "height_m", "width_m"), PLACE))
SHAPE = st.sampled_from([(1, 1), (2, 3), (4, 4), (7, 5), (0, 1), (2.0, 2), ("3", 1), (1 << 40, 1), (-1, -1), (3,)])
KEY = st.sampled_from([*TABLE, "limits.current_a.step", "limits.stage_y_m.rate_per_s"])
NARROWER = st.sampled_from([0.9, 0.5, 0.1, 1.0, 1.1, -1.0, 0.0])

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a sync of the disk costs nothing; what a disk does is tried elsewhere."""


class Adversary(RuleBasedStateMachine):
    """One bench and one crowd.

    Attributes
    ----------
    met
        How often each end of a command was met in all games, as `Bench.ends`.
    """

    met: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self._home, self._number = TemporaryDirectory(dir=MEMORY), 0
        self.bench = Bench(Path(self._home.name))

    def teardown(self) -> None:
        self.met.update(self.bench.ends)
        with self._home:
            self.bench.close()

    @initialize(who=st.sampled_from(["ada", "bob", "eve"]))
    def somebody_begins(self, who: str) -> None:
        self._say(who, "lease", {"purpose": "trial"})

    @rule(who=st.sampled_from(["ada", "bob"]))
    def goes_to_work(self, who: str) -> None:
        self._say(who, "lease", {"purpose": "work"})
        self._say(who, "arm", {})

    @rule(who=WHO, settings=several(12, AFTER, SETTING))
    def sets(self, who: str, settings: list[tuple[float, tuple[str, Any]]]) -> None:
        self._say(who, "lease", {"purpose": "to set"})
        for after_s, setting in settings:
            self._say(who, "set", _set(dict([setting])), after_s)

    @rule(who=WHO, after_s=AFTER, one=SETTING, two=SETTING)
    def sets_two(self, who: str, after_s: float, one: tuple[str, Any], two: tuple[str, Any]) -> None:
        self._say(who, "set", _set(dict([one, two])), after_s)

    @rule(who=WHO, names=st.sampled_from([["pressure_pa"], ["defocus"], [""], ["bias_v", "pressure_pa"], []]))
    def sets_what_cannot_be_set(self, who: str, names: list[str]) -> None:
        self._say(who, "set", _set(dict.fromkeys(names, 0.1)))

    @rule(who=WHO, points=several(12, AFTER, DETECTOR, DWELL_S, PLACE, PLACE))
    def exposes_points(self, who: str, points: list[tuple[float, str, Any, Any, Any]]) -> None:
        self._say(who, "lease", {"purpose": "to expose"})
        for after_s, detector, dwell_s, y, x in points:
            plan = {"kind": "points", "detector": detector, "points": [[y, x]], "dwell_s": dwell_s}
            self._say(who, "acquire", {"plan": plan, "measurement_id": "m"}, after_s)

    @rule(who=WHO, y=PLACE, x=PLACE, times=st.integers(1, 30), outlasts=st.integers(0, 2))
    def exposes_a_place_again_and_again(self, who: str, y: Any, x: Any, times: int, outlasts: int) -> None:
        plan = {"kind": "points", "detector": "haadf", "points": [[15e-9, y], [x, 33e-9]] * times, "dwell_s": 1e-3}
        self._say(who, "acquire", {"plan": plan})
        self.bench.outlasts = outlasts

    @rule(who=WHO, after_s=AFTER, detector=DETECTOR, dwell_s=DWELL_S, shape=SHAPE, region=REGION)
    def exposes_a_grid(
        self, who: str, after_s: float, detector: str, dwell_s: Any, shape: Any, region: dict[str, Any] | None
    ) -> None:
        plan = {"kind": "grid", "detector": detector, "shape": shape, "region": region, "dwell_s": dwell_s}
        self._say(who, "acquire", {"plan": plan}, after_s)

    @rule(who=WHO, expected=st.sampled_from([True, 1, "yes", None]))
    def expects(self, who: str, expected: object) -> None:
        plan = {"kind": "points", "detector": "haadf", "points": [[0.0, 0.0]], "dwell_s": 1e-3, "expected": expected}
        self._say(who, "acquire", {"plan": plan})

    @rule(who=st.sampled_from([*KEYS]), wait=st.booleans(), after_s=AFTER)
    def wants_the_lease(self, who: str, wait: bool, after_s: float) -> None:
        self._say(who, "lease", {"purpose": "trial", "wait": wait}, after_s)

    @rule(who=WHO, after_s=AFTER)
    def renews(self, who: str, after_s: float) -> None:
        self._say(who, "renew", {}, after_s)

    @rule(who=WHO)
    def arms(self, who: str) -> None:
        self._say(who, "arm", {})

    @rule(who=WHO, to=st.sampled_from(["ada/pc", "ada/pc", "bob/pc", "ivy/pc", "eve/pc"]))
    def hands_over(self, who: str, to: str) -> None:
        self._say(who, "hand_over", {"to": to})

    @rule(who=st.sampled_from([*KEYS]), reason=st.sampled_from(["I must", "I must", "", " "]))
    def breaks_the_glass(self, who: str, reason: str) -> None:
        self._say(who, "break_glass", {"reason": reason, "purpose": "trial"})

    @rule(who=WHO, verb=st.sampled_from(VERBS))
    def says_a_bare_word(self, who: str, verb: str) -> None:
        self._say(who, verb, {})

    @rule(who=st.sampled_from(["ivy", "ivy", "ivy", "ada", "eve"]), key=KEY, part=NARROWER | st.sampled_from(ODD))
    def narrows(self, who: str, key: str, part: Any) -> None:
        value = part * TABLE.get(key, 1e-7) if type(part) is float else part
        self._say(who, "restrict", {"set": {key: value}, "why": "trial"})

    @rule(who=WHO, key=KEY, part=NARROWER)
    def narrows_during_a_scan(self, who: str, key: str, part: float) -> None:
        plan = {"kind": "points", "detector": "haadf", "points": [[33e-9, 33e-9]], "dwell_s": 1e-3}
        self._say(who, "acquire", {"plan": plan})
        self._say("ivy", "restrict", {"set": {key: part * TABLE.get(key, 1e-7)}, "why": "trial"})

    @rule(who=WHO, current_a=st.sampled_from([1e-11, 2e-11, 2.1e-11, 5e-11]), setting=SETTING)
    def moves_in_the_open_beam(self, who: str, current_a: float, setting: tuple[str, Any]) -> None:
        self.bench.by_hand = True
        self.bench.desk.beat()
        self._say(who, "set", _set({"current_a": current_a}))
        self._say(who, "set", _set({"stage_y_m": 3e-8} | dict([setting])))
        self.bench.by_hand = False
        self.bench.desk.beat()

    @rule(who=WHO, bias_v=st.sampled_from([0.1, 0.2, 0.21, 0.3]), detector=DETECTOR)
    def exposes_at_a_bias(self, who: str, bias_v: float, detector: str) -> None:
        self._say(who, "set", _set({"bias_v": bias_v}))
        plan = {"kind": "points", "detector": detector, "points": [[60e-9, 60e-9]], "dwell_s": 1e-3}
        self._say(who, "acquire", {"plan": plan})

    @rule(who=st.sampled_from(["ivy", "ivy", "ada"]), key=st.sampled_from(["all", "all", *TABLE]), below=st.booleans())
    def restores(self, who: str, key: str, below: bool) -> None:
        self._say(who, "restrict", {"restore": [key.rpartition(".")[0] or key if below else key]})

    @rule(who=st.sampled_from(["ivy", "ada"]))
    def exchanges_the_specimen(self, who: str) -> None:
        self._say(who, "specimen", {"name": "other"})

    @precondition(lambda self: self.bench.asked)
    @rule(back=st.integers(1, 5), who=WHO)
    def says_it_again(self, back: int, who: str) -> None:
        request = self.bench.asked[-min(back, len(self.bench.asked))]
        self.bench.call(request["client"].partition("/")[0] if who == "" else who, request)

    @precondition(lambda self: self.bench.asked)
    @rule(back=st.integers(1, 5), who=WHO, setting=SETTING)
    def says_something_else_under_the_same_name(self, back: int, who: str, setting: tuple[str, Any]) -> None:
        name = self.bench.asked[-min(back, len(self.bench.asked))]["request_id"]
        self._say(who, "set", _set(dict([setting])), other={"request_id": name})

    @rule(who=WHO, client=st.sampled_from(["ada", "adam/pc", "ada/pc/2", "ivy/pc", "bob/pc", "/pc", "eve/pc"]))
    def speaks_for_somebody_else(self, who: str, client: str) -> None:
        self._say(who, "set", _set({"bias_v": 0.1}), other={"client": client})

    @rule(who=WHO, wrongs=several(4, st.sampled_from(VERBS), PARTS, st.sampled_from(ODD), SETTING))
    def speaks_wrongly(self, who: str, wrongs: list[tuple[str, str, object, tuple[str, Any]]]) -> None:
        for verb, part, value, setting in wrongs:
            self._say(who, verb, _set(dict([setting])), other={part: value})

    @rule(who=WHO, wrongs=several(4, st.sampled_from(VERBS), ARGUMENTS, st.sampled_from(ODD)))
    def gives_odd_arguments(self, who: str, wrongs: list[tuple[str, str, object]]) -> None:
        for verb, name, value in wrongs:
            self._say(who, verb, {"reason": "I must", name: value})

    # What happens meanwhile.
    @rule(seconds=st.sampled_from([0.9, 0.9, LEASE_S - 0.1, LEASE_S]))
    def time_passes(self, seconds: float) -> None:
        self.bench.judge.now_s += seconds

    @rule()
    def the_server_beats(self) -> None:
        self.bench.desk.beat()

    @rule(factor=st.sampled_from([1.0, 1.0, 0.97, 1.03, 1.5, 0.5]))
    def the_scan_ends(self, factor: float) -> None:
        self.bench.end("complete", self.bench.judge.scan[0], factor)

    @rule(part=st.integers(0, 10))
    def the_scan_breaks_off(self, part: int) -> None:
        self.bench.end("stopped", self.bench.judge.scan[0] * part // 10)

    @rule()
    def somebody_stops(self) -> None:
        self.bench.stop()

    @rule(admits=st.sampled_from([None, None, None, "", "ada"]))
    def the_switch_is_turned(self, admits: str | None) -> None:
        self.bench.turn(admits)

    @rule(moods=st.lists(MOODS, min_size=1, max_size=2))
    def the_driver_will_be(self, moods: list[str]) -> None:
        self.bench.moods = moods

    @rule(silent=st.sampled_from([False, False, False, True]), by_hand=st.sampled_from([False, False, True]))
    def guard_and_beam_are(self, silent: bool, by_hand: bool) -> None:
        self.bench.silent, self.bench.by_hand = silent, by_hand
        self.bench.desk.beat()

    @rule()
    def the_driver_dies(self) -> None:
        self.bench.die()

    @rule()
    def the_server_is_started_again(self) -> None:
        self.bench.restart()

    def _say(
        self, who: str, verb: str, arguments: Any, after_s: float = 0.0, other: Mapping[str, Any] | None = None
    ) -> None:
        """Let somebody ask for something a while later."""
        self.bench.judge.now_s += after_s
        holder = (self.bench.judge.claims.holder(self.bench.judge.now_s) or "ada").partition("/")[0]
        key = who or (holder if holder in KEYS else "ada")
        self._number += 1
        asked = {"request_id": f"{key}/{self._number}", "client": f"{key}/pc", "verb": verb, "arguments": arguments}
        self.bench.call(key, {**asked, "protocol": 1, **(other or {})})


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {"plan": {"kind": "set", "values": values}}
