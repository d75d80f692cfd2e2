"""`beamloop emulate`: a detector that plays a recording over its real protocol."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TransferSpeedColumn

from ....core.errors import SettingsInvalid
from ...files import open_recording
from ..dectris_connection import V1_PORT, V2_PORT
from ..merlin import CONTROL_PORT, DATA_PORT
from .dectris import DectrisEmulator
from .dectris_messages import Compression
from .footage import Footage
from .merlin import MerlinEmulator
from .playing import Playing

API_PORT = 8910
INTERRUPTED = 130
"""Status after Ctrl-C, as a shell counts it."""

emulate = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Play a recording as a detector does, over its real protocol, to try receivers without the detector.\n\n"
    "Example: beamloop emulate merlin scan.h5 --rate 1000\n\n"
    "Then, elsewhere: beamloop reduce merlin://localhost --sum",
)

File = Annotated[Path, typer.Argument(help="Any recording that beamloop opens.")]
Detector = Annotated[str | None, typer.Option(help="Which detector of the file; its largest grid if not given.")]
Rate = Annotated[float, typer.Option(help="Frames per second; 0: as fast as they are taken.", min=0.0)]
Repeat = Annotated[int, typer.Option(help="How many times it is played; 0: until Ctrl-C.", min=0)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for a command to start, and do not begin by itself.")]
Host = Annotated[str, typer.Option(help="Where to listen; this computer only if not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print ports when ready, and what was sent, as lines of JSON.")]


class Emulator(Protocol):
    """What the commands need of an emulator."""

    def prepare(self) -> None:
        """Encode the recording."""
        ...

    def run(self) -> None:
        """Play it."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


@emulate.command()
def merlin(
    file: File,
    detector: Detector = None,
    rate: Rate = 0.0,
    repeat: Repeat = 1,
    bits: Annotated[int, typer.Option(help="Depth of the counter: 1, 6, 12 or 24.")] = 12,
    raw: Annotated[bool, typer.Option("--raw", help="Send pixels raw, as the chips give them.")] = False,
    layout: Annotated[
        Literal["1x1", "2x2", "2x2G"], typer.Option(help="Chips: one, four, or four with a gap between them.")
    ] = "1x1",
    wait: Wait = False,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Data port; 0: any.", min=0, max=65535)] = DATA_PORT,
    control_port: Annotated[int, typer.Option(help="Command port; 0: any.", min=0, max=65535)] = CONTROL_PORT,
    as_json: Json = False,
) -> None:
    """Play a recording as Quantum Detectors' Merlin. Ctrl-C ends it.

    It begins when somebody connects to the data port; with --wait at CMD,STARTACQUISITION on the command port, and,
    where TRIGGERSTART was set to 5, at CMD,SOFTTRIGGER. Counts that the counter does not hold are shown as full.

    Example: beamloop emulate merlin scan.h5 --rate 1000 --bits 12 --raw

    Then, elsewhere: beamloop reduce merlin://localhost --virtual-detector disk:8px
    """
    if bits not in (1, 6, 12, 24):
        raise SettingsInvalid(f"--bits {bits}: a Medipix counter has 1, 6, 12 or 24 bits")

    def made(footage: Footage, playing: Playing) -> tuple[MerlinEmulator, dict[str, int]]:
        emulator = MerlinEmulator(footage, playing, bits, raw, layout, host, port, control_port)
        return emulator, {"port": emulator.data_port, "control_port": emulator.control_port}

    _play(file, detector, Playing(rate, repeat, wait), made, f"Merlin at {host}", as_json)


@emulate.command()
def dectris(
    file: File,
    detector: Detector = None,
    rate: Rate = 0.0,
    repeat: Repeat = 1,
    version: Annotated[int, typer.Option(help="Of the stream: 1 or 2.", min=1, max=2)] = 2,
    compression: Annotated[Compression, typer.Option(help="How frames are packed.")] = "bslz4",
    wait: Wait = False,
    host: Host = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help=f"Stream; {V1_PORT} for V1, {V2_PORT} for V2; 0: any.", min=0, max=65535)
    ] = None,
    api_port: Annotated[int, typer.Option(help="REST interface; 0: any.", min=0, max=65535)] = API_PORT,
    as_json: Json = False,
) -> None:
    """Play a recording as a DECTRIS detector with a SIMPLON interface. Ctrl-C ends it.

    It begins when somebody listens to the stream; with --wait at the REST command arm, and, where trigger_mode was
    set to ints or inte, at trigger.

    Example: beamloop emulate dectris scan.h5 --version 1 --compression lz4 --rate 5000

    Then, elsewhere: beamloop reduce dectris://localhost:9999 --com
    """
    chosen = port if port is not None else (V2_PORT if version == 2 else V1_PORT)

    def made(footage: Footage, playing: Playing) -> tuple[DectrisEmulator, dict[str, int]]:
        emulator = DectrisEmulator(footage, playing, version, compression, host, chosen, api_port)
        return emulator, {"port": emulator.port, "api_port": emulator.api_port}

    _play(file, detector, Playing(rate, repeat, wait), made, f"DECTRIS stream V{version} at {host}", as_json)


def _play(
    file: Path,
    detector: str | None,
    playing: Playing,
    made: Callable[[Footage, Playing], tuple[Emulator, dict[str, int]]],
    what: str,
    as_json: bool,
) -> None:
    console = Console(stderr=True, quiet=as_json)
    sent = {"frames": 0, "bytes": 0}
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TransferSpeedColumn())
    with (
        open_recording(file) as recording,
        Progress(*columns, console=console, disable=not console.is_terminal) as shown,
    ):
        footage = Footage(recording.main if detector is None else recording.detector(detector))
        total = footage.n_frames * playing.repeat
        task = shown.add_task("waiting for a receiver", total=None)

        def told(frames: int, nbytes: int) -> None:
            sent["frames"] += frames
            sent["bytes"] += nbytes
            words = f"{sent['frames']} of {total} frames" if total else f"{sent['frames']} frames"
            shown.update(task, description=words, completed=sent["bytes"])

        emulator, ports = made(footage, Playing(playing.rate, playing.repeat, playing.waits, playing.stop, told))
        is_left = False
        signal.signal(signal.SIGTERM, lambda number, frame: playing.stop.set())
        try:
            emulator.prepare()
            _ready(footage, what, ports, as_json)
            emulator.run()
        except KeyboardInterrupt:
            is_left = True
        finally:
            emulator.close()
    if as_json:
        typer.echo(json.dumps(sent | {"altered_pixels": footage.altered, "interrupted": is_left}))
    else:
        typer.echo(f"{sent['frames']} frames sent, {sent['bytes'] / 1e6:.1f} MB")
    if is_left:
        raise typer.Exit(INTERRUPTED)


def _ready(footage: Footage, what: str, ports: dict[str, int], as_json: bool) -> None:
    (ny, nx), (v, u) = footage.scan_shape, footage.frame_shape
    if as_json:
        typer.echo(json.dumps({"ready": True, **ports, "scan_shape": (ny, nx), "frame_shape": (v, u)}))
        with suppress(OSError):
            typer.get_text_stream("stdout").flush()
        return
    if footage.altered:
        typer.echo(
            f"note: {footage.altered} pixels hold what the counter cannot (more than its bits, below 0, or no whole "
            "number); they are sent as the nearest that it can"
        )
    where = ", ".join(f"{name.replace('_', ' ')} {port}" for name, port in ports.items())
    typer.echo(f"{what}, {where}: {footage.detector} of {footage.file.name}, {ny} x {nx} frames of {v} x {u}")
