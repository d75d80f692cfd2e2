"""`beamloop open`: what is in a recorded file, in words and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from ...core import OutputExists, StorageFailed
from ...streaming.files import Recording, open_recording
from ..reporting.recording_figure import positions_to_read, recording_figure
from ..reporting.recording_text import recording_facts, recording_lines
from ..reporting.terminal_picture import terminal_picture

DOTS_PER_INCH = 110


def open_files(
    files: Annotated[list[Path], typer.Argument(help="A recorded file, or several of one session.")],
    plot: Annotated[Path | None, typer.Option(help="Draw it to this picture (.png, .pdf, .svg).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON, all metadata included.")] = False,
) -> None:
    """Say what is in a recorded file: detectors, axes, units, what was guessed; and draw it.

    Reads NSID, USID, HyperSpy, EMD, .npy, .npz, EDAX and .ang files, run files of beamloop, and with
    pip install 'beamloop[files]' what rosettasciio reads: dm3, dm4, bcf, ser, mib, blo, mrc, tif and more. A terminal
    also shows a small picture.

    Example: beamloop open SI-EELS.dm3

    Example: beamloop open SI-EELS.dm3 SI-HAADF.dm3 --plot interface.png
    """
    if plot is not None and plot.exists():
        raise OutputExists(f"{plot} is already there; give another name or remove it")
    with open_recording(*files) as recording:
        if as_json:
            typer.echo(json.dumps(recording_facts(recording), default=str))
        else:
            typer.echo("\n".join(recording_lines(recording)))
            _sketch(recording)
        if plot is not None:
            _draw(recording, plot)
            if not as_json:
                typer.echo(f"drawn to {plot}")


def _sketch(recording: Recording) -> None:
    """Draw on a terminal, where there is one."""
    console = Console(highlight=False)
    if console.is_terminal and recording.detectors:
        for line in terminal_picture(recording):
            console.print(line, no_wrap=True, crop=True)


def _draw(recording: Recording, plot: Path) -> None:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=positions_to_read(recording))
        figure = recording_figure(recording, lambda n: bar.advance(task, n))
    try:
        figure.savefig(plot, dpi=DOTS_PER_INCH)
    except (OSError, ValueError) as error:
        raise StorageFailed(f"{plot} cannot be written: {error}; choose another place or ending with --plot") from None
