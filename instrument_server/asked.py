"""What is kept of a request beside its answer: enough to tell it from another under the same id, and to name it.

The arguments themselves may be long (a list of points); their digest tells two requests apart as well.
"""

from __future__ import annotations

import hashlib
import json

from ..core import Frozen, PlanInvalid, Request


class Asked(Frozen):
    """One request, in short.

    Attributes
    ----------
    what
        Verb and kind of plan, in words for people.
    digest
        Of client, verb and arguments.
    """

    client: str
    what: str
    digest: str


def asked_by(request: Request) -> Asked:
    """Return what is kept of a request.

    Raises
    ------
    PlanInvalid
        If its arguments are nothing that JSON can say.
    """
    try:
        content = json.dumps([request.client, request.verb, request.arguments], sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise PlanInvalid(f"the arguments of {request.verb!r} are no plain values: {error}") from None
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Asked(client=request.client, what=_in_words(request), digest=digest)


def _in_words(request: Request) -> str:
    plan = request.arguments.get("plan")
    if not isinstance(plan, dict):
        return request.verb
    values = plan.get("values")
    about = (
        [plan.get("kind"), plan.get("detector")] if "detector" in plan else values if isinstance(values, dict) else ()
    )
    words = " ".join([request.verb, *(str(word)[:40] for word in about)])
    return "".join(letter for letter in words[:100] if letter.isprintable())
