"""Where an extra is not installed, a command says which, and the others work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from beamloop import halt
from beamloop.core import control, key_file

# What the light installation lacks is made impossible to import.
LIGHT = """
import sys
for name in ("scipy", "h5py", "torch", "matplotlib", "sklearn", "numba"):
    sys.modules[name] = None
sys.argv = ["beamloop", *sys.argv[1:]]
from beamloop.__main__ import main
main()
"""


def beamloop(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIGHT, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_stop_imports_nothing_heavy_and_knows_the_ports_of_the_others() -> None:
    look = "import sys, beamloop.__main__, beamloop.halt; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert not {"numpy", "pydantic", "Pyro5", "scipy", "h5py"} & set(done.stdout.split())
    assert (halt.PORT, halt.GUARD_OFFSET) == (control.PORT, control.GUARD_OFFSET)
    assert halt.KEY_MARK == key_file.MARK


@pytest.mark.parametrize(("words", "status"), [(("stop", "localhost:1"), 1), (("stop", ":"), 2)])
def test_a_plain_stop_parses_no_options_and_tells_wrong_use_like_any_command(
    words: tuple[str, ...], status: int
) -> None:
    seen = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('pydantic' in sys.modules))\n"
        "import beamloop.halt\n"
        "beamloop.halt.stop.__defaults__ = (*beamloop.halt.stop.__defaults__[:4], 0.1, False)\n"
        "from beamloop.__main__ import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", seen, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert done.stdout.strip() == str(status == 2)
    assert ("not answered within 0.1 s" if status == 1 else "no address of an instrument") in done.stderr


def test_help_lists_every_command_and_what_one_lacks() -> None:
    done = beamloop("--help")
    assert done.returncode == 0
    assert "needs the package" in done.stdout
    for name in ("info", "run", "serve", "stop"):
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("words", [("run", "x.toml", "--points", "3"), ("run",)])
def test_a_command_that_lacks_a_package_says_so_whatever_it_is_given(words: tuple[str, ...]) -> None:
    done = beamloop(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("NotInstalled: command 'run' needs the package")
    assert len(done.stderr.strip().splitlines()) == 1
