"""The recipe of docs/operations.md: Datasette serves a metadata db as it lies there, and a copy of a state db."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from archives import Archive

from mmmeta.state.backup import back_up

if find_spec("datasette") is None:  # importing it changes how SQLite tells errors, for the whole process
    pytest.skip("datasette is not installed", allow_module_level=True)


@contextmanager
def served(path: Path) -> Iterator[str]:
    """Served at a free port of this machine; gives the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    words = [sys.executable, "-m", "datasette", "--immutable", str(path), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def asked(url: str) -> Any:
    """What it answers, as soon as it does."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(url, timeout=30) as answer:
                return json.load(answer)
        except URLError as error:
            if not isinstance(error.reason, ConnectionError) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_metadata_db_and_a_copy_of_a_state_db(archive: Archive, tmp_path: Path) -> None:
    """Rows with keys as columns, nothing written beside them; and the ledger of the copy."""
    archive.write("a", title="Ä", pages=3, publisher={"name": "Land"}, public=True, tags=["x"])
    archive.write("b", pages=12)
    archive.deliver()
    archive.client.job("see", where={"pages": 3}).run(lambda file: None)
    meta = archive.client.layout.meta_db
    before = sorted(path.name for path in meta.parent.iterdir()), meta.read_bytes()
    with served(meta) as address:
        rows = asked(f"{address}/meta/files.json?_shape=array&__deleted=0&pages__gt=5")
        assert [row["content_hash"] for row in rows] == ["b"]
        (row,) = asked(f"{address}/meta/files.json?_shape=array&content_hash=a")
        assert (row["title"], row["publisher:name"], row["public"], row["tags"]) == ("Ä", "Land", 1, '["x"]')
    assert (sorted(path.name for path in meta.parent.iterdir()), meta.read_bytes()) == before
    back_up(archive.client.layout.state, tmp_path / "served.db")
    with served(tmp_path / "served.db") as address:
        sql = "select+job,status,count(*)+as+files+from+ledger+group+by+1,2"
        assert asked(f"{address}/served.json?sql={sql}&_shape=array") == [{"job": "see", "status": "done", "files": 1}]
