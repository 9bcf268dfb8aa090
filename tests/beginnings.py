"""Folders for the tests of ``init``, and what it says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmmeta.init.begin import Beginning, begin
from mmmeta.layout import Layout

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def put(root: Path, name: str, content: object = b"document") -> None:
    """A document, a metadata file, or a text."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Mapping):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else str(content).encode())


def start(root: Path, **options: Any) -> Beginning:
    return begin(Layout.at(root), root / "mmmeta.yaml", now=NOW, **options)
