"""What the tests of the change log share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archives import copy_metadir

from mmmeta import Metadir
from mmmeta.metadata.changelog.head import LogHead, read_log

WITHOUT_DB = ("meta.db",)

LAST = "3-3.jsonl.gz"
"""The last segment that the fixture ``published`` has."""

VALUES: dict[str, Any] = {
    "text": "ä\u2028\n\x00",
    "digits": "00123",
    "big": 2**200,
    "half": 1.5,
    "minus": -0.0,
    "large": 1e16,
    "yes": True,
    "none": None,
    "list": [1, {"a": [None, True]}],
    "empty": {},
    "like a list": "[1]",
}


def record(number: int, **keys: Any) -> dict[str, Any]:
    return {"content_hash": f"{number:05d}", "title": f"title {number}", **keys}


def log_of(path: Path) -> LogHead:
    found = read_log(Metadir(path).layout)
    assert found is not None
    return found


def rows_of(metadir: Metadir) -> dict[str, str]:
    """All files, deleted ones too, with the types of their values."""
    metadir.ignore_news()
    found = metadir.files.find(deleted=None)
    return {file.unique_value: repr((sorted(file.meta.items()), file.deleted)) for file in found}


def sync(pair: tuple[Path, Path], without: tuple[str, ...] = WITHOUT_DB) -> None:
    copy_metadir(*pair, without=without)
