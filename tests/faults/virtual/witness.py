"""Sees everything that really happens in a virtual world, and says when a promise is broken.

It knows nothing of how beamloop keeps its promises: it looks at the beam, at what the instrument did, at requests
and replies on the wire, and at what the clients have kept.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

from beamloop.core import Scan

from .bench import duration_of
from .hub import Hub, Node
from .site import Site

GRACE_S = 0.05
"""How much later than its lease the beam may go dark."""

WAKING_S = 0.25
"""How long a process that was held up with all others may wait for the guard before it blanks in its place."""

SILENCE_S = 1.0
"""Lease of the beam, and longest silence of server, guard or driver."""


class Broken(AssertionError):
    """A promise was broken."""


class Witness:
    """Watches one world.

    Attributes
    ----------
    exposures
        How often each measurement was begun at the instrument.
    frames
        The frames that the instrument gave, by scan.
    """

    def __init__(self, world: Hub, lease_s: float) -> None:
        self.world, self._lease_s = world, lease_s
        self.site: Site
        self.exposures: Counter[str] = Counter()
        self.moves: Counter[float] = Counter()
        self.scan_of: dict[str, list[str]] = defaultdict(list)
        self.frames: dict[str, list[int]] = defaultdict(list)
        self.driver_of: dict[str, Node] = {}
        self._accusation = ""
        self.holder: str | None = None
        self.held_until = -1.0
        self._held_lately: dict[str, float] = {}
        self._answered: dict[str, str] = {}
        self._asked_s: dict[str, float] = {}
        self._lease_words: set[str] = set()
        self._robbed: dict[str, tuple[str, float]] = {}
        self._stopped_at: float | None = None
        self._nobody_since: float | None = None
        self._nobody_ran = False
        self._before_arming: dict[str, float | None] = {}
        self.last_arm_s = -1.0
        self._weighed, self._dark_by_s, self._because = -1, math.inf, ""

    # ---- what the instrument does

    def moved(self, tilt: float) -> None:
        """Note a move; each is asked for with a value of its own."""
        self.moves[tilt] += 1
        if self.moves[tilt] > 1:
            self._accusation = f"the move to {tilt} was done twice"

    def begun(self, measurement_id: str, scan_id: str) -> None:
        """Note an acquisition."""
        self.world.note(f"begun {measurement_id} {scan_id}")
        self.exposures[measurement_id] += 1
        if self._was_full(self._asked_s.get(measurement_id, -1.0)):
            self._accusation = f"measurement {measurement_id} was begun, and nothing of it could be written down"
        self.scan_of[measurement_id].append(scan_id)
        self.driver_of[scan_id] = self.site.nodes["driver"]
        if self.exposures[measurement_id] > 1:
            # Raised here, the driver would take it for an error of its instrument's.
            self._accusation = f"measurement {measurement_id} was done twice, as {self.scan_of[measurement_id]}"

    def exposed(self, scan: Scan, index: int) -> None:
        """Note a frame."""
        self.frames[scan.scan_id].append(index)

    # ---- what is said on the control line

    def heard(self, request: dict[str, Any]) -> None:
        """Note a request as it reaches the server."""
        self._remember_holder()
        if request["verb"] == "acquire":
            self._asked_s.setdefault(request["arguments"]["measurement_id"], self.world.now_s)
        if request["verb"] == "arm":
            # Whether it was done is known when it is answered, which a death may prevent.
            self._before_arming[request["request_id"]] = self._stopped_at
            self._stopped_at, self.last_arm_s = None, self.world.now_s

    def answered(self, request: dict[str, Any], reply: dict[str, Any], since_s: float) -> None:
        """Hold an answer against the request, the lease and what was answered before."""
        verb, client, now = request["verb"], request["client"], self.world.now_s
        self.world.note(f"answered {client} {verb} {request['request_id']} {reply['status']} {reply['error']}")
        if verb == "arm" and reply["status"] == "refused":
            self._stopped_at = self._before_arming.get(request["request_id"])
        if verb in ("lease", "renew"):
            self._tell_the_robbed(client, verb, reply, since_s)
        if verb == "release" and client == self.holder and reply["error"] == "StorageFailed":
            # It may have been done all the same, and could not be written down.
            self.held_until = now
        if reply["status"] != "done":
            return
        if verb in ("set", "acquire", "arm"):
            self._once(request, reply, since_s)
        if verb in ("lease", "hand_over", "break_glass"):
            # The server that did it answers the same again, as long as it lives.
            if request["request_id"] in self._lease_words:
                return
            self._lease_words.add(request["request_id"])
        if verb in ("lease", "renew"):
            if self.holder not in (None, client) and now < self.held_until - 2e-3:
                raise Broken(f"{client} got the lease of {self.holder}, who holds it for {self.held_until - now:.3f} s")
            self.holder, self.held_until = client, now + self._lease_s
            self._remember_holder()
        if verb in ("hand_over", "break_glass"):
            self._passed_on(verb, client, request["arguments"])
        if verb == "release" and client == self.holder:
            self._remember_holder()
            self.holder, self.held_until = None, now

    def _passed_on(self, verb: str, client: str, arguments: dict[str, Any]) -> None:
        """Hold a change of the lease from hand to hand against who held it and the beam."""
        now = self.world.now_s
        before = self.holder if now <= self.held_until else None
        if verb == "hand_over" and (client != self.holder or now > self.held_until + 2e-3):
            raise Broken(f"{client} handed over the lease, which {self.holder} holds")
        if verb == "break_glass" and before != client and self.site.beam_is_open:
            raise Broken(f"{client} took the lease of {before}, and the beam is still open")
        heir = arguments.get("to", client)
        if before not in (None, heir):
            self._robbed[before] = (heir, now)
        self.held_until = now if verb == "break_glass" else self.held_until
        self._remember_holder()
        self.holder, self.held_until = heir, now + self._lease_s
        self._remember_holder()

    def _tell_the_robbed(self, client: str, verb: str, reply: dict[str, Any], since_s: float) -> None:
        """Hold the first renewal by who lost the lease to somebody against who that was; they may ask anew instead."""
        taken_by, taken_s = self._robbed.get(client, ("", 0.0))
        if not taken_by or since_s <= taken_s:
            return
        del self._robbed[client]
        if verb == "renew" and (reply["error"] != "LeaseTaken" or taken_by not in reply["message"]):
            raise Broken(f"{taken_by} took the lease of {client}, who was told: {reply}")

    def _remember_holder(self) -> None:
        if self.holder is not None:
            self._held_lately[self.holder] = self.held_until
            self.world.upheavals += 1

    def was_followed(self, client: str) -> bool:
        """Tell whether another held the lease as well, whose frames may crowd out those of this client (`lapsed`)."""
        return bool(set(self._held_lately) - {client})

    def _once(self, request: dict[str, Any], reply: dict[str, Any], since_s: float) -> None:
        name, client = request["request_id"], request["client"]
        if name in self._answered:
            if self._answered[name] != repr(reply["value"]):
                raise Broken(f"request {name} was answered as {self._answered[name]} and then as {reply['value']}")
            return
        self._answered[name] = repr(reply["value"])
        if self._was_full(since_s):
            raise Broken(f"{request['verb']} {name} was done, and nothing of it could be written down")
        # The lease is looked at when the command comes; its answer may be later than the lease.
        if self._held_lately.get(client, -1.0) < since_s - 2e-3:
            raise Broken(f"{request['verb']} of {client} was done without its lease")
        arguments, value = request["arguments"], reply["value"]
        if request["verb"] == "acquire" and value["scan"]["measurement_id"] != arguments["measurement_id"]:
            raise Broken(f"{name} asked for {arguments['measurement_id']} and got {value['scan']['measurement_id']}")
        if request["verb"] == "set" and value["duration_s"] != duration_of(arguments["plan"]["values"]["tilt"]):
            raise Broken(f"{name} moved to {arguments['plan']} and got the reply of another move: {value}")

    def restarted(self) -> None:
        """Note that a person started the server anew: it knows of no lease, its guard of no stop."""
        self._remember_holder()
        self._stopped_at, self.holder = None, None
        self._robbed.clear()
        self._lease_words.clear()

    def _was_full(self, since_s: float) -> bool:
        """Tell whether the instrument's disk has taken nothing since then."""
        full_since_s = self.site.disk.full_since_s
        return full_since_s is not None and full_since_s < since_s

    # ---- what a person was told

    def stop_confirmed(self, said_s: float, report: Any) -> None:
        """Hold the guard's answer to a word against the beam; after a blank the next acquisition may open it."""
        if report.word not in ("stop", "pause") or self._armed_since(said_s):
            return
        if report.beam == "confirmed" and self.site.beam_is_open:
            raise Broken(f"a person was told that the beam is dark after {report.word!r}, and it is open")
        self._stopped_at = said_s

    def _armed_since(self, said_s: float) -> bool:
        return self.last_arm_s >= said_s

    # ---- the beam, after every happening

    def look(self) -> None:
        """Say whether the beam may be open now."""
        if self._accusation:
            raise Broken(self._accusation)
        if not self.site.beam_is_open:
            return
        now = self.world.now_s
        if self._weighed != self.world.upheavals or self._nobody_ran:
            self._weigh(now)
        if now > self._dark_by_s:
            raise Broken(f"the beam is open {now - self._dark_by_s + GRACE_S:.3f} s after {self._because}")

    def _weigh(self, now: float) -> None:
        """Find until when the beam may be open, and why no longer."""
        site, self._weighed = self.site, self.world.upheavals
        self._dark_by_s, self._because = math.inf, ""
        if not site.someone_runs():
            self._nobody_since, self._nobody_ran = now, True
            return
        if self._nobody_ran:
            # Nothing happened between the last look and now, so nobody ran until now.
            self._nobody_since, self._nobody_ran = now, False
        # Nobody could blank meanwhile. What was said before counts from when it was said, so who wakes up is quick.
        since = -1.0 if self._nobody_since is None else self._nobody_since
        until = max(self._held_lately.values(), default=-1.0)
        guard = site.nodes["guard"]
        if guard.down_since is not None:
            # Nobody else knows sooner that the guard will not blank for them: its own silence counts then.
            until = max(until, guard.down_since + SILENCE_S)
        else:
            # One that goes on before that blanks as soon as it runs.
            since_s, again_s = guard.held_up
            until = max(until, min(again_s, since_s + SILENCE_S))
        self._dark_by_s = max(until, since + WAKING_S) + GRACE_S
        self._because = "the lease of the last client ran out"
        for name, node in site.nodes.items():
            if node.down_since is not None:
                dark_by_s = max(node.down_since + SILENCE_S, since + WAKING_S) + GRACE_S
                if dark_by_s < self._dark_by_s:
                    self._dark_by_s, self._because = dark_by_s, f"the {name} was silent for {SILENCE_S:g} s"

    def beam_moved(self, is_open: bool) -> None:
        """Note a change of the beam."""
        if is_open and self._stopped_at is not None:
            raise Broken(f"the beam opened although a stop at {self._stopped_at:.3f} was confirmed and nobody armed")
