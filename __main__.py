"""The command line: mounts the commands of all packages, and loads only the one that is asked for.

Packages register commands under the entry-point group `beamloop.commands`; each is a plain
function with typer's annotations, or a `typer.Typer` where it has several words. Nothing heavy of
ours is imported here, so that `beamloop stop` starts as quickly as Python does; an error of ours
says itself with which status to leave.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

import typer

from . import __version__
from .halt import is_plain, stop_plainly

COMMANDS = "beamloop.commands"
TAKES_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


def command_line(asked: str) -> typer.Typer:
    """Return the program with the asked command mounted, or with all of them if `asked` is none of them."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(beamloop)
    commands = {entry.name: entry for entry in entry_points(group=COMMANDS)}
    for name in [asked] if asked in commands else sorted(commands):
        _mount(app, commands[name])
    return app


def beamloop(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Live autonomous experiments on electron microscopes and beamlines."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _mount(app: typer.Typer, entry: EntryPoint) -> None:
    """Add a command; one that lacks a package is added as one that says so."""
    try:
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.startswith("beamloop"):
            raise
        told = (
            f"command {entry.name!r} needs the package {missing!r}, which is not installed: pip install 'beamloop[all]'"
        )
        app.command(entry.name, help=f"({told})", context_settings=TAKES_ANYTHING)(_refusing(told))


def _refusing(told: str) -> Callable[[], None]:
    """Return a command that can only say why it cannot be run."""

    def refuse() -> None:
        typer.echo(f"NotInstalled: {told}", err=True)
        raise typer.Exit(1)

    return refuse


def main() -> None:
    """Run the command line; an error of ours is one clear line, status 1, or 2 for wrong use."""
    words = sys.argv[1:]
    if is_plain(words):
        # Around the options' parser, which loads pydantic before the word is said.
        stop_plainly(words)
    try:
        command_line(sys.argv[1] if len(sys.argv) > 1 else "")()
    except Exception as error:
        status = getattr(error, "exit_status", None)
        if status is None:
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(status) from None


if __name__ == "__main__":
    main()
