"""The house stands: imports go down, doors export what they say, the wheel holds every package."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import beamloop

ROOT = Path(beamloop.__file__).parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = ("active_learning", "core", "edge_client", "instrument_server", "models", "simulators", "streaming")


def packages() -> list[str]:
    found = {"beamloop"}
    for folder in FOLDERS:
        doors = (ROOT / folder).rglob("__init__.py")
        found |= {".".join(("beamloop", *door.parent.relative_to(ROOT).parts)) for door in doors}
    return sorted(found)


def modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages([str(ROOT)], "beamloop.") if m.name.split(".")[1] in FOLDERS]
    return ["beamloop", "beamloop.__main__", "beamloop.halt", *names]


def test_every_import_goes_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyproject_lists_every_package() -> None:
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == packages()


@pytest.mark.parametrize("name", [name for name in packages() if name != "beamloop"])
def test_a_door_only_re_exports(name: str) -> None:
    tree = ast.parse(Path(importlib.import_module(name).__file__ or "").read_text())
    for node in tree.body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_export = isinstance(node, ast.ImportFrom) and all(alias.asname == alias.name for alias in node.names)
        assert is_docstring or is_export, f"{name}:{node.lineno} is neither docstring nor 're-export as itself'"


@pytest.mark.parametrize("name", modules())
def test_doctests_hold(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("group", sorted(PYPROJECT["project"]["entry-points"]))
def test_every_registered_plugin_can_be_loaded(group: str) -> None:
    from importlib.metadata import entry_points

    ours = {e.name: e for e in entry_points(group=group) if e.value.startswith("beamloop.")}
    assert sorted(ours) == sorted(PYPROJECT["project"]["entry-points"][group])
    for entry in ours.values():
        assert callable(entry.load())


def test_pyro_is_imported_in_two_files_at_most() -> None:
    imports = re.compile(r"^(import|from) Pyro5", re.MULTILINE)
    importing = [f for folder in FOLDERS for f in (ROOT / folder).rglob("*.py") if imports.search(f.read_text())]
    assert len(importing) <= 2, importing


def test_no_module_imports_a_sibling_inside_a_function() -> None:
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            for function in ast.walk(ast.parse(file.read_text())):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    hidden = [n for n in ast.walk(function) if isinstance(n, ast.ImportFrom) and n.level]
                    assert not hidden, f"{file}:{hidden[0].lineno} hides an import"


def test_constraints_pin_every_dependency_and_torch_exactly() -> None:
    pins = dict(
        line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    wanted = list(PYPROJECT["project"]["dependencies"])
    for extra in ("edge", "sim", "files", "detectors", "keys", "dev"):
        wanted += PYPROJECT["project"]["optional-dependencies"][extra]
    names = {requirement.lower().split(">")[0].split("[")[0].strip() for requirement in wanted}
    assert names <= set(pins), sorted(names - set(pins))
    assert pins["torch"] == "2.13.0"
    assert (pins["jax"], pins["numpyro"]) == ("0.9.2", "0.20.0")
