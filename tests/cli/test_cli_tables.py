"""Tables, whatever the width of the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_support import Run


def test_tables_are_never_cut(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal may be too narrow; then the table is wider."""
    run("run", code=3)
    monkeypatch.setenv("COLUMNS", "30")
    output = run("status").stdout
    assert "everything" in output
    assert str(project.parent / "client") in "".join(output.split())
    assert "c3" in run("find", "--columns", "content_hash,title,document_type,pages,_file_name").stdout
