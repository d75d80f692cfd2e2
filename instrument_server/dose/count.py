"""What a scan cost, counted twice: frames times exposure times current, and the driver's own count of electrons.

The two are independent, as in a medical linac: where they differ by more than 5 %, one of current,
exposure and count is wrong, and the larger is charged.
"""

from __future__ import annotations

from typing import NamedTuple

from ...core import ScanEnd

AGREEMENT = 0.05
"""Part by which the two counts of a scan's electrons may differ."""


class Cost(NamedTuple):
    """What a scan cost.

    Attributes
    ----------
    electrons
        On each position that was exposed.
    positions
        How many of the first positions were exposed, the last of them perhaps in part.
    wrong
        Why the two counts cannot both be right; empty if they agree.
    """

    electrons: float
    positions: float
    wrong: str = ""


def cost_of(end: ScanEnd, planned: float, count: int, counts_dose: bool) -> Cost:
    """Return what a scan cost.

    Parameters
    ----------
    end
        How it ended.
    planned
        Electrons on each position: exposure times current.
    count
        Positions of its plan.
    counts_dose
        Whether the driver's number of electrons is a count of its own.

    >>> cost_of(ScanEnd(scan_id="a", status="stopped", n_frames=3, electrons=350.0), 100.0, 10, True)
    Cost(electrons=100.0, positions=3.5, wrong='')
    """
    if not counts_dose:
        # Of a scan that was cut off, nobody knows what was exposed beyond what was sent.
        return Cost(planned, count)
    least, most = end.n_frames * planned, count * planned
    if not (1 - AGREEMENT) * least <= end.electrons <= (1 + AGREEMENT) * most:
        return Cost(max(planned, end.electrons / count), count, _disagreement(end, planned, count))
    if end.status == "complete":
        return Cost(end.electrons / count, count)
    positions = min(float(count), end.electrons / planned) if planned else 0.0
    return Cost(end.electrons / positions if positions else 0.0, positions)


def _disagreement(end: ScanEnd, planned: float, count: int) -> str:
    return (
        f"the dose of scan {end.scan_id} was counted twice and the counts differ by more than {AGREEMENT:.0%}: "
        f"exposure times current gives {end.n_frames * planned:.4g} electrons for the {end.n_frames} frames that came "
        f"(at most {count * planned:.4g} for all {count}), the driver counted {end.electrons:.4g}; the larger is "
        "charged"
    )
