"""Feed the loop and carry out its commands; the only place where events become decisions.

One thread. Whatever enters a decision is in the journal before the loop sees it, and
whatever the loop decides is in the journal before anybody acts on it. Meanwhile the
worker measures, so the instrument waits for a decision only if deciding takes longer.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..active_learning.loop import Command, Finish, Loop, Measure
from ..core import Suggestion
from .measuring import Broken, Crashed, Halted, Measuring, News, NoDose, NoValue, Told, Value
from .progress import Onlooker
from .record.events import Closed, Commanded, Ended, Event, Intervened
from .record.journal import Journal
from .record.keeping import KeptJournal
from .retelling import Retold, loop_event
from .thinking import Thinking

PATIENCE = 10
"""After so many refusals and failures in a row a run ends."""


@dataclass(frozen=True, slots=True)
class StopWished:
    """A person here wants the run to end in order."""

    reason: str


Outcome = Literal["finished", "stopped", "failed"]
Inbox = queue.SimpleQueue[News | StopWished]


class Conductor:
    """Takes one run through its loop. Call it from one thread.

    Parameters
    ----------
    loop, thinking
        The loop, and the stopwatch around the policy it works with.
    journal
        Where everything is written first.
    inbox
        News of the worker and wishes of a person.
    onlooker
        Who is told how it goes.
    asker
        Unique name of this run, from which its requests are named.
    clock
        Monotonic seconds.
    told
        Where the loop stands, if it was told the journal of a run that was cut off.
    between
        Called after each news, in its thread.

    Attributes
    ----------
    halted
        Whether the instrument was stopped or lost, so that nothing more should be asked of it.
    """

    def __init__(
        self,
        loop: Loop,
        thinking: Thinking,
        journal: Journal | KeptJournal,
        inbox: Inbox,
        onlooker: Onlooker,
        asker: str,
        clock: Callable[[], float],
        told: Retold | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop, self._thinking, self._journal, self._inbox = loop, thinking, journal, inbox
        self._onlooker, self._asker, self._clock = onlooker, asker, clock
        self._told, self._between = told, between
        self._asked: dict[str, Suggestion] = {}
        if told is not None:
            self._asked.update((name, asked.suggestion) for name, asked in told.asked.items())
        self._unlucky = 0
        self._told_of_dose = False
        self._free_s = clock()
        self.halted = False

    def conduct(self, measuring: Measuring) -> Ended:
        """Run the loop to its end and return how it ended; the worker is closed then.

        Raises
        ------
        BaseException
            What the worker crashed of, or an abort; what is under way is then not waited for.
        """
        outcome: Outcome | None = None
        try:
            finish = self._begin(measuring)
            while finish is None:
                news = self._inbox.get()
                outcome = outcome or _outcome_of(news)
                finish = self._carry_out(self._heard(news), measuring)
                # Only now, since a person can wait and the instrument should not.
                self._show(news)
                self._between()
            measuring.close()
        except BaseException:
            measuring.abandon()
            raise
        self._hear_the_last()
        if outcome is None:
            outcome = "failed" if self._unlucky >= PATIENCE else "finished"
        ended = Ended(outcome=outcome, reason=finish.reason)
        self._journal.write(ended)
        return ended

    def _begin(self, measuring: Measuring) -> Finish | None:
        """Ask for the first measurements, or go on where the journal ends."""
        if self._told is None:
            return self._carry_out(self._decided(self._loop.start, self._clock()), measuring)
        measuring.settle(self._told.unsettled)
        return self._carry_out([(command, 0.0, 0.0) for command in self._told.commands], measuring)

    def _heard(self, news: News | StopWished) -> list[tuple[Command, float, float]]:
        """Write the news down, give it to the loop, and return its commands with how long they took."""
        match news:
            case Value(arrived=arrived, told_s=told_s):
                for framed in news.framed:
                    self._journal.note(framed)
                self._unlucky = 0
                return self._learnt(arrived, told_s)
            case NoValue(declined, told_s):
                self._unlucky += 1
                return self._learnt(declined, told_s)
            case Broken(interrupted, told_s):
                return self._learnt(interrupted, told_s)
            case NoDose(closed, told_s):
                return self._learnt(closed, told_s)
            case Halted(reason):
                self._note_halt(news)
                return self._learnt(Intervened(word="stop", reason=reason), self._clock())
            case StopWished(reason):
                return self._learnt(Intervened(word="stop", reason=reason), self._clock())
            case Told():
                return []
            case Crashed(error):
                raise error

    def _learnt(self, event: Event, told_s: float) -> list[tuple[Command, float, float]]:
        """Write an event down, and only then let the loop hear of it."""
        self._journal.write(event)
        meant = loop_event(event)
        return [] if meant is None else self._decided(lambda: self._loop.handle(meant), told_s)

    def _note_halt(self, news: Halted) -> None:
        self.halted = True
        if news.interrupted is not None:
            # Its repetition is abandoned at once, and asked for when the run is resumed.
            self._learnt(news.interrupted, self._clock())

    def _decided(self, step: Callable[[], Sequence[Command]], since_s: float) -> list[tuple[Command, float, float]]:
        before_s = self._thinking.spent_s
        # News that came while an earlier decision was made waited for thinking, not for us.
        since_s = max(since_s, self._free_s)
        commands = step()
        thought_s = self._thinking.spent_s - before_s
        self._free_s = self._clock()
        react_s = max(0.0, self._free_s - since_s - thought_s)
        # Several commands at once share the thinking that led to them.
        return [(command, thought_s / len(commands), react_s) for command in commands]

    def _carry_out(self, decided: list[tuple[Command, float, float]], measuring: Measuring) -> Finish | None:
        for command, decide_s, react_s in decided:
            if isinstance(command, Finish):
                return command
            order = self._order(command, decide_s, react_s)
            self._journal.write(order)
            measuring.measure(order)
        return None

    def _order(self, command: Measure, decide_s: float, react_s: float) -> Commanded:
        name = command.measurement_id
        self._asked[name] = command.suggestion
        return Commanded(
            step=len(self._asked) - 1, measurement_id=name, request_id=f"{self._asker}/{name}",
            suggestion=command.suggestion, decide_s=decide_s, react_s=react_s,
        )  # fmt: skip

    def _hear_the_last(self) -> None:
        """Keep what was still measured while the loop had ended: it was paid for with dose."""
        while not self._inbox.empty():
            news = self._inbox.get()
            if isinstance(news, StopWished):
                continue
            if isinstance(news, Halted):
                self._note_halt(news)
            else:
                self._heard(news)
            self._show(news)

    def _show_closed(self, closed: Closed) -> None:
        # Nearly every measurement closes some once a budget gets tight; journal and report tell of all.
        if not self._told_of_dose:
            self._onlooker.note(f"{closed.told()}; the report tells of those to come")
        self._told_of_dose = True

    def _show(self, news: News | StopWished) -> None:
        match news:
            case Value(arrived=arrived):
                measurement = arrived.measurement
                self._onlooker.arrived(self._asked[measurement.measurement_id], measurement)
            case NoValue(declined):
                self._onlooker.declined(declined.outcome, f"{declined.error}: {declined.message}")
            case Broken(interrupted):
                self._onlooker.declined("interrupted, to be repeated", interrupted.reason)
            case NoDose(closed):
                self._show_closed(closed)
            case Told(text):
                self._onlooker.note(text)
            case Halted(reason) | StopWished(reason):
                self._onlooker.note(f"stopping: {reason}")


def _outcome_of(news: News | StopWished) -> Outcome | None:
    if isinstance(news, Halted):
        return "failed" if news.lost else "stopped"
    return "stopped" if isinstance(news, StopWished) else None
