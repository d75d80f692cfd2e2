"""One seeded schedule: an instrument, clients and persons, faults for a while, then calm.

`play(seed)` makes the world, lets it run, and raises if a promise was broken; the same seed gives the same log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from beamloop.core import BeamloopError
from beamloop.edge_client.connection.address import Address
from beamloop.edge_client.connection.guard_line import say
from beamloop.edge_client.instrument import connect

from .bench import Bench, frame_of
from .calls import Faces
from .disk import Disk
from .hub import Hub, Node, Stuck
from .installed import installed
from .links import FAIR, Weather
from .onlookers import look_on, read_along
from .scientist import Notebook, scientist
from .site import PORT, Site
from .sockets import Net
from .witness import Broken, Witness

CALM_S = 300.0
"""Virtual seconds of calm in which everything must come to its end."""

WHOLE_EVERY = 4
"""Of so many schedules one measures in the calm all that it has left, at its own pace.

The others end with what was begun and one thing more, quickly: four fifths of all time went into calms that showed
nothing new.
"""

QUICK_S = 0.002
"""Seconds for a frame of a scan that only shows that there is progress."""

FAULTS = (
    "kill server", "kill guard", "kill driver", "kill client", "pause server", "pause guard", "pause driver",
    "pause client", "clog", "cut", "cable", "swizzle", "hang", "raise", "stop", "blank", "pause", "weather", "rival",
    "kill all", "leave", "eat", "eat", "usurp", "give", "look on", "read along",
    "fill disk", "fill client",
)  # fmt: skip


@dataclass
class Played:
    """What came of a schedule."""

    seed: int
    log: list[str]
    books: list[Notebook]
    faults: list[str]
    virtual_s: float
    steps: int
    others: Counter[str] = field(default_factory=Counter)

    def met(self) -> Counter[str]:
        """Return what the clients met: how their requests ended, and how many were asked for again."""
        ends = Counter(outcome.partition(":")[0] for book in self.books for outcome in book.outcomes.values())
        again = sum(len(names) > 1 for book in self.books for names in book.asked.values())
        lost = sum(len(frames) for book in self.books for frames in book.lost.values())
        return ends + self.others + Counter({"asked again": again, "frames lost": lost})


class World:
    """An instrument and those who work with it, on one seed."""

    def __init__(
        self, seed: int, faults: int | None = None, wanted: list[int] | None = None, kinds: tuple[str, ...] = FAULTS
    ) -> None:
        self.kinds = kinds
        self.seed, self.hub = seed, Hub(seed)
        self.rng = self.hub.rng
        self.net = Net(self.hub)
        self.faces = Faces(self.net)
        self.witness = Witness(self.hub, lease_s=1.0)
        self.bench: Bench | None = None
        # Bounds that a client whose disk is full for a while will reach, first in memory and then on disk.
        tight = {"memory_bytes": self.rng.choice((8, 16)) * 1100, "disk_bytes": self.rng.choice((0, 8 * 1500))}
        self.is_tight = self.rng.random() < 0.5
        self.pausable = wanted is not None or self.rng.random() < 0.7
        self.site = Site(self.hub, self.net, self.faces, self._make_bench, {"frames": tight if self.is_tight else {}})
        self.witness.site = self.site
        self.site.at_beam = self.witness.beam_moved
        self.faces.heard, self.faces.answered = self.witness.heard, self.witness.answered
        self.hub.watchers.append(self.witness.look)
        self.books = [Notebook("ada", self._list() if wanted is None else wanted)]
        self.clients: dict[str, Node] = {}
        self.onlookers: dict[str, Node] = {}
        self.dwell_s = self.rng.choice((0.002, 0.01, 0.05, 0.1))
        self.faults_left = self.rng.choice((1, 2, 4, 8)) if faults is None else faults
        self.done: list[str] = []
        self.is_calm, self.is_brief = False, wanted is None and seed % WHOLE_EVERY != 0
        self.to_eat = 0
        self.faces.eat = self._eaten
        self.others: Counter[str] = Counter()

    def _list(self) -> list[int]:
        return [self.rng.choice((0, 0, 1, 3, 12, 60)) for _ in range(self.rng.choice((3, 5, 8)))]

    def _make_bench(self, site: Site) -> Bench:
        self.bench = Bench(site, self.witness, self.pausable)
        return self.bench

    # ---- to begin and to mend

    def begin(self) -> None:
        """Start the instrument and its first client, and the one who mends what is broken."""
        self.site.start()
        self._client(self.books[0])
        self._operate()
        if self.faults_left and self.rng.random() < 0.3:
            self._storm()
        self.hub.after(self.rng.uniform(0.1, 0.8), self._fault)

    def _client(self, book: Notebook) -> None:
        node = self.clients[book.name] = self.hub.node(book.name)
        node.spawn(lambda: scientist(book, self._dwell_s))

    def _dwell_s(self) -> float:
        """Return the seconds for each frame of a scan that begins now."""
        return QUICK_S if self.is_brief and self.is_calm else self.dwell_s

    def _operate(self) -> None:
        """Start again what died, sooner or later."""
        if not self.site.whole() and self.site.nodes and self._is_over("server"):
            self.hub.note("started anew")
            self.witness.restarted()
            self.site.start()
        elif self.site.is_served and not self.site.whole():
            self.hub.note("asked to leave")
            self.site.terminate()
        for book in self.books:
            if not self.clients[book.name].alive and not book.is_done:
                self._client(book)
        self.hub.after(0.5 if self.is_calm else self.rng.uniform(0.1, 2.0), self._operate)

    def _is_over(self, name: str) -> bool:
        return not any(node.alive for node in self.site.nodes.values())

    # ---- faults

    def _fault(self) -> None:
        if self.is_calm:
            return
        if self.faults_left == 0:
            self.calm()
            return
        self.faults_left -= 1
        what = self.rng.choice(self.kinds)
        self.done.append(what)
        self.hub.note(f"FAULT {what}")
        self._make_fault(what)
        self.hub.after(self.rng.choice((0.0, 0.05, 0.3, 1.5)) * self.rng.random(), self._fault)

    def _make_fault(self, what: str) -> None:
        verb, _, who = what.partition(" ")
        if what == "kill all":
            for name in ("ada", "server", "driver", "guard"):
                self._node(name).kill()
        elif verb == "kill":
            self._node(who).kill()
        elif verb == "pause" and who:
            node = self._node(who)
            node.pause()
            self.hub.after(self._while(), node.resume)
        elif verb in ("stop", "blank", "pause"):
            self.say(verb)
        elif verb in ("clog", "cut", "cable"):
            self._break(verb, self.rng.choice((0, 1, 2)))
        elif verb == "swizzle":
            # A random set of links stops one by one and goes on in another order.
            for offset in self.rng.sample((0, 1, 2), self.rng.choice((2, 3))):
                self.hub.after(self.rng.random(), lambda offset=offset: self._break("clog", offset))
        elif verb == "hang" and self.bench is not None:
            self.bench.hang_s = self._while()
        elif verb == "raise" and self.bench is not None:
            self.bench.raises = True
        elif verb == "weather":
            self._storm()
        elif verb == "rival":
            self._colleague("bob")
        elif verb == "usurp":
            self._colleague("eve", "nobody answers")
        elif verb == "give":
            self._give("bob")
        elif what == "fill disk":
            self._fill(self.site.disk)
        elif what == "fill client":
            self._fill(self.books[0])
        elif what in ("look on", "read along"):
            self._onlooker(what)
        elif verb == "eat":
            self.to_eat = self.rng.choice((1, 2, 5))
        elif verb == "leave":
            self.site.terminate()

    def _node(self, who: str) -> Node:
        name = "ada" if who == "client" else who
        return self.clients[name] if name in self.clients else self.site.nodes.get(name, self.hub.outside_dead())

    def _while(self) -> float:
        return self.rng.choice((0.05, 0.3, 0.9, 1.2, 3.0)) * self.rng.uniform(0.5, 1.5)

    def _break(self, how: str, offset: int) -> None:
        link = self.net.way("ada", PORT + offset)
        if how == "clog":
            link.clog()
            self.hub.after(self._while(), link.unclog)
        else:
            link.cut(told=how == "cut")
            self.hub.after(self._while(), link.heal)

    def _eaten(self, request: dict[str, Any]) -> bool:
        """Tell whether the reply to a command is lost, though the command is done."""
        if request["verb"] not in ("set", "acquire", "arm") or not self.to_eat:
            return False
        self.to_eat -= 1
        self.hub.note(f"ate the reply to {request['request_id']}")
        return True

    def _storm(self) -> None:
        for offset in range(3):
            self.net.way("ada", PORT + offset).weather = self._weather()

    def _fill(self, disk: Disk | Notebook) -> None:
        """Let a disk take nothing for a while."""
        disk.full_since_s = self.hub.now_s

        def mended() -> None:
            disk.full_since_s = None

        self.hub.after(self._while(), mended)

    def _weather(self) -> Weather:
        rng = self.rng
        return Weather(
            delay_s=(1e-4, rng.choice((1e-3, 0.05, 0.3))), loss=rng.choice((0.0, 0.02, 0.2)),
            doubling=rng.choice((0.0, 0.1)), disorder=rng.choice((0.0, 0.2)),
        )  # fmt: skip

    def _colleague(self, name: str, breaks_glass: str = "") -> None:
        """Let another client come who wants one thing, and asks for the lease or takes it."""
        wanted = [self.rng.choice((0, 2))]
        if name not in self.clients:
            self.books.append(Notebook(name, wanted, breaks_glass=breaks_glass))
            self._client(self.books[-1])

    def _give(self, to: str) -> None:
        """Let the holder hand the lease to another client, whatever is under way."""
        self._colleague(to)
        person = self.hub.node("ada")

        def give() -> None:
            with suppress(BeamloopError), connect(f"127.0.0.1:{PORT}", name="ada") as instrument:
                instrument.hand_over(to)

        person.spawn(give)

    def _onlooker(self, what: str) -> None:
        """Let somebody look on over a line of their own, in weather of its own, which may be cut."""
        name, work = ("vic", look_on) if what == "look on" else ("rea", read_along)
        if name in self.onlookers:
            return
        node = self.onlookers[name] = self.hub.node(name)
        link = self.net.way(name, PORT + 1)
        link.weather = self._weather()
        if self.rng.random() < 0.5:
            self.hub.after(self.rng.random(), link.cut, self.rng.random() < 0.5)
            self.hub.after(1.0 + self._while(), link.heal)
        node.spawn(lambda: work(name, self.witness, self.others))

    def say(self, word: Any, within_s: float = 2.0, answered: Callable[[Any], None] = lambda report: None) -> None:
        """Let a person say a word to the guard, and hold the answer against what is."""
        person = self.hub.node("ada")
        said_s = self.hub.now_s

        def speak() -> None:
            self.others["words"] += 1
            try:
                report = say(Address("127.0.0.1", PORT), word, within_s)
            except BeamloopError:
                return
            self.others["answers"] += 1
            self.witness.stop_confirmed(said_s, report)
            answered(report)

        person.spawn(speak)

    # ---- calm

    def calm(self) -> None:
        """Let every fault end."""
        self.is_calm, self.to_eat = True, 0
        if self.is_brief:
            for book in self.books:
                unasked = [number for number in range(len(book.wanted)) if number not in book.asked]
                book.settled.update(unasked[1:])
        self.site.disk.full_since_s = self.books[0].full_since_s = None
        self.hub.note("CALM")
        for link in self.net.links.values():
            link.weather = FAIR
            link.heal()
        for node in (*self.site.nodes.values(), *self.clients.values()):
            node.resume()

    def is_done(self) -> bool:
        """Whether all clients have all they wanted."""
        return self.is_calm and all(book.is_done for book in self.books)

    def check(self) -> None:
        """Hold what the clients have against what the instrument did."""
        for book in self.books:
            if book.wrong:
                raise Broken("; ".join(book.wrong))
            for number, frames in enumerate(book.wanted):
                self._check_thing(book, number, frames)

    def _check_thing(self, book: Notebook, number: int, frames: int) -> None:
        names = book.asked[number]
        unsettled = [name for name in names if name not in book.outcomes]
        if unsettled:
            raise Broken(f"nobody was told how {unsettled} ended")
        for name in names:
            for index, value in book.kept[name].items():
                if value != frame_of(name, index):
                    raise Broken(f"frame {index} kept of {name} is {value}, which the instrument never gave")
            if name in book.whole and book.outcomes[name] != "done":
                raise Broken(f"{name} is whole and was told as {book.outcomes[name]}")
            self._check_losses(book, name, frames)
            if frames and book.outcomes[name] == "done" and set(book.kept[name]) != set(range(frames)):
                raise Broken(f"{name} was told as done and lacks {set(range(frames)) - set(book.kept[name])}")

    def _check_losses(self, book: Notebook, name: str, frames: int) -> None:
        """What the instrument gave whole comes whole, also after another held the lease, unless its driver died."""
        scans = self.witness.scan_of[name]
        lost = book.lost[name]
        # Wide bounds have room for all that a schedule measures.
        let_go = self.is_tight and self.witness.was_followed(book.name)
        if lost and ((self.pausable and not let_go) or lost & set(book.kept[name])):
            raise Broken(f"{name} lost {lost}; its camera {'can' if self.pausable else 'cannot'} wait")
        if lost | set(book.kept[name]) == set(range(frames)):
            return
        told = book.lacks.get(name) or book.outcomes[name]
        is_lost = name in book.lacks or (name in book.missed and "do not come any more" in told)
        if not is_lost or not scans or let_go:
            return
        if (
            len(self.witness.frames[scans[0]]) == frames
            and self.witness.driver_of[scans[0]] is self.site.nodes["driver"]
        ):
            raise Broken(f"{name} was given whole, and its client was told: {told}")


@contextmanager
def world(
    seed: int, faults: int | None = None, wanted: list[int] | None = None, kinds: tuple[str, ...] = FAULTS
) -> Iterator[World]:
    """Make a world for a seed; it is gone afterwards."""
    made = World(seed, faults, wanted, kinds)
    with installed(made.hub, made.net, made.faces, made.site.places()):
        try:
            yield made
        finally:
            made.hub.end()
            made.site.remove()


def play(
    seed: int, faults: int | None = None, wanted: list[int] | None = None, kinds: tuple[str, ...] = FAULTS
) -> Played:
    """Play one schedule to its end.

    Parameters
    ----------
    seed
        Everything that is random comes from it.
    faults, wanted, kinds
        How many faults, what the client measures (frames of each scan, 0 for a move), and which faults; drawn from
        the seed where None.

    Raises
    ------
    Broken
        If a promise was broken.
    Stuck
        If calm brought no progress.
    """
    with world(seed, faults, wanted, kinds) as made:
        try:
            made.begin()
            made.hub.run(60.0, lambda: made.is_calm)
            calm_s = made.hub.now_s
            if not made.hub.run(calm_s + CALM_S, made.is_done):
                raise Stuck(f"{CALM_S:g} s of calm, and still: {[sorted(b.settled) for b in made.books]}")
            made.check()
        except Exception as error:
            error.add_note(f"replay: python tests/faults/play.py {seed} --log")
            error.add_note("\n".join(made.hub.log[-60:]))
            raise
        return Played(seed, made.hub.log, made.books, made.done, made.hub.now_s, made.hub.steps, made.others)
