"""Documents with metadata files beside them that know little, for tests of ``derive``."""

from __future__ import annotations

import json
import time
from hashlib import sha1
from pathlib import Path
from typing import Any

from archives import Archive

OLD = 1_700_000_000


def document(root: Path, name: str, content: bytes | None = None) -> str:
    """Write a document; returns its SHA-1."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = name.encode() if content is None else content
    path.write_bytes(data)
    return sha1(data, usedforsecurity=False).hexdigest()


def sidecar(root: Path, name: str, /, **keys: Any) -> Path:
    """Write a metadata file under just this name."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(keys))
    return path


def configure(archive: Archive, text: str) -> None:
    """Write config.yml."""
    archive.server.layout.metadir.mkdir(exist_ok=True)
    archive.server.layout.config.write_text(text)


def files(archive: Archive) -> dict[str, dict[str, Any]]:
    """The server's files."""
    return {file.unique_value: dict(file) for file in archive.server.files}


def settle() -> None:
    """What is written from here on has another stamp than what was written before."""
    time.sleep(0.02)
