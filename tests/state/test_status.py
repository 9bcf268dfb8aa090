"""status.json: what is written reads back, and nothing that can lie there raises."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmeta import mmmeta
from mmmeta.state.status import JobStatus, Status, file_version, read_status, write_status

UTC = timezone.utc
NOW = datetime(2024, 5, 1, 10, 30, 0, 5, tzinfo=UTC)
JOB = JobStatus("f1", 1, 2, 3, 4, 5, 6, 7, NOW, NOW + timedelta(minutes=10), NOW - timedelta(seconds=1), "run")
JOBS = {"b": JOB, "a": JobStatus("f2")}
STATUS = Status("s", "m", 12, "ab" * 16, "2024-05-01T10:30:00+00:00\n", 40, NOW, JOBS, "5", "4096 1 1 7")


def test_a_status_reads_back_equal(tmp_path: Path) -> None:
    """With its moments aware and its jobs in their order; the folder is made."""
    path = tmp_path / "local" / "status.json"
    write_status(path, STATUS)
    back = read_status(path)
    assert back == STATUS
    assert back is not None
    assert list(back.jobs) == ["b", "a"]
    assert [entry.name for entry in path.parent.iterdir()] == ["status.json"]


def test_a_path_may_be_text(tmp_path: Path) -> None:
    """As everywhere; it was an unknown status."""
    write_status(tmp_path / "status.json", STATUS)
    assert read_status(str(tmp_path / "status.json")) == STATUS


def test_before_the_first_update(tmp_path: Path) -> None:
    """Nothing merged is None, not an empty text."""
    status = Status("s", None, None, None, None, 0, NOW)
    write_status(tmp_path / "x", status)
    assert status == read_status(tmp_path / "x")


def test_moments_in_another_zone_read_back_as_utc(tmp_path: Path) -> None:
    """The moment counts, and only that is kept."""
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    write_status(tmp_path / "x", Status("s", None, None, None, None, 0, there))
    back = read_status(tmp_path / "x")
    assert back is not None
    assert back.written_at == NOW
    assert back.written_at.tzinfo is UTC


def test_a_moment_without_zone_is_refused(tmp_path: Path) -> None:
    """A naive datetime would mean something else in each time zone."""
    with pytest.raises(ValueError, match="no time zone"):
        write_status(tmp_path / "x", Status("s", None, None, None, None, 0, datetime(2024, 5, 1)))
    assert not (tmp_path / "x").exists()


def test_every_cut_of_the_file_is_unknown(tmp_path: Path) -> None:
    """A reader of a half-written file learns nothing wrong from it."""
    path = tmp_path / "status.json"
    write_status(path, STATUS)
    whole = path.read_bytes()
    # The last byte is the line end; without it the file is whole.
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        assert read_status(path) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"5", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}', b'{"format": NaN}', b"1e999"],
    ids=lambda content: repr(content)[:20],
)
def test_garbage_is_unknown(tmp_path: Path, content: bytes) -> None:
    """Whatever it is."""
    (tmp_path / "x").write_bytes(content)
    assert read_status(tmp_path / "x") is None


def test_what_is_not_there_or_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    """A missing file, a folder, a file as folder."""
    assert read_status(tmp_path / "missing") is None
    assert read_status(tmp_path) is None
    (tmp_path / "file").write_text("x")
    assert read_status(tmp_path / "file" / "x") is None


CHANGES: list[tuple[str, Any]] = [
    ("format", 2),
    ("format", "1"),
    ("state_id", None),
    ("revision", -1),
    ("revision", 1.5),
    ("revision", True),
    ("state_revision", "4"),
    ("written_at", "2024-05-01T10:00:00"),
    ("written_at", "yesterday"),
    ("written_at", 5),
    ("jobs", None),
    ("jobs", []),
    ("jobs", {"a": None}),
    ("jobs", {"a": {"fingerprint": "x"}}),
    ("remote_last_updated", 5),
]


@pytest.mark.parametrize(("key", "value"), CHANGES)
def test_another_shape_or_a_newer_format_is_unknown(tmp_path: Path, key: str, value: Any) -> None:
    """Types are checked: a status that is believed decides whether work is asked for."""
    path = tmp_path / "status.json"
    write_status(path, STATUS)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert read_status(path) is None


def test_keys_that_a_later_version_adds_are_passed_over(tmp_path: Path) -> None:
    """Within the same format."""
    path = tmp_path / "status.json"
    write_status(path, STATUS)
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": [1]}))
    assert read_status(path) == STATUS


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MOMENTS = st.datetimes(timezones=st.just(UTC))
COUNTS = st.integers(min_value=0)
JOBS = st.builds(
    JobStatus,
    TEXT,
    *[COUNTS] * 7,
    *[st.none() | MOMENTS] * 3,
    st.none() | TEXT,
)


@given(
    st.builds(
        Status,
        TEXT,
        st.none() | TEXT,
        st.none() | COUNTS,
        st.none() | TEXT,
        st.none() | TEXT,
        COUNTS,
        MOMENTS,
        st.dictionaries(TEXT, JOBS, max_size=3),
    )
)
@settings(max_examples=50, deadline=None)
def test_any_status_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, status: Status) -> None:
    """Whatever the ids, texts, counts and moments are."""
    path = tmp_path_factory.getbasetemp() / "any-status.json"
    write_status(path, status)
    assert status == read_status(path)


def test_a_save_is_told_of_once_and_only_where_a_job_asks_for_the_key(tmp_path: Path) -> None:
    """status.json says that a selection is behind; who saves a thousand files does not write it a thousand times."""
    with mmmeta(tmp_path) as m:
        m.files.insert(content_hash="a", pages=1)
        m.files.insert(content_hash="b", pages=2)
        m.update()
        job = m.job("marked", where={"mark": "x"})
        job.run(lambda file: None)
        path = m.layout.status

        def behind() -> bool:
            status = read_status(path)
            assert status is not None
            return status.jobs["marked"].evaluated < status.state_revision

        def save(name: str, key: str) -> str | None:
            file = m.files.find_one(content_hash=name)
            assert file is not None
            file[key] = "x"
            file.save()
            return file_version(path)

        before = file_version(path)
        assert save("a", "other") == before
        told = save("a", "mark")
        assert told != before
        assert behind()
        assert save("b", "mark") == told
        assert job.run(lambda file: None).done == 2
        assert not behind()
        save("a", "mark")
        assert behind()
