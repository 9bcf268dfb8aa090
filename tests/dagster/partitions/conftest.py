"""Fixtures of these tests."""

from __future__ import annotations

import pytest
from partitioned import PROJECT
from small_archive import Archive


@pytest.fixture
def scraped(empty_archive: Archive) -> Archive:
    """A file on each of four days in May, by two publishers, and one that nobody knows a day or publisher of."""
    empty_archive.configure(PROJECT)
    for day in range(1, 5):
        empty_archive.write(
            f"day{day}", "contract", retrieved_at=f"2026-05-0{day}T12:00:00", publisher={"name": f"Ministry, {day % 2}"}
        )
    empty_archive.write("undated", "letter")
    empty_archive.publish()
    return empty_archive
