"""The action ``load``: which columns and rows a target has in the end, and what is looked for there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from sql_target import columns_of, delete, identify_by_id, publish, query, quoted, told

from mmmeta import Job, Metadir
from mmmeta.errors import JobError, MmmetaError, TargetError
from mmmeta.project.job import job_config


@pytest.fixture
def archive(archive: Archive) -> Archive:
    identify_by_id(archive)
    return archive


def load(archive: Archive, url: str, name: str = "import", **options: Any) -> Job:
    rules = {rule: options.pop(rule) for rule in ("on_delete", "rerun_on", "attempts") if rule in options}
    return archive.client.job(name, load={"to": url, "table": "documents", **options}, **rules)


def test_append_adds_a_row_for_each_version(archive: Archive, url: str) -> None:
    """A file that changed has two; what is done and unchanged adds none; one asked for anew does."""
    publish(archive, {"a": {"pages": 1}, "b": {"pages": 1}})
    job = load(archive, url, mode="append")
    assert (job.run().done, job.run().done) == (2, 0)
    publish(archive, {"a": {"pages": 2, "content_hash": "2"}})
    assert job.run().done == 1
    wanted = [("a", 1), ("a", 2), ("b", 1)]
    assert told(url, "SELECT id, pages FROM documents ORDER BY id, pages") == wanted
    job.retry(files=["b"])
    assert job.run().done == 1
    assert told(url, "SELECT id, pages FROM documents ORDER BY id, pages") == [*wanted, ("b", 1)]
    job.forget()
    assert job.run().done == 2
    assert told(url, "SELECT count(*) FROM documents") == [(6,)]


def test_a_version_that_returns_is_a_version(archive: Archive, url: str) -> None:
    """First one content, then another, then the first again: three rows."""
    job = load(archive, url, mode="append")
    for version in "121":
        publish(archive, {"a": {"content_hash": version}})
        assert job.run().done == 1
    assert sorted(query(url, "SELECT content_hash FROM documents")) == [("1",), ("1",), ("2",)]


def test_append_and_upsert_do_not_share_a_table_by_mistake(archive: Archive, url: str) -> None:
    """A table with one row a file refuses further ones, one with several cannot be upserted into: both are said."""
    publish(archive, {"a": {}})
    assert load(archive, url).run().done == 1
    with pytest.raises(TargetError, match="takes one row for each 'id' only"):
        load(archive, url, "log", mode="append").run()
    query(url, "DROP TABLE documents")
    log = load(archive, url, "log", mode="append")
    assert log.run().done == 1
    other = load(archive, url)
    other.retry(files=["a"])
    with pytest.raises(TargetError, match="has a row for each version, from a job with `mode: append`"):
        other.run()
    assert query(url, "SELECT count(*) FROM documents") == [(1,)]


def test_chosen_columns(archive: Archive, url: str) -> None:
    """These keys in this order under these names, and the unique key; what nobody has stays NULL, the client's own
    values are there as well."""
    publish(archive, {"a": {"title": "A", "date": "2026-01-01", "pages": 3, "x:y": 1}, "b": {"title": "B"}})
    file = archive.client.files.get("a")
    assert file is not None
    file["checked"] = True
    file.save()
    columns = ["pages", {"published": "date", "heading": "title"}, "x:y", {"ok": "checked"}, "nowhere"]
    job = load(archive, url, columns=columns)
    assert job.run().done == 2
    names = ["id", "pages", "published", "heading", "x:y", "ok", "nowhere"]
    assert columns_of(url) == names
    assert told(url, "SELECT * FROM documents ORDER BY id") == [
        ("a", 3, "2026-01-01", "A", 1, True, None),
        ("b", None, None, "B", None, None, None),
    ]
    # A key that had no value yet gets one, of whatever type; others come and are left out.
    publish(archive, {"b": {"content_hash": "2", "nowhere": 7, "new": 1}})
    assert job.run().done == 1
    assert columns_of(url) == names
    assert told(url, "SELECT nowhere, heading FROM documents WHERE id = 'b'") == [(7, None)]


def test_columns_as_a_mapping_and_a_renamed_unique_key(archive: Archive, url: str) -> None:
    """{column: key} says the same as the list; the unique key may have another name, too."""
    publish(archive, {"a": {"title": "A"}})
    job = load(archive, url, columns={"title": "title", "document": "id", "twice": "title"})
    assert job.run().done == 1
    assert columns_of(url) == ["document", "title", "twice"]
    publish(archive, {"a": {"title": "B", "content_hash": "2"}})
    assert job.run().done == 1
    assert query(url, "SELECT document, title, twice FROM documents") == [("a", "B", "B")]


def test_no_columns_but_the_unique_key(archive: Archive, url: str) -> None:
    """An empty choice is a choice."""
    publish(archive, {"a": {"title": "A"}})
    assert load(archive, url, columns=[]).run().done == 1
    assert query(url, "SELECT * FROM documents") == [("a",)]


def test_two_jobs_fill_one_table(archive: Archive, url: str) -> None:
    """One writes all metadata, the other a column of its own: neither empties what the other has written."""
    publish(archive, {"a": {"title": "A", "heading": "H"}})
    everything, renamed = load(archive, url), load(archive, url, "names", columns={"headline": "title"})
    for version in "123":
        publish(archive, {"a": {"title": f"A{version}", "heading": "H", "content_hash": version}})
        assert (everything.run().done, renamed.run().done) == (1, 1)
    publish(archive, {"a": {"title": "late", "content_hash": "4"}})
    assert everything.run().done == 1
    assert query(url, "SELECT title, headline, heading FROM documents") == [("late", "A3", None)]


def test_a_chosen_name_that_is_not_free(archive: Archive, url: str) -> None:
    """Nothing is renamed behind a person's back: the run ends with the reason."""
    publish(archive, {"a": {"title": "A", "pages": 1}})
    assert load(archive, url).run().done == 1
    with pytest.raises(TargetError, match="column 'pages' is there already"):
        load(archive, url, "other", columns={"pages": "title"}).run()
    assert told(url, "SELECT title, pages FROM documents") == [("A", 1)]


def test_two_jobs_with_different_ideas_of_one_column(archive: Archive, url: str) -> None:
    """The second is refused and does not write over the first; the same idea is shared."""
    publish(archive, {"a": {"title": "A", "pages": 1}})
    assert load(archive, url, columns={"text": "title"}).run().done == 1
    with pytest.raises(TargetError, match="column 'text' is there already"):
        load(archive, url, "other", columns={"text": "pages"}).run()
    assert load(archive, url, "third", columns={"text": "title"}).run().done == 1
    assert query(url, "SELECT id, text FROM documents") == [("a", "A")]


def test_an_existing_table_with_chosen_columns(archive: Archive, url: str) -> None:
    """Columns that a person made are used as they are, by the names chosen."""
    query(url, "CREATE TABLE documents (nr VARCHAR(20) PRIMARY KEY, headline VARCHAR(10), note VARCHAR(10))")
    query(url, "INSERT INTO documents VALUES ('a', 'old', 'mine')")
    publish(archive, {"a": {"title": "new"}, "b": {"title": "B"}})
    assert load(archive, url, columns={"nr": "id", "headline": "title"}).run().done == 2
    assert query(url, "SELECT * FROM documents ORDER BY nr") == [("a", "new", "mine"), ("b", "B", None)]


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"columns": ["a", {"A": "b"}]}, r"columns\[1\].A: the column 'A' would hold 'a' and 'b'"),
        ({"columns": ["a", "a"]}, r"columns\[1\]: the column 'a' would hold 'a' and 'a'"),
        ({"columns": ["xmin"]}, "taken by PostgreSQL or mmmeta. Choose another: {column: key}"),
        ({"columns": {"_mmmeta_x": "a"}}, "taken by PostgreSQL or mmmeta"),
        ({"columns": ["ä" * 40]}, "at most 63 bytes. Give the key a shorter one"),
        ({"columns": {"a": "__rev"}}, "belong to mmmeta"),
        ({"columns": ["a\nb"]}, "control characters"),
        ({"columns": ["%(a)s"]}, "cannot be the name of a column"),
        ({"columns": {"": "b"}}, "cannot be empty"),
        ({"columns": {"b": ""}}, "needs a metadata key"),
        ({"columns": {"b": 3}}, "needs a metadata key, not 3"),
        ({"columns": [3]}, "Quote it"),
        ({"columns": "title"}, "needs a list of metadata keys"),
        ({"content": {"column": "x", "as": "pdf"}}, "content.as: input should be 'text' or 'bytes'"),
        ({"content": {"column": "x", "max": "2GB"}}, "no database takes"),
        ({"content": {"column": "x", "max": 0}}, "at least one byte"),
        ({"content": {"column": "_mmmeta"}}, "taken by"),
        ({"content": {"column": "X"}, "columns": ["x"]}, "content.column: the column 'X' is among columns: already"),
        ({"mode": "replace"}, "mode: input should be 'upsert' or 'append'"),
    ],
)
def test_what_cannot_be_is_said_at_once(rules: dict[str, Any], reason: str) -> None:
    """With the place and the remedy, when the project file is read."""
    with pytest.raises(JobError, match=reason):
        job_config("j", load={"to": "sqlite:////x", "table": "t", **rules})


@pytest.mark.parametrize("rules", [{"columns": {"ID": "title"}}, {"content": {"column": "id"}}])
def test_the_unique_keys_column_is_not_taken(archive: Archive, tmp_path: Path, rules: dict[str, Any]) -> None:
    """config.yml says which key it is, so it is said when the job runs."""
    publish(archive, {"a": {"title": "A"}})
    with pytest.raises(JobError, match=r"job 'import': load\..*unique key"):
        load(archive, f"sqlite:///{tmp_path}/t.db", **rules).run()
    assert not (tmp_path / "t.db").exists()


def test_older_jobs_keep_their_fingerprint() -> None:
    """Only what is said takes part, in whatever order and form it is said."""

    def fingerprint(**options: Any) -> str:
        return job_config("j", load={"to": "sqlite:////x", "table": "t", **options}).fingerprint()

    assert fingerprint() == "91ec185882415efe3ef034d28dfd8c4e"
    assert fingerprint() == fingerprint(mode="upsert", columns=None, content=None)
    content = {"column": "text"}
    others = [
        fingerprint(mode="append"),
        fingerprint(columns=["a"]),
        fingerprint(columns=["a", "b"]),
        fingerprint(columns={"a": "b"}),
        fingerprint(columns=[]),
        fingerprint(content=content),
        fingerprint(content={**content, "as": "bytes"}),
        fingerprint(content={**content, "max": "1MB"}),
    ]
    assert len({fingerprint(), *others}) == len(others) + 1
    assert fingerprint(columns=["b", "a"]) == fingerprint(columns={"a": "a", "b": "b"})


# The document's own content


DOCUMENTS = {
    "plain.txt": "Ä text".encode(),
    "marked.txt": b"\xef\xbb\xbfmarked",
    "latin.txt": "Ä".encode("latin-1"),
    "empty.txt": b"",
    "large.txt": b"x" * 101,
}


@pytest.fixture
def documents(archive: Archive) -> Metadir:
    """A client that can read the server's documents."""
    for name, data in DOCUMENTS.items():
        (archive.server_path / name).write_bytes(data)
        archive.write(name, {"id": name, "_file_name": name, "content_hash": name})
    archive.write("missing", {"id": "missing", "_file_name": "missing.txt"})
    archive.write("outside", {"id": "outside", "public_url": "/etc/hostname"})
    archive.publish()
    client = Metadir(archive.client_path, archive.server_path)
    client.update()
    return client


def test_the_content_as_text(documents: Metadir, url: str) -> None:
    """UTF-8, without its mark; what is no text, too large, not there or elsewhere fails alone, each with its reason."""
    load_ = {"to": url, "table": "documents", "columns": [], "content": {"column": "text", "max": 100}}
    report = documents.job("texts", load=load_).run()
    assert query(url, "SELECT id, text FROM documents ORDER BY id") == [
        ("empty.txt", ""),
        ("marked.txt", "marked"),
        ("plain.txt", "Ä text"),
    ]
    reasons = {failure.file: failure.message for failure in report.failures}
    assert "is not UTF-8 text (byte 0 is 0xc4)" in reasons.pop("latin.txt")
    assert "has 101 bytes, more than the 100 bytes" in reasons.pop("large.txt")
    assert "cannot be read: No such file" in reasons.pop("missing")
    assert "outside the folders" in reasons.pop("outside")
    assert (report.done, report.bytes, reasons) == (3, len("Ä text".encode()) + len("marked"), {})
    documents.close()


def test_the_content_as_bytes(documents: Metadir, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside all metadata, byte for byte; a batch whose documents do not fit into memory together is cut up."""
    monkeypatch.setattr("mmmeta.jobs.actions.load.CONTENT_AT_ONCE", 10)
    load_ = {"to": url, "table": "documents", "content": {"column": "document", "as": "bytes"}}
    assert documents.job("files", load=load_).run().done == len(DOCUMENTS)
    rows = dict(query(url, "SELECT id, document FROM documents"))
    assert {name: bytes(data) for name, data in rows.items()} == DOCUMENTS
    assert set(columns_of(url)) == {
        "id",
        "_file_name",
        "content_hash",
        "document",
        *("path", "dir", "name", "metadata_path"),
        *("size", "mime_type"),
    }
    documents.close()


def test_a_metadata_key_named_as_the_contents_column(archive: Archive, url: str) -> None:
    """The column is the content's; the key gets another, and no file fails for it."""
    (archive.server_path / "a.txt").write_text("the document")
    archive.write("a", {"id": "a", "_file_name": "a.txt", "text": "the key"})
    archive.publish()
    with Metadir(archive.client_path, archive.server_path) as client:
        client.update()
        job = client.job("j", load={"to": url, "table": "documents", "content": {"column": "text"}})
        assert job.run().done == 1
    assert query(url, "SELECT text FROM documents") == [("the document",)]
    other = next(name for name in columns_of(url) if name.startswith("text_"))
    assert query(url, f"SELECT {quoted(url, other)} FROM documents") == [("the key",)]


# Taking out, and looking


@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_a_deleted_file_is_taken_out(archive: Archive, url: str, mode: str) -> None:
    """All its rows, nobody else's; and in again when it returns."""
    publish(archive, {"a": {}, "b": {}})
    job = load(archive, url, mode=mode, on_delete="action")
    assert job.run().done == 2
    publish(archive, {"a": {"content_hash": "2"}})
    assert job.run().done == 1
    delete(archive, "a")
    assert job.run().retracted == 1
    assert query(url, "SELECT id FROM documents") == [("b",)]
    publish(archive, {"a": {"content_hash": "2"}})
    assert job.run().done == 1
    assert sorted(query(url, "SELECT id FROM documents")) == [("a",), ("b",)]


def test_a_row_that_cannot_be_taken_out(archive: Archive, tmp_path: Path) -> None:
    """Only that one fails, and is due again; where there is no table there is nothing to take out."""
    url = f"sqlite:///{tmp_path}/t.db"
    publish(archive, {name: {} for name in "abcd"})
    job = load(archive, url, on_delete="action")
    assert job.run().done == 4
    query(url, "CREATE TRIGGER no BEFORE DELETE ON documents WHEN OLD.id = 'b' BEGIN SELECT RAISE(ABORT, 'kept'); END")
    delete(archive, *"ab")
    report = job.run()
    assert (report.retracted, report.failed) == (1, 1)
    assert "kept" in report.failures[0].message
    query(url, "DROP TABLE documents")
    job.retry()
    assert job.run().retracted == 1


def test_rows_that_are_there_are_taken_for_done(archive: Archive, url: str) -> None:
    """Also those that something else has loaded, unless they tell of another content; a file that changed is not."""
    publish(archive, {name: {} for name in "abc"})
    query(url, "CREATE TABLE documents (id VARCHAR(20) PRIMARY KEY, content_hash VARCHAR(20))")
    query(url, "INSERT INTO documents VALUES ('a', '1'), ('b', 'older')")
    job = load(archive, url)
    assert job.adopt_present().adopted == 1
    assert job.run().done == 2
    publish(archive, {"a": {"content_hash": "2"}, "b": {"content_hash": "2"}})
    assert job.adopt_present().adopted == 0
    assert job.run().done == 2
    assert archive.client.job("other", load={"to": url, "table": "documents"}).adopt_present().adopted == 3


def test_numbers_identify_files_in_a_table_of_somebody_else(archive: Archive, url: str) -> None:
    """A column of integers is compared with what the metadata calls them."""
    publish(archive, {"1": {}, "2": {}})
    query(url, "CREATE TABLE documents (id INTEGER PRIMARY KEY)")
    query(url, "INSERT INTO documents VALUES (1)")
    assert load(archive, url).adopt_present().adopted == 1


def test_check_finds_what_is_not_in_the_target(archive: Archive, url: str, tmp_path: Path) -> None:
    """A row that somebody removed, an older backup of the target, a table that is gone; and it makes no file."""
    publish(archive, {name: {} for name in "abc"})
    job = load(archive, url)
    archive.client.job("j", load={"to": f"sqlite:///{tmp_path}/none.db", "table": "documents"}).adopt(["a"])
    assert job.run().done == 3
    assert _problems(job) == {}
    query(url, "DELETE FROM documents WHERE id = 'a'")
    assert _problems(job) == {"a": "table 'documents' has no row of it"}
    receipts = query(url, "SELECT version FROM _mmmeta_receipts WHERE file = 'b'")
    publish(archive, {"b": {"content_hash": "2"}})
    assert job.run().done == 1
    query(url, f"UPDATE _mmmeta_receipts SET version = '{receipts[0][0]}' WHERE file = 'b'")
    assert _problems(job)["b"] == "table 'documents' has another version of it"
    query(url, "DROP TABLE documents")
    assert len(_problems(job)) == 3
    none = archive.client.job("j", load={"to": f"sqlite:///{tmp_path}/none.db", "table": "documents"})
    assert "none.db does not exist" in _problems(none)["a"]
    assert not (tmp_path / "none.db").exists()


def _problems(job: Job) -> dict[str, str]:
    """What ``mmmeta check`` asks the job's action."""
    from mmmeta.jobs.actions.action import Done
    from mmmeta.jobs.actions.make import make_action

    state = job._state
    action = make_action(job.config, state.config, state.layout, state.ensure().state_id)
    catalog = state.catalog()
    rows = catalog.by_unique([entry.file for entry in job.files("done")])
    try:
        return action.missing([Done(job._bench.file(row, catalog), None) for row in rows.values()]) or {}
    finally:
        action.close()


def test_looking_at_a_target_that_cannot_be_read(archive: Archive, tmp_path: Path) -> None:
    """One clear error; nothing is taken for done or for missing."""
    publish(archive, {"a": {}})
    (tmp_path / "t.db").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(MmmetaError, match="not a database"):
        load(archive, f"sqlite:///{tmp_path}/t.db").adopt_present()
