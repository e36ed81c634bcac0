"""The rooms of megapolis/, as docs/README.md draws them, stay few."""

import ast
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from megapolis.environment import BASE_DIR
from megapolis.features import FEATURES

MOST_ROOMS = 18
MOST_ARROWS = 48
MOST_LINES = 250
FILES = sorted((BASE_DIR / "megapolis").rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(BASE_DIR).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """Return the package or top module of megapolis/ in which the module is."""
    return module.split(".")[1] if module.startswith("megapolis.") else ""


@cache
def imported_by(file: Path) -> frozenset[str]:
    """Return what the file imports, also inside functions: modules, or names in them."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = (
        [f"{node.module}.{alias.name}" for alias in node.names]
        for node in nodes
        if isinstance(node, ast.ImportFrom)
    )
    modules = (
        [alias.name for alias in node.names] for node in nodes if isinstance(node, ast.Import)
    )
    return frozenset(chain.from_iterable([*names, *modules]))


def rooms() -> set[str]:
    return {room_of(module_of(file)) for file in FILES} - {""}


def arrows() -> set[tuple[str, str]]:
    known = rooms()
    return {
        (room_of(module_of(file)), room_of(name))
        for file in FILES
        for name in imported_by(file)
        if room_of(name) in known and room_of(module_of(file)) not in {"", room_of(name)}
    }


def test_rooms_are_few() -> None:
    assert len(rooms()) <= MOST_ROOMS


def test_arrows_between_rooms_are_few() -> None:
    assert len(arrows()) <= MOST_ARROWS


@pytest.mark.parametrize("feature", FEATURES)
def test_no_module_of_the_project_imports_a_feature(feature: str) -> None:
    importing = [
        module_of(file)
        for file in FILES
        if any(f"{name}.".startswith(f"{feature}.") for name in imported_by(file))
    ]
    assert importing == []


def test_no_file_is_long() -> None:
    folders = [BASE_DIR / name for name in ("megapolis", *FEATURES)]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    long = [
        module_of(file)
        for file in files
        if file.parent.name != "migrations" and len(file.read_text().splitlines()) > MOST_LINES
    ]
    assert long == []
