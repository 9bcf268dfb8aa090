"""store: from a shell as in the library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import Run, tree

from mmmeta import mmmeta


def test_store_from_a_shell(server: Path, run: Run) -> None:
    """List, read, write, touch, delete; types as in the library."""
    assert "remote_revision" in run("--metadir", server, "store").stdout
    run("--metadir", server, "store", "set", "batch", "17")
    run("--metadir", server, "store", "set", "--text", "zip", "01067")
    run("--metadir", server, "store", "set", "local_note", "hello world")
    with mmmeta(server) as m:
        assert (m.store["batch"], m.store["zip"], m.store["local_note"]) == (17, "01067", "hello world")
    assert run("--metadir", server, "store", "get", "zip").stdout == "01067\n"
    assert run("--metadir", server, "store", "get", "batch", "--json").stdout == "17\n"
    assert json.loads(run("--metadir", server, "store", "--json").stdout)["batch"] == 17
    touched = run("--metadir", server, "store", "touch", "documents_last_updated").stdout.split()[-1]
    assert run("--metadir", server, "store", "get", "documents_last_updated").stdout.strip() == touched
    assert touched.endswith("+00:00")
    run("--metadir", server, "store", "delete", "batch")
    assert "no key 'batch'" in run("--metadir", server, "store", "get", "batch", code=1).stderr
    assert "no key" in run("--metadir", server, "store", "delete", "batch", code=1).stderr


@pytest.mark.parametrize("key", ["", "a/b", "..", "a\\b", ".hidden", "x" * 300])
def test_store_keys_that_cannot_be(key: str, server: Path, run: Run) -> None:
    """One line, nothing written, in a dry run too."""
    before = tree(server)
    for words in (("set", key, "1"), ("set", key, "1", "--dry-run"), ("touch", key), ("get", key), ("delete", key)):
        assert run("--metadir", server, "store", *words, code=1).stderr.startswith("Error: ")
    assert tree(server) == before
