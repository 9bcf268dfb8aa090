"""inspect: it tells what is there, and creates nothing."""

from __future__ import annotations

import json
from pathlib import Path

from cli_support import Run, command, write


def test_inspect_creates_nothing_in_an_empty_folder(tmp_path: Path) -> None:
    """It only looks."""
    empty = tmp_path / "empty"
    empty.mkdir()
    result = command("--metadir", empty, "inspect")
    assert result.returncode == 0
    assert "no metadir yet" in result.stdout
    assert json.loads(command("--metadir", empty, "inspect", "--json").stdout)["exists"] is False
    assert list(empty.iterdir()) == []


def test_inspect_tells_unreadable_from_missing(tmp_path: Path, run: Run) -> None:
    """A meta.db that is no database is there nevertheless."""
    write(tmp_path / "_mmmeta", "meta.db", "hello")
    result = run("--metadir", tmp_path, "inspect", code=3)
    assert "metadata db cannot be read" in " ".join(result.stdout.split())
    assert "is not an SQLite database" in result.stderr
    assert json.loads(run("--metadir", tmp_path, "inspect", "--json", code=3).stdout)["unreadable"] == ["metadata"]


def test_inspect_says_how_many_values_documents_have_told(tmp_path: Path, run: Run) -> None:
    """In all and by key."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.pdf").write_text(name)
    write(tmp_path, "a.pdf.json", {"title": "A"})
    write(tmp_path, "b.json", {"title": "B", "size": 9})
    run("--metadir", tmp_path, "generate")
    told = json.loads(run("--metadir", tmp_path, "inspect", "--json").stdout)["metadata_db"]["derived"]
    assert (told["content_hash"], told["size"], sum(told.values())) == (2, 1, 15)
    assert "15 values: _file_name 2, content_hash 2" in run("--metadir", tmp_path, "inspect").stdout
