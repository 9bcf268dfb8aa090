"""Fixtures of these tests."""

from __future__ import annotations

from typing import Any

import pytest

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
