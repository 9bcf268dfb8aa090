"""Fixtures of these tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from log_support import LAST, log_of, record, sync

from mmmeta import mmmeta
from mmmeta.metadata.generate import hashing


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys of the documents that were read."""
    keys: list[bytes] = []
    real = hashing.hash_document

    def counted(key: bytes, *more: Any) -> hashing.Hashed:
        keys.append(key)
        return real(key, *more)

    monkeypatch.setattr(hashing, "hash_document", counted)
    return keys


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Base paths of a server and a client; nothing is there yet."""
    (tmp_path / "server").mkdir()
    return tmp_path / "server", tmp_path / "client"


@pytest.fixture
def published(pair: tuple[Path, Path]) -> tuple[Path, Path]:
    """Three publications, of which the client has merged the first and has the others before it."""
    server, client = pair
    with mmmeta(server) as m:
        m.files.insert_many(record(number) for number in range(60))
        sync(pair)
        with mmmeta(client) as c:
            c.update()
            for file in c.files.find(content_hash=["00001", "00002"]):
                file["mine"] = file.unique_value
                file.save()
        for version in (1, 2):
            with m.bulk():
                m.files.upsert_many(
                    [record(number, version=version) for number in range(version, version + 3)], ["content_hash"]
                )
    sync(pair)
    assert [segment.name for segment in log_of(server).segments] == ["1-1.jsonl.gz", "2-2.jsonl.gz", LAST]
    return pair
