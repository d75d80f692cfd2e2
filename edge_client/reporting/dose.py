"""What dose the specimen has had, where, and which candidates were passed over because of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from ...core import Region, Signal
from ..record.story import Seen, Story
from .figures import PICTURE, Length, extent_of, frame_field
from .page import heading, picture, text

DOSE = "inferno"
FAINT = 0.02
"""Part of the largest dose below which a pixel lets the picture through."""


def dose(story: Story, seen: Seen) -> Iterator[str]:
    """Return the section about the dose on the specimen and what it kept from being measured."""
    closed = {candidate for _, event in story.closings for candidate in event.candidates}
    if seen.dose is None and not closed:
        return
    yield heading("Dose on the specimen")
    if closed:
        reasons = "; ".join(dict.fromkeys(event.reason for _, event in story.closings))
        yield text(
            f"{len(closed)} of the {len(seen.pool)} candidates were passed over, because the instrument's budget had "
            f"{reasons} there."
        )
    if seen.dose is not None:
        caption = (
            f"At the end, at most {float(seen.dose.data.max()):.4g} e/nm² in one place: everything since this specimen "
            "was put in, as the instrument counts it."
        )
        yield picture(dose_figure(seen.dose, story.described.info.field, seen.overview), caption, small=True)


def dose_figure(dose: Signal, field: Region, overview: Signal | None) -> Figure:
    """Return the dose over the field of view, electrons per square nanometre, over the picture if there is one."""
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    axes = figure.subplots()
    length = Length.fitting(max(field.height_m, field.width_m))
    axes.set_facecolor("#d9d9d9")
    if overview is not None:
        low, high = np.nanpercentile(overview.data, [0.5, 99.5])
        axes.imshow(
            overview.data, cmap=PICTURE, extent=extent_of(overview.axes[-2], overview.axes[-1], length), vmin=low,
            vmax=max(high, low + 1e-12), interpolation="nearest",
        )  # fmt: skip
    most = float(dose.data.max()) or 1.0
    drawn = axes.imshow(
        dose.data, cmap=DOSE, extent=extent_of(dose.axes[0], dose.axes[1], length), vmin=0.0, vmax=most,
        interpolation="nearest", alpha=np.where(dose.data > FAINT * most, 0.8, 0.0),
    )  # fmt: skip
    frame_field(axes, field, length)
    figure.colorbar(drawn, ax=axes, label="dose (e/nm²)", shrink=0.85)
    return figure
