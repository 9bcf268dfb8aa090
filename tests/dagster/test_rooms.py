"""The rooms of mmmeta_dagster as docs/design.md has them: imports go down the ranks, without circles and databases."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mmmeta_dagster

HERE = Path(mmmeta_dagster.__path__[0])
DESIGN = Path(__file__).parents[2] / "docs" / "design.md"
FILES = sorted(path for path in HERE.rglob("*.py") if path != HERE / "__init__.py")
NO_DATABASES = {"sqlite3", "Database", "read_head"}


def ranks() -> dict[str, int]:
    """Room or file → its rank."""
    _, _, section = DESIGN.read_text(encoding="utf-8").partition("### The rooms of mmmeta_dagster\n")
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", section, re.MULTILINE)
    return {name: int(rank) for rank, names in rows for name in re.findall(r"`(\w+)`", names)}


def room_of(path: Path) -> str:
    return path.relative_to(HERE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every name that a file imports, also inside functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_rank() -> None:
    """The table names all rooms and files, and no others."""
    assert set(ranks()) == {room_of(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HERE)))
def test_imports_go_down_the_ranks(path: Path) -> None:
    """A room imports from rooms of larger ranks, not from those of its own, and nobody from the public face."""
    rank, own = ranks(), room_of(path)
    for name in imports(path):
        package, _, below = name.partition(".")
        room = below.split(".")[0]
        if package == "mmmeta_dagster" and room != own:
            assert rank[own] < rank.get(room, 0), f"{path.relative_to(HERE)} imports {name}"


def test_there_is_no_circle() -> None:
    """Neither between rooms nor within one."""
    modules = {".".join(("mmmeta_dagster", *path.relative_to(HERE).with_suffix("").parts)): path for path in FILES}
    graph = {
        module: {one for name in imports(path) for one in (name, name.rpartition(".")[0]) if one in modules}
        for module, path in modules.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(modules)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HERE)))
def test_no_database_is_opened(path: Path) -> None:
    """What it wants to know it asks mmmeta."""
    assert not {part for name in imports(path) for part in name.split(".")} & NO_DATABASES
