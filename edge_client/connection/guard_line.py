"""The line to the guard: stop, blank and pause, behind nothing and with a bounded wait.

Each word gets a socket of its own, so a word that was never answered cannot stand in the
way of the next one, and any thread may speak at any time. The guard answers at once with what
it knows, and once more when the rest is read back, or known to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgpack
import zmq
from pydantic import ValidationError

from ...core import GuardReport, InstrumentUnreachable, KeyRefused, ProtocolMismatch, WireInvalid
from ...core.hearing import heard
from ...streaming.admittance import Admittance, answered
from .address import Address
from .shown_key import ShownKey

Word = Literal["blank", "stop", "pause", "state"]

ANSWER_WITHIN_S = 2.0


def say(address: Address, word: Word, timeout_s: float = ANSWER_WITHIN_S, key: ShownKey | None = None) -> GuardReport:
    """Say one word to the guard of an instrument and return its last report; see `reports`."""
    *_, last = reports(address, word, timeout_s, key)
    return last


def reports(
    address: Address, word: Word, timeout_s: float = ANSWER_WITHIN_S, key: ShownKey | None = None
) -> Iterator[GuardReport]:
    """Say one word to the guard; yield what it confirms at once, then what is read back within the stopping time.

    Parameters
    ----------
    address, word
        What is said to whose guard.
    timeout_s
        How long the first answer may take, and how late the second may be.
    key
        Shown to the guard; None shows none.

    Raises
    ------
    KeyRefused
        If a key is wanted, or this one is not let in.
    InstrumentUnreachable
        If no answer came within `timeout_s`; whether the word was heard is then unknown.
    WireInvalid, ProtocolMismatch
        If the guard refused the word or answered something that is no report.
    """
    with zmq.Context() as context, context.socket(zmq.DEALER) as line:
        line.linger = 0
        admittance = Admittance(context, line, None if key is None else key.guard)
        line.connect(address.guard)
        line.send_multipart([b"", msgpack.Packer().pack({"word": word, "follow": True})])
        refusal = "" if answered(line, admittance, timeout_s) else admittance.refusal() or admittance.doubt()
        admittance.close()
        if refusal:
            raise KeyRefused(f"the guard at {address.guard} did not hear {word!r}: {refusal}")
        if not line.poll(0):
            raise InstrumentUnreachable(
                f"{word!r} was sent to the guard at {address.guard} and not answered within {timeout_s:g} s; "
                "it is unknown whether it was heard: use the instrument's own stop"
            )
        report = _report(line.recv_multipart()[-1], word)
        yield report
        if report.follows_within_s:
            in_time = line.poll(round(1e3 * (report.follows_within_s + timeout_s)))
            yield _report(line.recv_multipart()[-1], word) if in_time else _unknown(report)


def _report(payload: bytes, word: Word) -> GuardReport:
    answer = msgpack.unpackb(payload)
    if isinstance(answer, dict) and answer.get("kind") == KeyRefused.__name__:
        raise KeyRefused(f"the guard did not take {word!r}: {answer['error']}")
    if isinstance(answer, dict) and "error" in answer:
        raise WireInvalid(f"the guard did not take {word!r}: {answer['error']}")
    try:
        return heard(GuardReport, answer)
    except ValidationError as error:
        raise ProtocolMismatch(f"the guard answered {word!r} with no report this version knows: {error}") from None


def _unknown(report: GuardReport) -> GuardReport:
    """Return a report whose second part never came: what was only commanded is unknown."""
    lacking = {part for part in ("beam", "acquisition", "motion") if getattr(report, part) == "commanded"}
    reason = "; ".join(filter(None, [report.reason, "the guard did not say whether the rest came to rest"]))
    return report.model_copy(update={**dict.fromkeys(lacking, "unknown"), "reason": reason, "follows_within_s": 0.0})
