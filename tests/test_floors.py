"""The structure that docs/design.md promises: imports go down the floors, and the core never imports dagster."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "mmmeta"
PLUGIN = ROOT / "mmmeta_dagster"


def floors() -> dict[str, tuple[int, int]]:
    """Module → (floor, place on the floor), read from the table in docs/design.md."""
    table = (ROOT / "docs" / "design.md").read_text().partition("## Floors")[2]
    rows = re.findall(r"^\| (\d)[^|]*\|(.*)\|$", table, re.MULTILINE)
    return {
        name: (int(floor), place) for floor, names in rows for place, name in enumerate(re.findall(r"`(\w+)`", names))
    }


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions; not those for type checking only."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_floor() -> None:
    """The table in docs/design.md names all modules and no others."""
    names = {path.stem for path in CORE.glob("*.py")} | {"cli"}
    assert names - {"__init__", "__main__"} == set(floors())


@pytest.mark.parametrize("path", modules(CORE), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_the_floors(path: Path) -> None:
    """A module imports from lower floors, or from modules named before it on its own."""
    own = path.relative_to(CORE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    places = floors()
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "mmmeta" and len(parts) > 1 and parts[1] in places and parts[1] != own:
            assert places[parts[1]] < places[own], f"{own} imports {parts[1]}"


@pytest.mark.parametrize("path", modules(CORE), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_never_imports_dagster(path: Path) -> None:
    """Not even inside a function."""
    assert not [name for name in imports(path) if name.split(".")[0] in ("dagster", "mmmeta_dagster")]


@pytest.mark.parametrize("path", modules(PLUGIN), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_plugin_uses_public_dagster_only(path: Path) -> None:
    """Nothing whose path has an underscored part."""
    private = [
        name
        for name in imports(path)
        if name.split(".")[0].startswith("dagster") and any(part.startswith("_") for part in name.split("."))
    ]
    assert not private


def test_import_is_light() -> None:
    """``import mmmeta`` and opening a metadir bring nothing that is not needed yet."""
    code = (
        "import sys; from mmmeta import mmmeta; mmmeta('.');"
        "print(*sorted({'dagster', 'pandas', 'alembic', 'sqlalchemy', 'dataset', 'rich', 'click'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
