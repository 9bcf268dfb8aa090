"""Indexes over the keys that jobs select on: which keys get one, when, who says so, and what SQLite makes of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import pytest
from archives import Archive, deliver, nothing
from sql_plans import plans, statements, steps

from mmmeta import Metadir
from mmmeta.catalog.indexes import helped_keys
from mmmeta.errors import MmmetaError
from mmmeta.filters import parse
from mmmeta.project.job import JobConfig, job_config

SELECTING = "files.__rev, files.__deleted, "
"""What stands in the statements that read the files for a job."""

SINCE = {"retrieved_at": {">=": "2026-02-01"}}


def publish(archive: Archive, first: int = 0, **keys: Any) -> None:
    """Twenty more files, some in each month, merged."""
    archive.server.files.insert_many(
        {
            "content_hash": f"{number:04}",
            "retrieved_at": f"2026-{number % 12 + 1:02}-01",
            "kind": ("letter", "report")[number % 2],
            "pages": number,
            "public": number % 3 == 0,
            **keys,
        }
        for number in range(first, first + 20)
    )
    archive.sync()
    archive.client.update()


def indexes(archive: Archive) -> set[str]:
    """The indexes over metadata keys in the state db."""
    with archive.client._backend.state.database.reading() as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM pragma_index_list('files')")}
    return names - {"files_state_rev", "sqlite_autoindex_files_1"}


def of_files(found: list[str]) -> set[str]:
    """The steps that look for files."""
    return {step for step in found if step.startswith(("SEARCH files", "SCAN files"))}


# Which keys


@pytest.mark.parametrize(
    "where",
    [
        {"kind": "letter"},
        {"kind": ["letter", "report"]},
        {"pages": {"<": 3}},
        {"pages": {"<=": 3}},
        {"pages": {">": 3}},
        {"retrieved_at": {">=": {"ago": "7d"}}},
        {"retrieved_at": date(2026, 2, 1)},
        {"retrieved_at": {"<": datetime(2026, 2, 1)}},
        {"pages": {"between": [3, 7]}},
        {"retrieved_at": {"startswith": "2026-0"}},
        {"$all": [{"kind": "letter"}, {"$any": [{"pages": 1}, {"public": True}]}]},
        {"kind": "letter", "public": True},
    ],
)
def test_a_key_that_is_compared_gets_an_index(archive: Archive, where: dict[str, Any]) -> None:
    """And SQLite asks it when the selection is evaluated first, and when somebody finds or counts by it."""
    publish(archive)
    job = archive.client.job("job", where=where)
    found = steps(archive.client, job.evaluate, SELECTING)
    (name,) = indexes(archive)
    assert any(f"USING INDEX {name} " in step for step in found)
    found = steps(archive.client, lambda: list(archive.client.files.find(where)), "SELECT files.rowid FROM")
    assert any(f"{name} " in step for step in found)
    assert any(f"{name} " in step for step in steps(archive.client, job.selected, "SELECT count(*)"))


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"public": True},
        {"public": False},
        {"public": [True, False]},
        {"kind": None},
        {"kind": ["letter", None]},
        {"kind": {"!=": "letter"}},
        {"kind": {"notin": ["letter"]}},
        {"kind": {"like": "let%"}},
        {"kind": {"endswith": "er"}},
        {"kind": {"startswith": "let"}},
        {"$not": {"kind": "letter"}},
        {"$any": [{"kind": "letter"}, {"pages": 1}]},
        {"pages": "1"},
        {"kind": []},
        {"content_hash": "0001"},
        {"__state_rev": 1},
        {"nobody_has_it": 1},
    ],
)
@pytest.mark.filterwarnings("ignore::mmmeta.errors.UnknownKeyWarning")
def test_a_key_that_an_index_does_not_help_gets_none(archive: Archive, where: dict[str, Any]) -> None:
    """What is absent matches, each value is looked at, nothing can match, or there is an index already."""
    publish(archive)
    assert archive.client.job("job", where=where).evaluate().indexed == ()
    assert indexes(archive) == set()


def test_three_keys_of_a_condition_get_one_at_most(archive: Archive) -> None:
    """In its order, which does not depend on how it was written."""
    publish(archive, x=1)
    job = archive.client.job("job", where={"x": 1, "pages": {">": 1}, "retrieved_at": {">": "2026"}, "kind": "letter"})
    assert job.evaluate().indexed == ("kind", "pages", "retrieved_at")


def test_a_key_that_the_client_has_as_well_gets_none(archive: Archive) -> None:
    """Its own values come first: SQLite has to look at both."""
    publish(archive)
    (file,) = archive.client.files.find(content_hash="0001")
    file["kind"] = "mine"
    file["checked"] = "yes"
    file.save()
    for where in ({"kind": "letter"}, {"checked": "yes"}):
        assert helped_keys(archive.client._backend.catalog().compiler, parse(where)) == []


def test_a_rare_key_gets_none(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no column; the job works all the same."""
    monkeypatch.setattr("mmmeta.catalog.columns.COLUMN_LIMIT", {"remote": 2, "client": 500})
    publish(archive, rare="x")
    with pytest.raises(MmmetaError, match="rare"):
        archive.client.files.create_index("rare")
    evaluation = archive.client.job("job", where={"rare": "x"}).evaluate()
    assert (evaluation.selected, evaluation.indexed) == (20, ())


# When


def test_a_second_job_makes_no_second_index(archive: Archive) -> None:
    """Nor does one whose key a person has indexed, be it the first of several."""
    publish(archive)
    archive.client.files.create_index(["pages", "kind"])
    assert archive.client.job("one", where=SINCE).evaluate().indexed == ("retrieved_at",)
    assert archive.client.job("two", where={**SINCE, "pages": 3}).evaluate().indexed == ()
    assert indexes(archive) == {"files_by_retrieved_at", "files_by_pages_kind"}
    assert archive.client.files.has_index("retrieved_at")


def test_a_changed_selection_gets_its_index(archive: Archive) -> None:
    """At the first evaluation; what was made before stays."""
    publish(archive)
    archive.client.job("job", where=SINCE).evaluate()
    assert archive.client.job("job", where={"kind": "letter"}).evaluate().indexed == ("kind",)
    assert indexes(archive) == {"files_by_retrieved_at", "files_by_kind"}


@pytest.mark.filterwarnings("ignore::mmmeta.errors.UnknownKeyWarning")
def test_a_key_that_comes_later_gets_its_index_then(archive: Archive) -> None:
    """With the update that brings it."""
    publish(archive)
    job = archive.client.job("job", where={"late": "x"})
    assert job.evaluate().indexed == ()
    publish(archive, 20, late="x")
    evaluation = archive.client.job("job", where={"late": "x"}).evaluate()
    assert (evaluation.selected, evaluation.indexed) == (20, ("late",))


def test_who_finds_nothing_new_looks_for_no_index(archive: Archive) -> None:
    """Also a job whose selection grows with time, which is evaluated over everything each time."""
    publish(archive)
    for where in (SINCE, {"retrieved_at": {"<": {"ago": "7d"}}}):
        job = archive.client.job("job", where=where)
        looked = [
            [text for text in statements(archive.client, job.evaluate) if "pragma_index" in text] for _ in range(2)
        ]
        assert looked[0]
        assert not looked[1]


def test_who_only_looks_makes_none(archive: Archive) -> None:
    """Plans, dry runs and reading; nor does what was switched off."""
    publish(archive)
    job = archive.client.job("job", where=SINCE)
    assert job.plan().files > 0
    # It would be rolled back, but cost its time.
    assert statements(archive.client, job.plan, "CREATE INDEX") == []
    assert job.adopt(where={"kind": "letter"}, dry_run=True).adopted > 0
    assert job.selected() == job.plan().files == len(list(archive.client.files.find(SINCE)))
    job.why("0001")
    archive.client.job("off", where=SINCE, index=False).run(nothing)
    assert indexes(archive) == set()
    assert len(statements(archive.client, lambda: job.run(nothing), "CREATE INDEX")) == 1
    assert indexes(archive) == {"files_by_retrieved_at"}


def test_switching_them_off_changes_no_definition(archive: Archive) -> None:
    """The ledger counts the job as the same."""
    assert job_config("job", SINCE).fingerprint() == job_config("job", SINCE, index=False).fingerprint()
    publish(archive)
    archive.client.job("job", where=SINCE).run(nothing)
    plan = archive.client.job("job", where=SINCE, index=False).plan()
    assert (plan.files, plan.changed, plan.redefined) == (0, False, False)


def test_names_that_are_taken_are_left_alone(archive: Archive) -> None:
    """Keys that differ only by case, and keys that a person's index of two others is named after; odd keys as well."""
    publish(archive, Kind="x", kind_pages="x", **{"a\0b": "x", 'say "x"': "x"})
    archive.client.files.create_index(["kind", "pages"])
    keys = ["kind_pages", "kind", "Kind", "a\0b", 'say "x"']
    for number, key in enumerate(keys):
        where = {key: "letter" if key == "kind" else "x"}
        # The index over kind and pages begins with kind.
        assert archive.client.job(f"first{number}", where=where).evaluate().indexed == (() if key == "kind" else (key,))
        assert archive.client.files.has_index(key) == (key != "kind")
        assert archive.client.job(f"second{number}", where=where).evaluate().indexed == ()
    assert archive.client.files.has_index(["kind", "pages"])


# Who says so


def client_with(archive: Archive, **jobs: JobConfig) -> Metadir:
    return Metadir(archive.client_path, jobs=jobs)


def test_the_update_that_makes_an_index_says_so_once(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    """In its notes, which the command line and Dagster show, and in the log."""
    publish(archive)
    config = job_config("recent", SINCE)
    with caplog.at_level("INFO", "mmmeta"), client_with(archive, recent=config) as client:
        assert client.update(dry_run=True).notes == ()
        assert client.update().notes == ("made an index over retrieved_at, by which jobs select",)
        assert client.update().notes == ()
    assert [text for text in caplog.messages if "index" in text] == ["job recent: made an index over retrieved_at"]


# What else is asked


def test_what_changed_is_found_by_its_revision(archive: Archive) -> None:
    """And named files by their names; neither by the key, which would be all files that the job means."""
    publish(archive)
    for version, where in enumerate([{"kind": "letter"}, SINCE, {"kind": ["letter", "report"], **SINCE}]):
        job = archive.client.job("job", where=where)
        job.evaluate()
        deliver(archive, "new", kind="letter", retrieved_at="2026-03-01", pages=version)
        found = steps(archive.client, job.evaluate, SELECTING)
        assert of_files(found) == {"SEARCH files USING INDEX files_state_rev (__state_rev>?)"}
        files = job.claim(3)
        deliver(archive, "newer", kind="letter", retrieved_at="2026-03-01", pages=version)
        found = steps(archive.client, lambda job=job, files=files: job.release(*files), SELECTING)  # type: ignore[misc]
        assert of_files(found) == {"SEARCH files USING INDEX sqlite_autoindex_files_1 (content_hash=?)"}


@pytest.mark.parametrize("where", [{"kind": "letter"}, SINCE, {"kind": ["letter", "report"]}])
def test_rows_are_fetched_by_their_numbers(archive: Archive, where: Mapping[str, Any]) -> None:
    """A chunk of what was found is not looked for once more."""
    publish(archive)
    archive.client.job("job", where=where).evaluate()
    found = steps(archive.client, lambda: list(archive.client.files.find(where)), "files.rowid IN")
    assert set(found) == {"SEARCH files USING INTEGER PRIMARY KEY (rowid=?)"}


def test_everyday_statements_ask_the_same_indexes_as_ever(archive: Archive) -> None:
    """Those that claim and settle know nothing of metadata keys."""
    publish(archive)
    job = archive.client.job("job", where={"kind": "letter"})
    job.evaluate()

    def work() -> None:
        job.failed(*job.claim(1), ValueError("no"))
        job.run(nothing, only=SINCE)
        job.run(nothing)

    said = plans(archive.client, statements(archive.client, work))
    assert [(step, text) for step, text in said if "files_by_" in step or step.startswith("SCAN files")] == []


def test_an_index_that_has_lost_a_file_is_found_by_check(archive: Archive) -> None:
    """It would hide the file from the job. Changes, deletions and a merge of everything leave an index whole."""
    publish(archive)
    archive.client.job("job", where={"kind": "letter", **SINCE}).evaluate()
    archive.server.files.upsert_many([{"content_hash": "0003", "kind": "report"}], ["content_hash"])
    archive.server.files.delete(content_hash="0001")
    archive.sync()
    archive.client.update()
    archive.client.update(replace=True)
    assert archive.client.check().problems == 0
    archive.client.close()
    state = archive.client.layout.state
    with sqlite3.connect(state) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'files_by_kind'").fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        # Entries of letters only, under the name of an index of all files.
        connection.execute("DROP INDEX files_by_kind")
        connection.execute(f"{sql} WHERE kind = 'letter'")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'files_by_kind'", (sql,))
    connection.close()
    (problem,) = archive.client.check().named
    assert (problem.where, problem.file) == ("state db", None)
