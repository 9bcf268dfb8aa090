"""The house that docs/design.md promises: rooms, one direction, and who may speak SQL."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
CORE = ROOT / "mmmeta"
PLUGIN = ROOT / "mmmeta_dagster"
DESIGN = (ROOT / "docs" / "design.md").read_text()

SPEAK_SQL = {"sqlite", "catalog", "metadata", "state", "target"}
"""Rooms that may execute a statement."""

STATE_TABLES = r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE|ON)\s+(?:ledger|ledger_counts|attempts|jobs|places)\b"
FILES_TABLE = r"\b(?:FROM|INTO|UPDATE|JOIN)\s+(?:main\.|remote\.)?files\b"


def ranks(package: str) -> dict[str, int]:
    """Room or file of a package → its rank, read from its table in docs/design.md."""
    _, _, table = DESIGN.partition(f"| rank | rooms and files of `{package}/` |")
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", table.partition("\n\n")[0], re.MULTILINE)
    return {name: int(rank) for rank, names in rows for name in re.findall(r"`(\w+)`", names)}


CORE_RANKS = ranks("mmmeta")
PLUGIN_RANKS = ranks("mmmeta_dagster")


def modules(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name_of(path: Path) -> str:
    """The module's dotted name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    """The room of a module's dotted name, or the file itself on the ground; empty for the package."""
    return name.split(".")[1] if "." in name else ""


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


def known_imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, by their files."""
    known = {name_of(module) for module in modules(CORE, PLUGIN)}
    return {name for name in imports(path) if name in known and name != name_of(path)}


def texts(path: Path) -> Iterator[str]:
    """Every text of a file that may be SQL, what stands in braces left out; docstrings are not."""
    tree = ast.parse(path.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in inner or id(node) in said:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def executed(path: Path) -> Iterator[int]:
    """The lines on which a file executes a statement."""
    verbs = {"execute", "executemany", "executescript", "exec_driver_sql"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in verbs:
            yield node.lineno


@pytest.mark.parametrize(("package", "table"), [(CORE, CORE_RANKS), (PLUGIN, PLUGIN_RANKS)], ids=["core", "plugin"])
def test_every_room_has_a_rank(package: Path, table: dict[str, int]) -> None:
    """The tables in docs/design.md name all rooms and ground files, and no others."""
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "__main__"} == set(table)


def entries(package: str) -> dict[str, set[str]]:
    """Room of a package → the words of its entry in the tree of docs/design.md; under "" those of the files on the ground."""
    _, _, tree = DESIGN.partition(f"```text\n{package}/\n")
    found: dict[str, set[str]] = {}
    room = ""
    for line in tree.partition("```")[0].splitlines():
        if re.match(r"  \S", line):
            begins = re.match(r"  (\w+)/", line)
            room = begins[1] if begins else ""
        found.setdefault(room, set()).update(re.findall(r"\w+", line))
    return found


ENTRIES = {folder.name: entries(folder.name) for folder in (CORE, PLUGIN)}


@pytest.mark.parametrize("path", modules(CORE, PLUGIN), ids=name_of)
def test_every_module_is_in_the_tree(path: Path) -> None:
    """Of docs/design.md, in the entry of its room; what is a verb of the command line is one of "a file a verb"."""
    package, *folders = path.relative_to(ROOT).parts[:-1]
    is_verb = (ast.get_docstring(ast.parse(path.read_text())) or "").startswith("``mmmeta ")
    if is_verb or path.stem in ("__init__", "__main__"):
        return
    assert path.stem in ENTRIES[package].get(folders[0] if folders else "", set())


@pytest.mark.parametrize("path", modules(CORE, PLUGIN), ids=name_of)
def test_a_room_imports_only_from_ranks_below_its_own(path: Path) -> None:
    """Rooms of one rank do not know each other; the ground files may."""
    name = name_of(path)
    table = CORE_RANKS if name.startswith("mmmeta.") else PLUGIN_RANKS
    own = room_of(name)
    if own in ("", "__main__"):
        return
    ground = max(table.values())
    for other in known_imports(path):
        package, room = other.split(".")[0], room_of(other)
        if package != name.split(".")[0] or room in ("", own):
            continue
        assert table[room] > table[own] or table[room] == table[own] == ground, f"{name} imports {other}"


@pytest.mark.parametrize("folder", [CORE, PLUGIN], ids=lambda folder: folder.name)
def test_there_is_no_circle(folder: Path) -> None:
    """Not within a room either, and not inside functions."""
    graph: dict[str, Iterable[str]] = {name_of(path): known_imports(path) - {folder.name} for path in modules(folder)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("path", modules(CORE, PLUGIN), ids=name_of)
def test_statements_are_executed_in_few_rooms(path: Path) -> None:
    """And ``sqlite3`` is imported in no other."""
    name = name_of(path)
    if name.startswith("mmmeta.") and room_of(name) in SPEAK_SQL:
        return
    assert list(executed(path)) == []
    assert "sqlite3" not in set(imports(path))


@pytest.mark.parametrize("path", modules(CORE, PLUGIN), ids=name_of)
def test_the_sql_of_the_state_db_is_in_one_room(path: Path) -> None:
    """And no statement names both the ledger and the files."""
    for text in texts(path):
        if re.search(STATE_TABLES, text):
            assert name_of(path).startswith("mmmeta.state."), text
            assert not re.search(FILES_TABLE, text), text


@pytest.mark.parametrize("path", modules(CORE, PLUGIN), ids=name_of)
def test_writes_into_a_metadir_begin_in_one_place(path: Path) -> None:
    """``writing``, which keeps old metadirs as they are; what is made elsewhere lies in no metadir."""
    if name_of(path) == "mmmeta.writing" or name_of(path).startswith(("mmmeta.documents.", "mmmeta.target.")):
        return
    making = {"mkdir", "makedirs", "write_bytes", "write_text", "mkstemp", "mkdtemp"}
    called = {node.func.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
              and isinstance(node.func, ast.Attribute)}  # fmt: skip
    assert called.isdisjoint(making)


@pytest.mark.parametrize("path", modules(PLUGIN), ids=name_of)
def test_the_plugin_opens_no_database(path: Path) -> None:
    """It asks the library."""
    opening = (
        "mmmeta.sqlite.database",
        "mmmeta.sqlite.connection",
        "mmmeta.metadata.database",
        "mmmeta.state.database",
        "sqlite3",
        "sqlalchemy",
        "dataset",
    )
    assert not [name for name in imports(path) if name.startswith(opening)]


@pytest.mark.parametrize("path", modules(CORE), ids=name_of)
def test_the_core_never_imports_dagster(path: Path) -> None:
    """Not even inside a function."""
    assert not [name for name in imports(path) if name.split(".")[0] in ("dagster", "mmmeta_dagster")]


@pytest.mark.parametrize("path", modules(PLUGIN), ids=name_of)
def test_the_plugin_uses_public_dagster_only(path: Path) -> None:
    """Nothing whose path has an underscored part."""
    private = [
        name
        for name in imports(path)
        if name.split(".")[0].startswith("dagster") and any(part.startswith("_") for part in name.split("."))
    ]
    assert not private


@pytest.mark.parametrize("path", modules(CORE, PLUGIN, ROOT / "tests", ROOT / "benchmarks", ROOT / "examples"), ids=str)
def test_no_file_is_long(path: Path) -> None:
    """At most 400 lines, tests as well."""
    assert len(path.read_text().splitlines()) <= 400


PUBLIC = {
    "mmmeta": "mmmeta Metadir File Files Job JobConfig Store UpdateReport GenerateReport RunReport load_project",
    "mmmeta.project": "JobConfig MetadirConfig Project find_project load_project job_config json_schema schema_text",
    "mmmeta.filters": "parse parse_text describe to_where Condition Compare All AnyOf Not Ago OPERATORS",
    "mmmeta_dagster": "MetadirResource MetadirComponent DagsterMmmetaTranslator mmmeta_asset build_definitions build_checks "
    "build_metadir_assets build_remote_sensor build_schedules build_jobs build_import_job",
    "mmmeta_dagster.keys": "asset_key",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_imports_stay(module: str) -> None:
    """Wherever rooms move, this is where people find things."""
    code = f"from {module} import {', '.join(PUBLIC[module].split())}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_two_test_files_have_one_name() -> None:
    """Pytest collects neither then, and the whole suite does not begin."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_public_name_is_a_module_too() -> None:
    """Importing the module would put it in the place of what people ask for."""
    import mmmeta.project

    modules = {path.stem for path in (CORE / "project").iterdir()}
    assert modules.isdisjoint(mmmeta.project.__all__)


def test_import_is_light() -> None:
    """``import mmmeta`` and opening a metadir bring nothing that is not needed yet."""
    code = (
        "import sys; from mmmeta import mmmeta; mmmeta('.');"
        "print(*sorted({'dagster', 'pandas', 'alembic', 'sqlalchemy', 'dataset', 'rich', 'click'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
