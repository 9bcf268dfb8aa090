"""What makes a done file due again: what the action works on, unless the job says it; and what can never happen is said."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, nothing
from sql_target import publish, query

from mmmeta import Job
from mmmeta.errors import JobError
from mmmeta.project.job import job_config
from mmmeta.state.ledger.rules import JobRules, rules_from


@pytest.fixture
def by_id(archive_by_id: Archive) -> Archive:
    """Identity and content apart."""
    return archive_by_id


def load(archive: Archive, url: str, **options: Any) -> Job:
    rules = {rule: options.pop(rule) for rule in ("rerun_on", "where") if rule in options}
    return archive.client.job("import", load={"to": url, "table": "documents", **options}, **rules)


def test_a_corrected_title_reaches_the_table(by_id: Archive, url: str) -> None:
    """``load`` writes metadata, so metadata is what it goes by; what did not change is left alone."""
    publish(by_id, {"a": {"title": "Teh"}, "b": {"title": "B"}})
    job = load(by_id, url)
    assert (job.run().done, job.run().done) == (2, 0)
    publish(by_id, {"a": {"title": "The"}})
    assert job.run().done == 1
    assert query(url, "SELECT id, title FROM documents ORDER BY id") == [("a", "The"), ("b", "B")]
    assert "again when its metadata changes" in job.why("a").lines[0]


def test_named_columns_are_what_counts(by_id: Archive, url: str) -> None:
    """Also the client's own values; keys that are not written make nobody due."""
    publish(by_id, {"a": {"title": "A", "visits": 1}})
    job = load(by_id, url, columns=[{"heading": "title"}, "checked"])
    assert job.run().done == 1
    publish(by_id, {"a": {"title": "A", "visits": 2, "content_hash": "2"}})
    assert job.run().done == 0
    publish(by_id, {"a": {"title": "B", "visits": 2, "content_hash": "2"}})
    assert job.run().done == 1
    file = by_id.client.files.get("a")
    assert file is not None
    file["checked"] = True
    file.save()
    assert job.run().done == 1
    # MariaDB's column was made before any value was known, and takes text.
    checked = "true" if url.startswith("mariadb") else True
    assert query(url, "SELECT heading, checked FROM documents") == [("B", checked)]
    assert "again when what it writes changes" in job.why("a").lines[0]


def test_a_document_that_is_written_counts(by_id: Archive, url: str) -> None:
    """With ``content:`` the content key is compared beside the named columns; of a file without one, all metadata."""
    folder = by_id.client_path
    folder.mkdir()
    for name, text in (("a.txt", "one"), ("b.txt", "one")):
        (folder / name).write_text(text)
    publish(by_id, {"a": {"_file_name": "a.txt"}, "b": {"_file_name": "b.txt", "content_hash": None}})
    job = load(by_id, url, columns=[], content={"column": "text"})
    assert job.run().done == 2
    publish(by_id, {"a": {"_file_name": "a.txt", "more": 1}})
    assert job.run().done == 0
    (folder / "a.txt").write_text("two")
    publish(by_id, {"a": {"_file_name": "a.txt", "more": 1, "content_hash": "2"}})
    assert job.run().done == 1
    (folder / "b.txt").write_text("two")
    publish(by_id, {"b": {"_file_name": "b.txt", "content_hash": None, "more": 1}})
    assert job.run().done == 1
    assert sorted(query(url, "SELECT id, text FROM documents")) == [("a", "two"), ("b", "two")]


def test_what_the_job_says_counts_before_its_action(by_id: Archive, url: str) -> None:
    """``rerun_on: content`` of a load goes by the content alone."""
    publish(by_id, {"a": {"title": "Teh"}})
    job = load(by_id, url, rerun_on="content")
    assert job.run().done == 1
    publish(by_id, {"a": {"title": "The"}})
    assert job.run().done == 0
    publish(by_id, {"a": {"title": "The", "content_hash": "2"}})
    assert job.run().done == 1


def test_a_file_without_content_key_goes_by_its_metadata(by_id: Archive) -> None:
    """Nobody knows when its document changes. One that gets a content key comes once more; the plan counts them."""
    publish(by_id, {"a": {"title": "A"}, "b": {"title": "B", "content_hash": None}, "c": {"content_hash": None}})
    job = by_id.client.job("import")
    plan = job.plan()
    assert (plan.without_content, plan.never_again) == (2, None)
    assert job.run(nothing).done == 3
    assert "again when its content changes" in job.why("a").lines[0]
    assert "again when its metadata changes, for it has no content_hash" in job.why("b").lines[0]
    publish(by_id, {"a": {"title": "A2"}, "b": {"title": "B2", "content_hash": None}})
    assert job.run(nothing).done == 1
    publish(by_id, {"b": {"title": "B2", "content_hash": "2"}})
    assert job.run(nothing).done == 1
    publish(by_id, {"b": {"title": "B3", "content_hash": "2"}})
    assert job.run(nothing).done == 0


def test_a_receipt_tells_versions_apart_as_the_ledger_does(by_id: Archive, url: str) -> None:
    """Also of files without a content key: appended once for each version, and found again."""
    publish(by_id, {"b": {"title": "B", "content_hash": None}})
    job = load(by_id, url, mode="append", rerun_on="content")
    assert job.run().done == 1
    publish(by_id, {"b": {"title": "B2", "content_hash": None}})
    assert (job.run().done, job.run().done) == (1, 0)
    assert sorted(query(url, "SELECT title FROM documents")) == [("B",), ("B2",)]
    assert job.results().missing == 0


def test_a_ledger_from_before_does_not_start_over(by_id: Archive) -> None:
    """What was done by the content key alone counts as done, also where a file has none; later changes go by the new rule."""
    publish(by_id, {"a": {"content_hash": None, "title": "A"}, "b": {"content_hash": None, "title": "B"}})
    job = by_id.client.job("import")
    job.run(nothing)
    with sqlite3.connect(by_id.client.layout.state) as connection:
        (rules,) = connection.execute("SELECT rules FROM jobs").fetchone()
        old = {key: value for key, value in json.loads(rules).items() if key != "falls_back"}
        connection.execute("UPDATE jobs SET rules = ?", (json.dumps(old, sort_keys=True),))
        connection.execute("UPDATE ledger SET wanted = '[null,null]', tried = '[null,null]', basis = '[null,null]'")
    connection.close()
    assert by_id.client.job("import", where={"title": ["A", "B"]}).run(nothing).done == 0
    publish(by_id, {"a": {"content_hash": None, "title": "A"}, "b": {"content_hash": None, "title": "B", "x": 1}})
    assert by_id.client.job("import", where={"title": ["A", "B"]}).run(nothing).done == 1


def test_what_can_never_happen_is_said(archive: Archive, tmp_path: Path) -> None:
    """Where the content key identifies the file a changed document is another file; where nothing but the unique key is
    written nothing can change."""
    archive.write("a", {"title": "A"})
    archive.deliver()
    url = f"sqlite:///{tmp_path}/t.db"
    by_content = archive.client.job("import")
    by_content.run(nothing)
    assert "'content_hash' identifies a file, so that another document is another file" in (
        by_content.plan().never_again or ""
    )
    assert "again when a person says so: 'content_hash' identifies a file" in by_content.why("a").lines[0]
    assert load(archive, url).plan().never_again is None
    for columns in ([], ["content_hash"]):
        assert "it writes 'content_hash' alone" in (load(archive, url, columns=columns).plan().never_again or "")
    assert load(archive, url, columns=["title"]).plan().never_again is None
    assert "rerun_on: never" in (archive.client.job("import", rerun_on="never").plan().never_again or "")
    with pytest.raises(JobError, match="can never fire"):
        archive.client.job("import", rerun_on=["content_hash"])


def test_the_default_follows_from_the_action() -> None:
    """``rerun_on`` of a job says what counts, whether it was given or not; older definitions stay what they were."""
    load = {"to": "sqlite:////t.db", "table": "t"}
    default, by_content = job_config("a", load=load), job_config("a", load=load, rerun_on="content")
    assert (default.rerun_on, by_content.rerun_on, job_config("a").rerun_on) == ("metadata", "content", "content")
    assert (
        default.fingerprint() == by_content.fingerprint() != job_config("a", load=load, rerun_on="never").fingerprint()
    )
    assert job_config("a", load={**load, "columns": ["b", {"x": "a"}]}).rerun_on == ["a", "b"]


def test_rules_are_read_as_they_were_written() -> None:
    """The fallback, too; what was recorded before there was one had none."""
    rules = JobRules(
        name="a", condition=job_config("a").condition, rerun_on="content", content_key="content_hash", attempts=5,
        backoff=1.0, order_by=None, fingerprint="f", falls_back=True,
    )  # fmt: skip
    again = rules_from("a", rules.selection, rules.rules, "f")
    assert again == rules
    assert again.compares_as(rules)
    old = {key: value for key, value in json.loads(rules.rules).items() if key != "falls_back"}
    assert not rules_from("a", rules.selection, json.dumps(old), "f").compares_as(rules)


def test_a_recorded_job_without_keys(archive: Archive, tmp_path: Path) -> None:
    """What the ledger knows of a job that writes the unique key alone can be looked into without its definition."""
    archive.write("a")
    archive.deliver()
    load(archive, f"sqlite:///{tmp_path}/t.db", columns=[]).run()
    assert "identifies a file" in (archive.client.recorded_job("import").plan().never_again or "")
