"""The example project loads with ``dg`` and does what its README says; also with real parliamentary papers."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

dg = pytest.importorskip("dagster")
duckdb = pytest.importorskip("duckdb")
pytest.importorskip("dagster_duckdb", reason="there is no dagster-duckdb of this Dagster's version")

# Dagster rebuilds the asset checks that a folder of definitions brings, with a parameter of its own that it calls beta.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Parameter `execution_type` of function `AssetsDefinition"),
]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "project"


@dataclass
class Project:
    """A copy of the example, loaded into this process."""

    root: Path
    sample: ModuleType

    @property
    def data(self) -> Path:
        return self.root / "data"

    def publish(self, **papers: list[str]) -> None:
        """Write papers of these lines at the server and publish them all."""
        for name, lines in papers.items():
            self.sample.write_paper(name, "Hafenamt", lines, self.data / "server")
        self.sample.publish(self.data)

    def run(self, job: str = "papers_import") -> dict[str, dict[str, Any]]:
        """One run of a Dagster job; asset → the metadata that its materialization has."""
        definitions = dg.load_from_defs_folder(path_within_project=self.root / "src" / "document_texts")
        with dg.DagsterInstance.ephemeral() as instance:
            result = definitions.resolve_job_def(job).execute_in_process(instance=instance)
        return {
            event.asset_key.to_user_string(): {
                key: value.value for key, value in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
        }

    def rows(self, query: str = "SELECT id, text FROM texts ORDER BY id") -> list[tuple[Any, ...]]:
        """What DuckDB has."""
        with duckdb.connect(str(self.data / "texts.duckdb"), read_only=True) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(query).fetchall()
        return rows


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The example in a folder of its own, without what somebody's trial left in it."""
    root = tmp_path / "project"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("data", "__pycache__", ".venv", ".dg"))
    monkeypatch.syspath_prepend(root / "src")
    yield Project(root, importlib.import_module("document_texts.sample"))
    for name in [name for name in sys.modules if name.split(".")[0] == "document_texts"]:
        del sys.modules[name]


def test_dg_finds_nothing_wrong_with_it(project: Project) -> None:
    """The README's command, which imports everything."""
    pytest.importorskip("dagster_dg_cli", reason="there is no dg of this Dagster's version")
    from dagster_projects import run_dg

    checked = run_dg(project.root, "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All definitions loaded successfully." in checked.stdout + checked.stderr


def test_each_pdf_is_in_duckdb_once_and_again_when_it_changes(project: Project) -> None:
    """Twice nothing, a change, a deletion; the ordinary asset downstream counts them."""
    project.publish(one=["First", "line two"], two=["Second"])
    assert project.run()["papers/texts"]["done"] == 2
    assert project.rows() == [("one", "First\nline two\n"), ("two", "Second\n")]
    assert project.run()["papers/texts"]["done"] == 0
    project.publish(two=["Changed"])
    assert project.run()["papers/texts"]["done"] == 1
    assert project.rows()[1] == ("two", "Changed\n")
    (project.data / "server" / "one.json").unlink()
    project.publish()
    project.run()
    assert project.rows() == [("two", "Changed\n")]
    assert project.rows("SELECT publisher, pages FROM texts") == [("Hafenamt", 1)]


def test_a_document_that_is_no_pdf_stops_no_other(project: Project) -> None:
    """It is named, and waits for its next attempt."""
    broken = b"no PDF at all"
    server = project.data / "server"
    project.publish(good=["Good"])
    (server / "bad.pdf").write_bytes(broken)
    digest = hashlib.sha1(broken, usedforsecurity=False).hexdigest()
    metadata = {"foreign_id": "bad", "content_hash": digest, "_file_name": "bad.pdf", "extension": "pdf"}
    (server / "bad.json").write_text(json.dumps(metadata))
    project.publish()
    texts = project.run()["papers/texts"]
    assert (texts["done"], texts["failed"]) == (1, 1)
    assert "bad" in texts["failures"]
    assert project.rows("SELECT id FROM texts") == [("good",)]


def test_real_papers(project: Project, landtag: Path) -> None:
    """Of a parliament: many pages, umlauts."""
    server = project.data / "server"
    shutil.copytree(landtag, server)
    for path in server.glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "extension": "pdf"}))
    project.publish()
    papers = len(list(server.glob("*.json")))
    assert project.run()["papers/texts"]["done"] == papers
    ((count, shortest),) = project.rows("SELECT count(*), min(length(text)) FROM texts")
    assert count == papers
    assert shortest > 1000
    ((found,),) = project.rows("SELECT count(*) FROM texts WHERE text LIKE '%Baden-Württemberg%'")
    assert found == papers


def test_the_sample_s_command(project: Project) -> None:
    """What the README starts with."""
    command = [sys.executable, "-m", "document_texts.sample"]
    made = subprocess.run(command, cwd=project.root / "src", capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("3 papers published")
