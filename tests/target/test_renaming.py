"""Receipts of a job that gets another name, in each kind of database."""

from __future__ import annotations

from pathlib import Path

import pytest
from sql_target import receipts, write

from mmmeta.target import renaming
from mmmeta.target.renaming import copy_receipts, drop_receipts
from mmmeta.target.target import SqlTarget


def test_receipts_follow_their_job(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, once more does no harm, a later one stays, and other jobs' are left alone."""
    monkeypatch.setattr(renaming, "AT_ONCE", 2)
    with SqlTarget(url, "documents", "id") as target:
        write(target, *[(name, {"title": name}, 5) for name in "abcde"], job="old")
        write(target, ("a", {"title": "a"}, 6), job="old_too")
        write(target, ("b", {"title": "b"}, 9), job="new")
        state_id = "state"
        assert copy_receipts(url, "documents", state_id=state_id, old="old", new="new", dry_run=True) == 5
        assert receipts(url, *"abcde", job="new") == {"b": 9}
        for _ in range(2):
            assert copy_receipts(url, "documents", state_id=state_id, old="old", new="new") == 5
        assert receipts(url, *"abcde", job="new") == {"a": 5, "b": 9, "c": 5, "d": 5, "e": 5}
        assert receipts(url, *"abcde", job="old") == dict.fromkeys("abcde", 5)
        assert copy_receipts(url, "documents", state_id="another", old="old", new="new") == 0
        assert drop_receipts(url, "documents", state_id=state_id, job="old") == 5
        assert receipts(url, *"abcde", job="old") == {}
        assert receipts(url, "a", job="old_too") == {"a": 6}


def test_where_there_are_none(tmp_path: Path) -> None:
    """No database is made for that."""
    url = f"sqlite:///{tmp_path}/none.db"
    assert copy_receipts(url, "documents", state_id="x", old="old", new="new") == 0
    assert list(tmp_path.iterdir()) == []
