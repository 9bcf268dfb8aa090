"""The demo does what the README says: 12 files done, then 3, then none; and it can be run again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from examples.demo.archive import KINDS, RECENT, correct_title, first_documents, write_document

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the demo needs of the repository, in a folder with a blank in its name."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mmmeta.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def run(clone: Path, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command in the clone, without what the tests' own environment has set."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MMMETA", "DAGSTER"))}
    environment |= {"HOME": str(home or clone / "home")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_demo_runs_over_what_an_earlier_one_left(clone: Path) -> None:
    """Each run does what is new and nothing else, whatever was there before."""
    assert run(clone, "examples.demo", "publish").returncode == 0
    (clone / "demo" / "downloads").mkdir()
    (clone / "demo" / "downloads" / "contract-001.pdf").write_bytes(b"of an earlier demo")
    (clone / "demo" / "documents.db").write_bytes(b"of an earlier demo")
    result = run(clone, "examples.demo")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = [line.split("│") for line in result.stdout.splitlines() if line.startswith("│ download_contracts")]
    assert [row[4].strip() for row in rows] == ["12", "3", "0"]
    assert result.stderr == ""
    demo = clone / "demo"
    downloads = sorted(path.name for path in (demo / "downloads").iterdir())
    assert [f"contract-{number:03}.pdf" for number in range(1, 15)] == downloads
    replaced = json.loads((demo / "server" / "contract" / "contract-003.json").read_text())
    assert replaced["content_hash"] == hashlib.sha1((demo / "downloads" / "contract-003.pdf").read_bytes()).hexdigest()
    connection = sqlite3.connect(demo / "documents.db")
    rows = connection.execute("SELECT document_type, count(*) FROM documents GROUP BY 1 ORDER BY 1").fetchall()
    connection.close()
    assert rows == [("contract", 8), ("invoice", 6), ("letter", 2), ("report", 3)]


@pytest.mark.slow
def test_publish_changes_what_a_sensor_notices(clone: Path) -> None:
    """``publish`` makes the archive where there is none, and the client's store moves each time."""
    store = clone / "demo" / "client" / "_mmmeta" / "_store" / "remote_last_updated"
    seen = set()
    for expected in (45, 50):
        result = run(clone, "examples.demo", "publish")
        assert result.returncode == 0, result.stderr
        assert expected == len(list((clone / "demo" / "server").glob("[!_]*/*.json")))
        seen.add(store.read_text())
    assert len(seen) == 2
    assert not (clone / "demo" / "client" / "_mmmeta" / "local").exists()


@pytest.mark.slow
def test_before_the_demo_everything_says_what_is_missing(clone: Path) -> None:
    """In the root of a fresh clone: the code location loads, a run fails with one line, and nothing is made."""
    dagster = run(clone, "dagster", "job", "execute", "-m", "mmmeta_dagster.definitions", "-j", "archive_import")
    assert dagster.returncode != 0
    assert "no metadata db" in dagster.stderr.replace("There is no", "no")
    command = run(clone, "mmmeta", "update")
    assert command.returncode == 1
    assert "Traceback" not in command.stderr
    assert len(command.stderr.strip().splitlines()) == 1, command.stderr
    assert not (clone / "demo").exists()


def test_the_archive_is_what_a_scraper_leaves(tmp_path: Path) -> None:
    """Types, ages and digests; the PDFs are PDFs; the same bytes for the same moment."""
    now = datetime(2026, 3, 1, 12)
    documents = first_documents(now)
    assert {kind: sum(document.kind == kind for document in documents) for kind in KINDS} == KINDS
    recent = [document for document in documents if document.retrieved_at > now - timedelta(days=6)]
    assert sum(RECENT.values()) == len(recent)
    assert all(document.retrieved_at < now - timedelta(days=14) for document in documents if document not in recent)
    for folder in (tmp_path / "a", tmp_path / "b"):
        for document in documents:
            write_document(folder, document)
    for path in (tmp_path / "a").glob("*/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        content = (path.parent / record["_file_name"]).read_bytes()
        assert hashlib.sha1(content).hexdigest() == record["content_hash"]
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
        assert content.startswith(b"%PDF-" if record["extension"] == "pdf" else b"Letter")
    before = json.loads((tmp_path / "a" / "report" / "report-001.json").read_text())
    correct_title(tmp_path / "a", "report", 1)
    after = json.loads((tmp_path / "a" / "report" / "report-001.json").read_text())
    assert {"title"} == {key for key in after if after[key] != before[key]}
