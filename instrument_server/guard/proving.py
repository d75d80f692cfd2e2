"""Proof of the chain that stops the instrument: lease expiry, blank, stop and refusals, each tried and read back.

What is never tried is not known to work on the day it is needed. So before a run the server does
to the real guard and the real line what a person or a silence would do, and believes only what
it reads back at its own end of the line. No sockets here; time and waiting are given.

Where the beam may not be opened for a proof (hardware, unless configured), the permission is
given and withdrawn in the dark: guard, clock and refusals are proved, the blanker's own movement is
read back at the end of every scan instead. See docs/decisions/0010.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...core import Blanker, NotArmed, ProofFailed
from ..voices import GuardVoice

LEASE_S = 0.05
"""How long the beam may stay open in the proof of its expiry."""

LATE_S = 0.25
"""How much later than it should the beam may go dark before the proof fails; a busy machine adds some."""

WORD_LEASE_S = 1.0
"""How long the beam may stay open for a word that blanks it at once."""

MOST_OPEN_S = LEASE_S + LATE_S + 2 * WORD_LEASE_S
"""The longest that a proof can keep the beam open, whatever fails but the guard."""

LOOK_S = 0.005


@dataclass(frozen=True, slots=True)
class Chain:
    """What is proved.

    Attributes
    ----------
    guard
        The server's line to the guard.
    line
        The server's own end of the guard's line to beam and motion, to read back.
    refuses
        Asks for something outside the limits; returns the refusal, empty if it was allowed.
    opens
        Whether the beam may be opened for the proof.
    clock, sleep
        Monotonic seconds, and how to let some pass.
    """

    guard: GuardVoice
    line: Blanker
    refuses: Callable[[], str]
    opens: bool
    clock: Callable[[], float]
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Proved:
    """How long each took, in seconds, and how long the beam was open for it."""

    expiry_s: float
    blank_s: float
    stop_s: float
    open_s: float


def prove(chain: Chain) -> Proved:
    """Try the whole chain, in a few tenths of a second; the instrument is at rest and armed after it.

    Raises
    ------
    NotArmed
        If the instrument is stopped, or the guard is silent: then there is nothing to prove.
    ProofFailed
        If something did not happen as promised; the beam is blanked.
    """
    before = _said(chain, "beat")
    if before["reason"]:
        raise NotArmed(f"the chain cannot be proved now: {before['reason']}")
    try:
        expiry_s = _expiry(chain)
        blank_s, _ = _word(chain, "blank")
        stop_s, stops = _word(chain, "stop")
        if stops != before["stops"] + 1:
            raise NotArmed("a person has stopped the instrument while the chain was proved; it stays stopped")
        _require_refusals(chain)
        _arm(chain, stops)
        return Proved(expiry_s, blank_s, stop_s, expiry_s + blank_s + stop_s if chain.opens else 0.0)
    except (ProofFailed, NotArmed):
        # Not through the guard first: where it is silent, the beam would stay open while its answer is waited for.
        chain.line.close()
        chain.guard.say("halt")
        raise


def _expiry(chain: Chain) -> float:
    """Open for a moment, let the permission run out, and return how long the beam was open."""
    began_s = chain.clock()
    _open(chain, LEASE_S)
    passed_s = 0.0
    while passed_s < LEASE_S + LATE_S:
        is_dark = not _said(chain, "beat")["permitted"] and chain.line.is_open() is False
        # Looked at after the answer, which a busy machine may keep waiting: dark since then at the latest.
        passed_s = chain.clock() - began_s
        if is_dark and passed_s < LEASE_S + LATE_S:
            if passed_s < 0.9 * LEASE_S:
                raise ProofFailed(f"the beam was blanked after {passed_s:.3f} s of {LEASE_S:g} s, before it ran out")
            return passed_s
        chain.sleep(LOOK_S)
    raise ProofFailed(
        f"a permission of {LEASE_S:g} s was not renewed, and was not seen to be over within {LEASE_S + LATE_S:g} s; "
        f"after {passed_s:.2f} s the beam reads back as {_read(chain)}"
    )


def _word(chain: Chain, word: str) -> tuple[float, int]:
    """Open, say a word as a person would, and return how long rest took and the number of stops so far."""
    _open(chain, WORD_LEASE_S)
    began_s = chain.clock()
    told = _said(chain, "word", word=word, proof=True)
    if told.get("beam") != "confirmed" or told["permitted"] or chain.line.is_open() is not False:
        raise ProofFailed(f"{word!r}: the guard says beam {told.get('beam')}, the line reads back {_read(chain)}")
    # A line that cannot halt reads back nothing; that is told with every stop and cannot be proved.
    if word == "stop" and told.get("motion") != "unknown" and not chain.line.is_halted():
        raise ProofFailed("'stop': the line does not read back that motion is halted")
    return chain.clock() - began_s, int(told["stops"])


def _require_refusals(chain: Chain) -> None:
    for act in ("begin", "move"):
        answer = chain.guard.say(act, lease_s=1.0)
        if answer is None or "refused" not in answer:
            raise ProofFailed(f"{act!r} after a stop was not refused by the guard: {answer}")
    if not chain.refuses():
        raise ProofFailed("a command outside the limits was not refused")


def _arm(chain: Chain, stops: int) -> None:
    after = _said(chain, "arm", stops=stops)
    if after["reason"]:
        raise NotArmed(f"after the proof: {after['reason']}")
    if chain.line.is_halted():
        raise ProofFailed("the line still reads back that motion is halted, although it was armed again")


def _open(chain: Chain, lease_s: float) -> None:
    answer = _said(chain, "begin", lease_s=lease_s, dark=not chain.opens)
    if "refused" in answer:
        raise NotArmed(str(answer["refused"]))
    if chain.opens and chain.line.is_open() is not True:
        raise ProofFailed(f"the beam was opened and reads back as {_read(chain)}")


def _said(chain: Chain, act: str, **facts: object) -> dict[str, Any]:
    answer = chain.guard.say(act, **facts)
    if answer is None:
        raise ProofFailed("the guard does not answer. Restart the server")
    return answer


def _read(chain: Chain) -> str:
    return {True: "open", False: "blanked", None: "unknown"}[chain.line.is_open()]
