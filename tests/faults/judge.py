"""A judge who knows by himself what may reach the instrument: own tables, own arithmetic, nothing of the product's.

Written from what is promised (docs/limits.md, docs/lease.md), in the plainest way: a table of numbers by configuration
key, a line of claims to the lease, moves with their times, electrons in the cells of a specimen. He sits where harm
would be done: the driver asks him before it obeys, the guard before it keeps a beam open. Time is a number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

CHARGE_C = 1.602176634e-19
FIELD_M = 64e-9
CELL_M = 7.3137e-9
"""No round number of nanometres lies on a cell's edge, where the last digit would decide."""

SLACK = 1e-9
"""What adding up may round to; a value itself is taken as it is."""

LEASE_S = 5.0
KEYS = {"ada": "operator", "bob": "operator", "eve": "observer", "ivy": "engineer"}
DWELL = {"haadf": (1e-7, 1.0), "eels": (1e-3, 10.0)}
START = {"bias_v": 0.0, "current_a": 1e-11, "stage_y_m": 0.0, "stage_x_m": 0.0}
STAGE = ("stage_y_m", "stage_x_m")
EVERYWHERE, PARTICLE = "dose.budget_per_m2", "dose.regions.particle.budget_per_m2"
BOX_M = {"y_m": 10e-9, "x_m": 10e-9, "height_m": 20e-9, "width_m": 20e-9}
"""The particle, in specimen coordinates."""

TABLE = {
    "limits.bias_v.low": -0.5, "limits.bias_v.high": 0.5, "limits.bias_v.step": 0.3, "limits.bias_v.rate_per_s": 0.5,
    "limits.current_a.low": 0.0, "limits.current_a.high": 1e-10,
    "limits.stage_y_m.low": -1e-6, "limits.stage_y_m.high": 1e-6,
    "limits.stage_x_m.low": -1e-6, "limits.stage_x_m.high": 1e-6, "limits.stage_x_m.step": 2e-7,
    EVERYWHERE: 5e5 / CELL_M**2, PARTICLE: 2e5 / CELL_M**2,
}  # fmt: skip
STRONG_A = 2e-11
"""No stage moves in the open beam above this."""

BIASED_V = 0.2
"""No spectra above this."""

LOOKS = ("describe", "state", "clock", "limits", "check", "dose")
ENGINEERS = ("restrict", "specimen")

Cell = tuple[int, int]


class Claims:
    """The judge's own line for the lease: who stands in it, and until when."""

    def __init__(self) -> None:
        self._line: list[tuple[str, float]] = []
        self._lost: set[str] = set()

    def holder(self, now_s: float) -> str | None:
        self._line = [claim for claim in self._line if claim[1] > now_s]
        return self._line[0][0] if self._line else None

    def left_s(self, now_s: float) -> float:
        return 0.0 if self.holder(now_s) is None else self._line[0][1] - now_s

    def stay(self, admitted: str) -> None:
        """End all claims but those of one key."""
        self._lost |= {name for name, _ in self._line}
        self._line = [claim for claim in self._line if admitted and claim[0].partition("/")[0] == admitted]

    def heard(self, verb: str, client: str, arguments: Mapping[str, Any], now_s: float) -> None:
        """Follow what was granted; fail if it was not theirs to have."""
        holder, names = self.holder(now_s), [name for name, _ in self._line]
        mine = (client, now_s + LEASE_S)
        if verb == "lease":
            assert holder in (None, client) or arguments.get("wait"), f"{client} was given {holder}'s lease"
            self._line = [mine if name == client else (name, s) for name, s in self._line]
            self._line += [] if client in names else [mine]
        elif verb == "renew":
            assert client in names, f"{client} renewed what they had not"
            self._line = [mine if name == client else (name, s) for name, s in self._line]
        elif verb == "release":
            self._line = [claim for claim in self._line if claim[0] != client]
        elif verb == "hand_over":
            assert holder == client, f"{client} handed over the lease of {holder}"
            heir = arguments["to"]
            assert heir in names or heir in self._lost, f"{client} handed it over to {heir}, who is not there"
            self._lost.add(client)
            self._line = [(heir, now_s + LEASE_S), *(c for c in self._line if c[0] not in (client, heir))]
        elif verb == "break_glass":
            self._lost.add(str(holder))
            self._line = [mine, *(c for c in self._line if c[0] not in (client, holder))]


class Judge:
    """What is allowed now, and what has been done so far.

    Attributes
    ----------
    now_s
        The time.
    values
        Where the parameters truly stand.
    table
        Limits and budgets that hold now, by configuration key.
    claims
        The line for the lease.
    admits
        None while the switch at the instrument is off; else the one key that it lets through, empty for none.
    stopped, disputed
        Whether a person said stop, or a dose was counted twice with different results, and nobody has armed since.
    dark
        Whether the server was last told that the beam is dark.
    keeper
        Whose scan is under way; empty between scans.
    """

    def __init__(self) -> None:
        self.now_s, self.values, self.table, self.claims = 0.0, dict(START), dict(TABLE), Claims()
        self.admits: str | None = None
        self.stopped, self.disputed, self.dark, self.keeper = False, False, True, ""
        self._moves: list[tuple[float, str, float]] = []
        self._specimen: Counter[Cell] = Counter()
        self._cells: list[Cell] = []
        self._each = 0.0

    def commands(self, client: str, role: str) -> None:
        """Fail unless this client may command now."""
        assert self.claims.holder(self.now_s) == client, f"{client} reached the driver without the lease"
        assert role != "observer", f"{client}, an observer, reached the driver"
        assert self.admits is None or client.partition("/")[0] == self.admits, "the switch at the instrument is on"
        assert not self.stopped, "it was stopped, and nobody armed it"
        assert not self.keeper, f"a scan of {self.keeper} is under way"

    def sets(self, values: Mapping[str, Any]) -> None:
        """Fail unless the parameters may be set to these values."""
        assert values
        changed = [name for name, value in values.items() if value != self.values[name]]
        for name, value in values.items():
            assert type(value) in (float, int), f"{name} = {value!r}"
            assert self._holds(name, value), f"{name} = {value!r} is outside"
            way = abs(value - self.values[name])
            step, rate = self._limit(name, "step"), self._limit(name, "rate_per_s")
            lately = sum(m for t, which, m in self._moves if which == name and self.now_s - t < 1.0)
            assert way <= step * (1 + SLACK), f"{name} went {way:g} by one command, its step is {step:g}"
            assert not way or lately + way <= rate * (1 + SLACK), f"{name} went {lately + way:g} within a second"
        current_a = max(self.values["current_a"], values.get("current_a", 0.0))
        if not self.dark and current_a > STRONG_A:
            assert not set(changed) & set(STAGE), f"the stage moves in a beam of {current_a:g} A"

    def moved(self, values: Mapping[str, float]) -> None:
        """Note where parameters have truly gone."""
        self._moves = [move for move in self._moves if self.now_s - move[0] < 1.0]
        self._moves += [(self.now_s, name, abs(value - self.values[name])) for name, value in values.items()]
        self.values |= values

    def exposes(self, plan: Mapping[str, Any], client: str) -> None:
        """Fail unless this may be exposed; charge it in full."""
        low, high = DWELL[plan["detector"]]
        assert low <= plan["dwell_s"] <= high, f"dwell_s = {plan['dwell_s']!r}"
        assert plan["expected"] is False, "hardware has no expectations"
        assert not self.disputed, "a dose was counted twice with different results, and nobody armed"
        outside = [name for name, value in self.values.items() if not self._holds(name, value)]
        assert not outside, f"{outside} stand outside their limits"
        assert plan["detector"] != "eels" or self.values["bias_v"] <= BIASED_V, "spectra at a bias"
        places = list(_places(plan))
        slack_m = SLACK * FIELD_M if plan["kind"] == "grid" else 0.0
        assert all(-slack_m <= m <= FIELD_M + slack_m for place in places for m in place), "out of the field"
        self._cells = [
            tuple(math.floor((m + self.values[axis]) / CELL_M) for m, axis in zip(place, STAGE, strict=True))
            for place in places
        ]  # type: ignore[assignment]
        self._each = self.values["current_a"] * plan["dwell_s"] / CHARGE_C
        self.keeper = client
        past = self.passed()
        assert not past, past

    def passed(self) -> str:
        """Return which place of the scan under way is past its budget; empty if none is."""
        adds = _spread(self._cells, self._each)
        for cell, electrons in adds.items():
            had, budget = self._specimen[cell] + electrons, self._budget(cell) * CELL_M**2
            if electrons and had > budget * (1 + SLACK):
                return f"cell {cell} takes {had:g} electrons of {budget:g}"
        return ""

    def must_halt(self) -> bool:
        """Tell whether a scan under way violates what holds now."""
        return bool(self.keeper) and (bool(self.passed()) or not all(self._holds(*one) for one in self.values.items()))

    @property
    def scan(self) -> tuple[int, float]:
        """How many positions the scan under way has, and electrons on each."""
        return len(self._cells), self._each

    def ended(self, exposed: int | None = None, factor: float = 1.0) -> None:
        """Note that a scan has ended: how many of its positions were truly exposed, and by how much more or less."""
        self._specimen += _spread(self._cells[:exposed], self._each * factor)
        self._cells, self._each, self.keeper = [], 0.0, ""

    def exchanged(self) -> None:
        """Note that there is another specimen."""
        assert not self.keeper, "the specimen was exchanged during a scan"
        self._specimen.clear()

    def narrowed(self, wish: Mapping[str, Any]) -> None:
        """Follow an engineer's wish that was granted; fail if it widened what the configuration allows."""
        for key in wish.get("restore", ()):
            kept = {name: v for name, v in self.table.items() if not _is_below(name, key)}
            self.table = kept | {name: v for name, v in TABLE.items() if _is_below(name, key)}
        for key, value in wish.get("set", {}).items():
            widest = TABLE.get(key)
            assert widest is None or (value >= widest if key.endswith(".low") else value <= widest), f"{key} widened"
            self.table[key] = value

    def _limit(self, name: str, part: str) -> float:
        return self.table.get(f"limits.{name}.{part}", math.inf)

    def _holds(self, name: str, value: float) -> bool:
        return self._limit(name, "low") <= value <= self._limit(name, "high")

    def _budget(self, cell: Cell) -> float:
        """Return the budget of a cell, electrons per square metre; one that lies partly in the particle obeys both."""
        touches, inside = True, True
        for number, corner, extent in zip(cell, ("y_m", "x_m"), ("height_m", "width_m"), strict=True):
            low, high = BOX_M[corner], BOX_M[corner] + BOX_M[extent]
            touches &= (number + 1) * CELL_M > low and number * CELL_M < high
            inside &= number * CELL_M >= low and (number + 1) * CELL_M <= high
        everywhere, particle = self.table[EVERYWHERE], self.table[PARTICLE]
        return particle if inside else min(everywhere, particle) if touches else everywhere


def _is_below(name: str, key: str) -> bool:
    return key == "all" or f"{name}.".startswith(f"{key}.")


def _spread(cells: Iterable[Cell], each: float) -> Counter[Cell]:
    return Counter({cell: count * each for cell, count in Counter(cells).items()})


def _places(plan: Mapping[str, Any]) -> Iterable[tuple[float, ...]]:
    """Yield the places of a plan; those of a grid are the centres of its pixels."""
    if plan["kind"] == "points":
        yield from plan["points"]
        return
    region = plan["region"] or {"y_m": 0.0, "x_m": 0.0, "height_m": FIELD_M, "width_m": FIELD_M}
    ny, nx = plan["shape"]
    for row in range(ny):
        for column in range(nx):
            yield (
                region["y_m"] + (row + 0.5) * region["height_m"] / ny,
                region["x_m"] + (column + 0.5) * region["width_m"] / nx,
            )
