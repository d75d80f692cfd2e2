"""The command line: mounts the commands of all packages, and loads only the one that is asked for.

Packages register commands under the entry-point group `beamloop.commands`; each is a plain
function with typer's annotations.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from . import __version__
from .core import BeamloopError, NotInstalled, SettingsInvalid, UnknownName
from .core.registry import COMMANDS, find, known

TAKES_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


def command_line(asked: str) -> typer.Typer:
    """Return the program with the asked command mounted, or with all of them if `asked` is none of them."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(beamloop)
    commands = sorted(known(COMMANDS))
    for name in [asked] if asked in commands else commands:
        try:
            app.command(name)(find(COMMANDS, name))
        except NotInstalled as error:
            app.command(name, help=f"({error})", context_settings=TAKES_ANYTHING)(_refusing(error))
    return app


def beamloop(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Live autonomous experiments on electron microscopes and beamlines."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _refusing(error: NotInstalled) -> Callable[[], None]:
    """Return a command that can only say why it cannot be run."""

    def refuse() -> None:
        raise error

    return refuse


def main() -> None:
    """Run the command line; an error of ours is one clear line, status 1, or 2 for wrong use."""
    try:
        command_line(sys.argv[1] if len(sys.argv) > 1 else "")()
    except BeamloopError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, SettingsInvalid | UnknownName) else 1) from None


if __name__ == "__main__":
    main()
