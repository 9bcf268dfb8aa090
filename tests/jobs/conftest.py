"""Fixtures of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from mirror import Mirror
from servers import Web


@pytest.fixture
def web() -> Iterator[Web]:
    with Web().running() as server:
        yield server


@pytest.fixture
def by_id(archive: Archive, tmp_path: Path) -> Any:
    mirror = Mirror(archive, tmp_path, "id")
    yield mirror
    mirror.client.close()
