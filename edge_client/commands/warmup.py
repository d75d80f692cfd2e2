"""`beamloop warmup`: compile the kernels of the reductions before the first frames come."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.console import Console

from ...streaming.reduce import compilations, warm_up
from ...streaming.reduce.warming import DTYPES


def warmup(
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON and nothing else.")] = False,
) -> None:
    """Compile all kernels for this machine's processor, once; otherwise the first scan with a new dtype waits for it.

    The machine code is kept beside the package, or in your cache folder where that is read-only.

    Example: beamloop warmup
    """
    console = Console(stderr=True, quiet=as_json)
    compiled: list[str] = []
    start_s = time.perf_counter()
    with console.status("looking for compiled kernels") as line:
        for number, dtype in enumerate(DTYPES, 1):

            def tell(kernel: str, place: str = f"{number} of {len(DTYPES)}", dtype: str = dtype) -> None:
                compiled.append(kernel)
                line.update(f"dtype {place}: compiling {kernel} for {dtype} frames")

            with compilations(tell):
                warm_up(dtype)
    took_s = time.perf_counter() - start_s
    if as_json:
        typer.echo(json.dumps({"compiled": len(compiled), "dtypes": DTYPES, "seconds": took_s}))
        return
    what = f"compiled {len(compiled)} kernels" if compiled else "every kernel was compiled before"
    typer.echo(f"{what}, {took_s:.1f} s; ready for {', '.join(DTYPES)} frames")
