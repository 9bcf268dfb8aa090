"""What a selection cannot be compared with is counted and named, by ``plan`` and by ``why``: it must not drop out unseen."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest
from archives import Archive

from mmmeta import Job

DATES = {"date": "2024-04-05", "moment": "2024-04-05T10:00:00Z", "early": "2020-01-01"}
ODD_DATES = {"german": "05.04.2024", "words": "5 April 2024", "year": 2024, "several": ["2024-04-05"], "yes": True}


@pytest.fixture
def archive(archive_by_id: Archive) -> Archive:
    """Files have names of their own, in all of these tests."""
    return archive_by_id


def publish(archive: Archive, key: str, values: dict[str, Any]) -> None:
    """A file for each value, one without and one with null."""
    rows = [{"id": name, "content_hash": "1", key: value} for name, value in values.items()]
    archive.server.files.upsert_many([*rows, {"id": "absent", "content_hash": "1"}], ["id"])
    archive.server.files.upsert({"id": "null", "content_hash": "1", key: None}, ["id"])
    archive.sync()
    archive.client.update()


def named(job: Job) -> dict[str, tuple[str, int]]:
    """Key → what its values are not, and how many files have such a one."""
    return {mismatch.key: (mismatch.what, mismatch.files) for mismatch in job.plan().mismatched}


@pytest.mark.parametrize(
    "condition",
    [
        {">=": date(2024, 1, 1)},
        {">": datetime(2024, 1, 1, tzinfo=timezone.utc)},
        {"<": date(2019, 1, 1)},
        {">=": {"ago": "36500d"}},
        {"between": [date(2024, 1, 1), date(2024, 12, 31)]},
        {"=": date(2024, 4, 5)},
    ],
)
def test_what_is_no_date(archive: Archive, condition: dict[str, Any]) -> None:
    """In other words than ISO 8601, a number, a list, true."""
    publish(archive, "at", {**DATES, **ODD_DATES})
    job = archive.client.job("job", where={"at": condition})
    (mismatch,) = job.plan().mismatched
    assert (mismatch.key, mismatch.what, mismatch.files) == ("at", "is no date", len(ODD_DATES))
    assert {**mismatch.such_as, **ODD_DATES} == ODD_DATES
    assert len(mismatch.such_as) == 3
    assert job.plan().lacking == {"at": 2}


@pytest.mark.parametrize(
    ("condition", "what", "odd"),
    [
        ({">": 2}, "is no number", ["text", "list", "true"]),
        ({"between": [2, 9]}, "is no number", ["text", "list", "true"]),
        ({"=": 10}, "is no number", ["text", "list", "true"]),
        ({"in": [10, 11]}, "is no number", ["text", "list", "true"]),
        ({">": "2"}, "is no text", ["number", "huge", "half", "list", "true"]),
        ({"=": "10"}, "is no text", ["number", "huge", "half", "list", "true"]),
        ({"like": "1%"}, "is no text", ["number", "huge", "half", "list", "true"]),
        ({"notlike": "1%"}, "is no text", ["number", "huge", "half", "list", "true"]),
        ({"startswith": "1"}, "is no text", ["number", "huge", "half", "list", "true"]),
        ({"in": ["10", 10]}, "is neither a number nor a text", ["list", "true"]),
        ({"in": ["10", None]}, "is no text", ["number", "huge", "half", "list", "true"]),
        ({"=": True}, "is neither true nor false", ["number", "huge", "half", "list", "text"]),
        ({"=": False}, "is neither true nor false", ["number", "huge", "half", "list", "text"]),
    ],
)
def test_what_is_of_another_kind(archive: Archive, condition: dict[str, Any], what: str, odd: list[str]) -> None:
    """Numbers as text, texts that are numbers, lists; numbers of all sizes are numbers."""
    values = {"number": 10, "huge": 2**80, "half": 10.5, "text": "10", "list": [10], "true": True}
    publish(archive, "pages", values)
    job = archive.client.job("job", where={"pages": condition})
    assert named(job) == {"pages": (what, len(odd))}
    for name in values:
        told = "\n".join(job.why(name).lines)
        assert (f", which {what}." in told) == (name in odd), told


@pytest.mark.parametrize(
    "where",
    [
        {"pages": {"!=": 3}},
        {"pages": {"notin": [3]}},
        {"$not": {"pages": {">": 3}}},
        {"$any": [{"pages": {">": 3}}, {"id": {"like": "%"}}]},
    ],
)
def test_what_is_meant_all_the_same_is_not_counted(archive: Archive, where: dict[str, Any]) -> None:
    """Nor is it said to have no such key."""
    publish(archive, "pages", {"text": "10"})
    plan = archive.client.job("job", where=where).plan()
    assert plan.mismatched == ()
    assert "pages" not in plan.lacking or "$not" not in where


def test_a_column_of_the_clients_own_counts_first(archive: Archive) -> None:
    """It hides what the remote has."""
    publish(archive, "at", DATES)
    for name, value in (("date", "5. April"), ("early", "2024-05-05")):
        file = archive.client.files.get(name)
        assert file is not None
        file["at"] = value
        file.save()
    job = archive.client.job("job", where={"at": {">=": date(2024, 1, 1)}})
    (mismatch,) = job.plan().mismatched
    assert mismatch.such_as == {"date": "5. April"}


def test_a_date_that_never_was(archive: Archive) -> None:
    """Where it is not meant all the same, because it begins like one."""
    publish(archive, "at", {"never": "2024-13-45", "late": "2024-05-05T25:00:00"})
    job = archive.client.job("job", where={"at": {"<": date(2024, 1, 1)}})
    assert named(job) == {"at": ("is no date", 2)}


def test_a_date_that_is_written_as_text(archive: Archive) -> None:
    """In quotes in YAML, or in Python: it is compared as text, and meant as a date."""
    publish(archive, "at", {**DATES, "german": "05.04.2024"})
    job = archive.client.job("job", where={"at": {">=": "2024-01-01"}})
    assert named(job) == {"at": ("is no date", 1)}


def test_deleted_files_are_not_counted(archive: Archive) -> None:
    publish(archive, "at", ODD_DATES)
    archive.server.files.delete(id="german")
    archive.sync()
    archive.client.update()
    assert named(archive.client.job("job", where={"at": {">=": date(2024, 1, 1)}})) == {"at": ("is no date", 4)}


def test_why_says_that_it_is_no_date(archive: Archive) -> None:
    """And of a date that is too early that, and no more."""
    publish(archive, "at", {**DATES, **ODD_DATES})
    job = archive.client.job("job", where={"at": {">=": date(2024, 1, 1)}})
    assert job.why("german").lines[1:] == [
        'Not selected, because this does not hold: at is not before 2024-01-01. The file has at: "05.04.2024", which is no '
        "date."
    ]
    assert job.why("early").lines[1].endswith('The file has at: "2020-01-01".')
    assert job.why("absent").lines[1].endswith("The file has no at.")
    assert job.why("null").lines[1].endswith("The file has at: null.")
