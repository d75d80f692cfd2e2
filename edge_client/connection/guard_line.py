"""The line to the guard: stop, blank and pause, behind nothing and with a bounded wait.

Each word gets a socket of its own, so a word that was never answered cannot stand in the
way of the next one, and any thread may speak at any time.
"""

from __future__ import annotations

from typing import Literal

import msgpack
import zmq
from pydantic import ValidationError

from ...core import GuardReport, InstrumentUnreachable, KeyRefused, ProtocolMismatch, WireInvalid
from ...streaming.admittance import Admittance, answered
from .address import Address
from .shown_key import ShownKey

Word = Literal["blank", "stop", "pause", "state"]

ANSWER_WITHIN_S = 2.0


def say(address: Address, word: Word, timeout_s: float = ANSWER_WITHIN_S, key: ShownKey | None = None) -> GuardReport:
    """Say one word to the guard of an instrument and return what it confirms.

    Raises
    ------
    KeyRefused
        If a key is wanted, or this one is not let in.
    InstrumentUnreachable
        If no answer came within `timeout_s`; whether the word was heard is then unknown.
    WireInvalid, ProtocolMismatch
        If the guard refused the word or answered something that is no report.
    """
    with zmq.Context() as context, context.socket(zmq.REQ) as line:
        line.linger = 0
        admittance = Admittance(context, line, None if key is None else key.guard)
        line.connect(address.guard)
        line.send(msgpack.Packer().pack({"word": word}))
        refusal = "" if answered(line, admittance, timeout_s) else admittance.refusal() or admittance.doubt()
        admittance.close()
        if refusal:
            raise KeyRefused(f"the guard at {address.guard} did not hear {word!r}: {refusal}")
        if not line.poll(0):
            raise InstrumentUnreachable(
                f"{word!r} was sent to the guard at {address.guard} and not answered within {timeout_s:g} s; "
                "it is unknown whether it was heard: use the instrument's own stop"
            )
        return _report(line.recv(), word)


def _report(payload: bytes, word: Word) -> GuardReport:
    answer = msgpack.unpackb(payload)
    if isinstance(answer, dict) and answer.get("kind") == KeyRefused.__name__:
        raise KeyRefused(f"the guard did not take {word!r}: {answer['error']}")
    if isinstance(answer, dict) and "error" in answer:
        raise WireInvalid(f"the guard did not take {word!r}: {answer['error']}")
    try:
        return GuardReport.model_validate(answer)
    except ValidationError as error:
        raise ProtocolMismatch(f"the guard answered {word!r} with no report this version knows: {error}") from None
