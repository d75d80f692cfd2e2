"""A disk that refuses is waited for, told once, and given up on only when nobody waits any more."""

from __future__ import annotations

import threading

import pytest

from beamloop.core import StorageFailed
from beamloop.edge_client.record.keeping import Keeping


def refusing(times: int) -> tuple[list[int], object]:
    """Return a count of tries, and an action that fails so many times."""
    tries: list[int] = []

    def action() -> str:
        tries.append(1)
        if len(tries) <= times:
            raise StorageFailed("run.h5 is full")
        return "kept"

    return tries, action


@pytest.mark.parametrize("times", [0, 1, 5])
def test_what_the_disk_refuses_is_tried_until_it_takes_it(times: int) -> None:
    told: list[str] = []
    tries, action = refusing(times)
    assert Keeping(told.append, pause_s=0.001)(action) == "kept"  # type: ignore[arg-type]
    assert len(tries) == times + 1
    assert len(told) == (2 if times else 0), "once for the wait and once for its end"
    assert all("run.h5 is full" in line for line in told[:1])


def test_a_wait_that_is_given_up_raises_what_the_disk_said() -> None:
    keeping = Keeping(lambda text: None, pause_s=30.0)
    _, action = refusing(1_000_000)
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            keeping(action)  # type: ignore[arg-type]
        except StorageFailed as failure:
            raised.append(failure)

    waiting = threading.Thread(target=wait)
    waiting.start()
    keeping.give_up()
    waiting.join(10)
    assert not waiting.is_alive()
    assert "run.h5 is full" in str(raised[0])


def test_other_errors_are_not_waited_for() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Keeping(lambda text: None)(broken)
