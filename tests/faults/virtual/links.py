"""The network: each pair of client and port has a link of its own, with weather that the schedule changes.

A link delays, and in foul weather loses, doubles and reorders single messages. It can be *clogged* (what is sent
waits, in order, and nobody is told) and *cut* (every connection over it breaks; told to both ends, or to neither,
as when a cable is pulled, until the link is whole again).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .hub import Hub


@dataclass
class Weather:
    """How a link treats single messages.

    Attributes
    ----------
    delay_s
        Shortest and longest time on the way.
    loss, doubling, disorder
        How likely a message is lost, comes twice, or may overtake those before it.
    """

    delay_s: tuple[float, float] = (1e-4, 5e-4)
    loss: float = 0.0
    doubling: float = 0.0
    disorder: float = 0.0


FAIR = Weather()


class Link:
    """One way between two computers, for both directions."""

    def __init__(self, world: Hub, name: str) -> None:
        self.world, self.name = world, name
        self.weather = FAIR
        self.is_cut = self.is_clogged = False
        self._held: list[Callable[[], None]] = []
        self.at_cut: list[Callable[[bool], None]] = []
        self.at_heal: list[Callable[[], None]] = []

    @property
    def passes(self) -> bool:
        """Whether a connection can be made now."""
        return not (self.is_cut or self.is_clogged)

    def delay(self) -> float:
        """Return how long the next message takes."""
        return self.world.rng.uniform(*self.weather.delay_s)

    def carry(self, deliver: Callable[[], None], not_before_s: float) -> float:
        """Carry one message as the weather allows; return when one sent after it may arrive."""
        rng, weather = self.world.rng, self.weather
        if weather.loss and rng.random() < weather.loss:
            return not_before_s
        overtakes = weather.disorder and rng.random() < weather.disorder
        arrival_s = self.world.now_s + self.delay()
        if not overtakes:
            arrival_s = not_before_s = max(arrival_s, not_before_s)
        self.world.after(arrival_s - self.world.now_s, self._arrive, deliver)
        if weather.doubling and rng.random() < weather.doubling:
            self.world.after(arrival_s - self.world.now_s + self.delay(), self._arrive, deliver)
        return not_before_s

    def _arrive(self, deliver: Callable[[], None]) -> None:
        if self.is_clogged:
            self._held.append(deliver)
        else:
            deliver()

    def clog(self) -> None:
        """Let everything wait."""
        self.is_clogged = True

    def unclog(self) -> None:
        """Deliver what waits, in order, and go on."""
        self.is_clogged = False
        held, self._held = self._held, []
        for deliver in held:
            deliver()

    def cut(self, told: bool) -> None:
        """Break every connection; `told` if both ends notice at once."""
        self.is_cut = True
        self._held.clear()
        for action in list(self.at_cut):
            action(told)

    def heal(self) -> None:
        """Make it whole: whoever did not know that the connection broke learns it now."""
        self.is_cut = False
        self.unclog()
        for action in list(self.at_heal):
            action()
