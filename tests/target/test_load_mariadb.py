"""MariaDB takes more for the same than the others do: texts by case, accents and spaces at the end, names of columns, too."""

from __future__ import annotations

from typing import Any

import pytest
from archives import Archive
from databases import on_mariadb
from sql_target import identify_by_id, publish, query

from mmmeta import Job
from mmmeta.errors import TargetError
from mmmeta.target.engine import open_engine
from mmmeta.target.mysql import LONGEST_IDLE


@pytest.fixture
def archive(archive: Archive) -> Archive:
    identify_by_id(archive)
    return archive


@pytest.fixture
def mariadb(url: str) -> str:
    return url


def load(archive: Archive, url: str, **options: Any) -> Job:
    rules = {rule: options.pop(rule) for rule in ("on_delete",) if rule in options}
    return archive.client.job("import", load={"to": url, "table": "documents", **options}, **rules)


IDS = ("a", "A", "ä", "á", "a ", "ß", "ss", "Straße", "STRASSE", "x\ty", "emoji 🗂", "quote's \"`\\", "0", "00")


@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_ids_that_differ_a_little(archive: Archive, url: str, mode: str) -> None:
    """In case, accent, or a space at the end: each has its row, its receipt, its next version; removed, one goes."""
    publish(archive, {f"file{number}": {"id": name, "title": name} for number, name in enumerate(IDS)})
    job = load(archive, url, mode=mode, on_delete="action")
    assert job.run().done == len(IDS)
    assert sorted(query(url, "SELECT id, title FROM documents")) == sorted((name, name) for name in IDS)
    publish(archive, {"file1": {"id": "A", "title": "new"}})
    assert job.run().done == 1
    titles = sorted(title for name, title in query(url, "SELECT id, title FROM documents") if name in ("a", "A", "a "))
    assert titles == (["a", "a ", "new"] if mode == "upsert" else ["A", "a", "a ", "new"])
    archive.remove("file0")
    archive.publish(ensure=True)
    archive.client.update()
    assert job.run().retracted == 1
    left = {name for name, _ in query(url, "SELECT id, title FROM documents")}
    assert left == {*IDS} - {"a"}
    assert job.results().missing == 0
    job.forget()
    assert job.adopt_present().adopted == len(IDS) - 1


def test_keys_that_differ_a_little(archive: Archive, url: str) -> None:
    """Each has a column, whatever the database takes for the same name."""
    keys = [
        "title",
        "Title",
        "TITLE",
        "titlé",
        "tïtle",
        "back`tick",
        "``",
        "%s",
        "straße",
        "strasse",
        "a ",
        "a",
        "🗂",
        "x" * 300,
    ]
    publish(archive, {"a": {key: f"value {number}" for number, key in enumerate(keys)}})
    job = load(archive, url)
    assert job.run().done == 1
    (row,) = query(url, "SELECT * FROM documents")
    assert {f"value {number}" for number in range(len(keys))} <= set(row)
    publish(archive, {"a": {key: f"value {number}" for number, key in enumerate(keys[::-1])}, "b": {"Title": "1"}})
    assert job.run().done == 2


@on_mariadb
def test_long_texts(archive: Archive, mariadb: str) -> None:
    """Over 64 kB and of any sign; nothing is cut."""
    text = "ä🗂" * 100_000
    publish(archive, {"a": {"title": text}})
    assert load(archive, mariadb).run().done == 1
    assert query(mariadb, "SELECT title FROM documents") == [(text,)]


@on_mariadb
def test_long_ids(archive: Archive, mariadb: str) -> None:
    """Up to 500 characters; one that is longer fails alone and says so."""
    long, longer = "ä" * 500, "b" * 501
    publish(archive, {"long": {"id": long}, "longer": {"id": longer}, "c": {}})
    job = load(archive, mariadb)
    report = job.run()
    assert (report.done, [failure.file for failure in report.failures]) == (2, [longer])
    assert "501 characters, and MariaDB and MySQL index 500" in report.failures[0].message
    assert sorted(query(mariadb, "SELECT id FROM documents")) == [("c",), (long,)]
    assert job.results().missing == 0


@on_mariadb
def test_a_table_of_somebody_that_does_not_tell_case(archive: Archive, mariadb: str) -> None:
    """Its unique column takes A for a: the second fails alone, and neither is written over, or removed with, the other."""
    query(
        mariadb,
        "CREATE TABLE documents (id VARCHAR(40) COLLATE utf8mb4_general_ci, title TEXT COLLATE utf8mb4_general_ci)",
    )
    publish(archive, {"one": {"id": "a", "title": "small"}, "two": {"id": "A", "title": "large"}, "three": {"id": "c"}})
    job = load(archive, mariadb, on_delete="action")
    report = job.run()
    assert (report.done, report.failed) == (2, 1)
    (failed,) = (failure.file for failure in report.failures)
    other = {"a": "A", "A": "a"}[failed]
    assert [name for (name,) in query(mariadb, "SELECT id FROM documents WHERE id = 'a'")] == [other]
    publish(archive, {{"a": "one", "A": "two"}[other]: {"id": other, "title": "again"}})
    assert job.run().done == 1
    assert query(mariadb, "SELECT title FROM documents WHERE id = 'a'") == [("again",)]


@on_mariadb
@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_a_key_column_without_a_length(archive: Archive, mariadb: str, mode: str) -> None:
    """Whatever index the server makes over it."""
    query(mariadb, "CREATE TABLE documents (id TEXT, title TEXT)")
    publish(archive, {"a": {}})
    assert load(archive, mariadb, mode=mode).run().done == 1


@on_mariadb
def test_a_server_that_cuts_what_does_not_fit(archive: Archive, mariadb: str) -> None:
    """Its sql_mode is not believed: a title that is too long fails, and is not cut."""
    query(mariadb, "CREATE TABLE documents (id VARCHAR(40) PRIMARY KEY, title VARCHAR(5))")
    query(mariadb, "SET GLOBAL sql_mode = ''")
    try:
        publish(archive, {"a": {"title": "short"}, "b": {"title": "longer"}})
        report = load(archive, mariadb).run()
    finally:
        query(mariadb, "SET GLOBAL sql_mode = DEFAULT")
    assert (report.done, [failure.file for failure in report.failures]) == (1, ["b"])


@on_mariadb
def test_a_worker_that_is_gone_without_a_word(mariadb: str) -> None:
    """Its session ends by itself, and with it what it holds; not after eight hours."""
    engine, _ = open_engine(mariadb)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT @@SESSION.wait_timeout").scalar() == LONGEST_IDLE
    engine.dispose()


@on_mariadb
def test_a_table_without_transactions(archive: Archive, mariadb: str) -> None:
    """A batch that fails would leave rows in it, which come again: the run ends, and nobody's attempts are used up."""
    query(mariadb, "CREATE TABLE documents (id VARCHAR(40), title VARCHAR(5)) ENGINE = MyISAM")
    publish(archive, {"a": {"title": "1"}, "b": {"title": "longer"}, "c": {"title": "3"}})
    job = load(archive, mariadb, mode="append")
    with pytest.raises(TargetError, match="the engine MyISAM, which knows no transactions"):
        job.run()
    assert (query(mariadb, "SELECT * FROM documents"), job.status().pending) == ([], 3)
    query(mariadb, "ALTER TABLE documents ENGINE = InnoDB")
    assert (job.run().done, sorted(query(mariadb, "SELECT id FROM documents"))) == (2, [("a",), ("c",)])


@on_mariadb
def test_a_server_whose_tables_know_no_transactions(archive: Archive, mariadb: str) -> None:
    """What is made there has transactions all the same: the table, the registry and the receipts."""
    query(mariadb, "SET GLOBAL default_storage_engine = MyISAM")
    try:
        publish(archive, {"a": {}})
        assert load(archive, mariadb).run().done == 1
    finally:
        query(mariadb, "SET GLOBAL default_storage_engine = InnoDB")
    engines = query(mariadb, "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = database()")
    assert sorted(engines) == [(name, "InnoDB") for name in ("_mmmeta_columns", "_mmmeta_receipts", "documents")]


@on_mariadb
def test_a_check_of_the_table(archive: Archive, mariadb: str) -> None:
    """What a constraint refuses is its row's failure."""
    query(mariadb, "CREATE TABLE documents (id VARCHAR(40) PRIMARY KEY, pages INTEGER CHECK (pages < 5))")
    publish(archive, {"a": {"pages": 1}, "b": {"pages": 9}})
    report = load(archive, mariadb).run()
    assert (report.done, [failure.file for failure in report.failures]) == (1, ["b"])


@on_mariadb
def test_the_name_of_the_driver_may_be_left_out(archive: Archive, mariadb: str) -> None:
    """`mariadb://` and `mysql://` take the driver of the extra."""
    publish(archive, {"a": {}})
    for number, scheme in enumerate(("mariadb", "mysql", "mysql+pymysql")):
        url = mariadb.replace("mariadb+pymysql", scheme)
        assert archive.client.job(f"j{number}", load={"to": url, "table": "documents"}).run().done == 1
    assert query(mariadb, "SELECT count(*) FROM documents") == [(1,)]
