"""Forbidden combinations: what may not be done while something else is so.

A rule is data, as it stands in the server's configuration:

    [rules.stage-in-strong-beam]
    moves = ["stage_y_m", "stage_x_m"]
    beam_open = true
    when.beam_current_a = { above = 20e-12 }

and is read aloud: *no* move of these *while* the beam is open *and* that value is above 20 pA.
Everything that a rule names must hold for it to refuse. A command changes its parameters in
an order that nobody promises, so a value counts as it was and as it will be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from .errors import UnknownName
from .frozen import Frozen
from .instrument import InstrumentInfo
from .nearest import nearest
from .plan import Acquisition, Plan, SetParameters
from .situation import Situation
from .spelling import spelt


class Condition(Frozen):
    """Which values of a parameter count; with both edges, those between them. The edges themselves do not count."""

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _has_an_edge(self) -> Self:
        if self.above is None and self.below is None:
            raise ValueError("a condition needs 'above' or 'below'")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError(f"no value is above {self.above:g} and below {self.below:g}")
        return self

    def holds(self, value: float) -> bool:
        """Tell whether a value counts.

        >>> Condition(above=1.0).holds(1.0), Condition(above=1.0, below=3.0).holds(2.0)
        (False, True)
        """
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)

    def __str__(self) -> str:
        edges = (("above", self.above), ("below", self.below))
        return " and ".join(f"{word} {spelt(edge)}" for word, edge in edges if edge is not None)


class Rule(Frozen):
    """One forbidden combination; what it does not name does not matter to it.

    Attributes
    ----------
    moves
        A command that changes any of these parameters.
    acquires
        An acquisition with any of these detectors.
    beam_open
        While the beam is not known to be dark; an acquisition opens it.
    acquiring
        While a scan is under way; an acquisition is one.
    when
        Conditions on parameters, by name.
    why
        Told with every refusal.
    """

    moves: tuple[str, ...] = ()
    acquires: tuple[str, ...] = ()
    beam_open: bool = False
    acquiring: bool = False
    when: dict[str, Condition] = Field(default_factory=dict)
    why: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.moves or self.acquires or self.beam_open or self.acquiring or self.when):
            raise ValueError("a rule needs at least one of moves, acquires, beam_open, acquiring, when")
        return self

    def check_names(self, key: str, info: InstrumentInfo) -> None:
        """Raise unless everything that the rule names is there.

        Raises
        ------
        UnknownName
            With the rule's key and the nearest name.
        """
        parameters, detectors = [p.name for p in info.parameters], [d.name for d in info.detectors]
        for names, known, noun in (((*self.moves, *self.when), parameters, "parameter"),
                                   (self.acquires, detectors, "detector")):  # fmt: skip
            for name in names:
                if name not in known:
                    raise UnknownName(f"{key}: {info.name} has no {noun} {name!r}{nearest(name, known)}")

    def forbids(self, plan: Plan, now: Situation) -> bool:
        """Tell whether a plan is forbidden in this situation."""
        if isinstance(plan, SetParameters):
            return self._forbids_setting(plan, now)
        return self._forbids_acquiring(plan, now)

    def __str__(self) -> str:
        what = [f"moving {_any(self.moves)}"] if self.moves else []
        what += [f"reading {_any(self.acquires)}"] if self.acquires else []
        while_ = [f"{name} is {condition}" for name, condition in self.when.items()]
        while_ += ["the beam is open"] if self.beam_open else []
        while_ += ["a scan is under way"] if self.acquiring else []
        said = f"no {' or '.join(what) or 'command'}"
        return f"{said} while {' and '.join(while_)}" if while_ else said

    def _forbids_acquiring(self, plan: Acquisition, now: Situation) -> bool:
        is_meant = plan.detector in self.acquires if self.acquires or self.moves else True
        is_dark = plan.expected and (self.beam_open or self.acquiring)
        return is_meant and not is_dark and all(self._holds(name, (), now) for name in self.when)

    def _forbids_setting(self, plan: SetParameters, now: Situation) -> bool:
        changed = {name for name, value in plan.values.items() if now.values.get(name) != value}
        if (self.beam_open and now.beam_dark) or (self.acquiring and not now.acquiring):
            return False
        after = [plan.values[name] if name in changed else None for name in self.when]
        if not all(self._holds(n, () if v is None else (v,), now) for n, v in zip(self.when, after, strict=True)):
            return False
        if self.moves or self.acquires:
            return bool(changed & set(self.moves))
        # The way out of a forbidden state stays open: a change must itself lead to where its condition holds.
        return any(v is not None and c.holds(v) for c, v in zip(self.when.values(), after, strict=True))

    def _holds(self, name: str, more: Iterable[float], now: Situation) -> bool:
        # A value that nobody knows may be one that counts.
        return name not in now.values or any(self.when[name].holds(value) for value in (now.values[name], *more))


def _any(names: tuple[str, ...]) -> str:
    return " or ".join(names)
