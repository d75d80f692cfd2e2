"""What was odd about a stream, told once for each kind, with how often it was."""

from __future__ import annotations


class Notices:
    """Notices of one scan; for one thread.

    >>> notices = Notices()
    >>> for number in (4, 5):
    ...     notices.add("frames repeated", f"frame {number} came again")
    >>> notices.lines()
    ('frames repeated (2 times), the first: frame 4 came again',)
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int]] = {}

    def add(self, kind: str, words: str, times: int = 1) -> None:
        """Note something; of each kind only the words of the first are kept."""
        first, before = self._found.get(kind, (words, 0))
        self._found[kind] = (first, before + times)

    def lines(self) -> tuple[str, ...]:
        """Return a line for each kind, in the order in which they first came."""
        return tuple(
            f"{kind}: {words}" if times == 1 else f"{kind} ({times} times), the first: {words}"
            for kind, (words, times) in self._found.items()
        )
