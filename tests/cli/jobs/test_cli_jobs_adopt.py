"""jobs adopt: a switch to mmmeta does not do everything again."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from cli_support import PROJECT, Run

from mmmeta import mmmeta


@pytest.fixture
def texts(tmp_path: Path) -> str:
    """A database of somebody's own import: two files are in it, one of which is not known here, and a NULL."""
    path = tmp_path / "texts.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE texts (sha1, body)")
    connection.executemany(
        "INSERT INTO texts VALUES (?, ?)", [("a1", "x"), ("zz", None), (None, "x"), (b"c3", "10:30")]
    )
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def report(text: str) -> dict[str, object]:
    value = json.loads(text)
    assert isinstance(value, dict)
    return {key: value[key] for key in ("named", "adopted", "already_done", "not_selected", "unknown")}


def test_the_flag_of_an_older_script(project: Path, client: Path, tmp_path: Path, run: Run) -> None:
    """`imported=true` counts as done; a dry run changes nothing; the next run does the rest only."""
    with mmmeta(client) as m:
        m.update()
        for name in ("a1", "b2"):
            file = m.files.find_one(content_hash=name)
            assert file is not None
            file["imported"] = True
            file.save()
    words = ("jobs", "adopt", "contracts", "--where", "imported=true")
    assert "1 file would be adopted, 2 named; of the others: 1 not selected" in run(*words, "--dry-run").stdout
    assert report(run(*words, "--dry-run", "--json").stdout)["adopted"] == 1
    for verb, dry in (("adopt", ["--where", "imported=true"]), ("retry", []), ("forget", [])):
        dry_run = json.loads(run("jobs", verb, "contracts", *dry, "--dry-run", "--json").stdout)["dry_run"]
        assert dry_run is True
    mistyped = run("jobs", "adopt", "contracts", "--where", "importd=true", code=1)
    assert "no file has the key 'importd': nothing was adopted. Did you mean 'imported'?" in mistyped.stderr
    assert "archive/contracts: 1 file adopted" in run(*words).stdout
    assert report(run(*words, "--json").stdout) == {
        "named": 2,
        "adopted": 0,
        "already_done": 1,
        "not_selected": 1,
        "unknown": 0,
    }
    run("run", "contracts")
    assert (tmp_path / "seen").read_text().split() == ["c3"]
    assert "adopted" in run("jobs", "history", "contracts", "--file", "a1").stdout


def test_a_column_or_a_query_of_a_database(project: Path, texts: str, run: Run) -> None:
    """What it does not know is counted and named; NULL is nothing; a colon in SQL is no parameter."""
    run("update")
    by_column = ("jobs", "adopt", "contracts", "--database", texts, "--column", "texts.sha1", "--dry-run")
    result = run(*by_column)
    assert "2 files would be adopted, 3 named; of the others: 1 not known here" in result.stdout
    assert "not known here: zz" in result.stderr
    query = "SELECT CAST(sha1 AS TEXT) FROM texts WHERE body = '10:30'"
    by_query = ("jobs", "adopt", "contracts", "--database", texts, "--query", query)
    assert report(run(*by_query, "--json").stdout)["adopted"] == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--column", "texts.sha"], 1, "Did you mean 'sha1'"),
        (["--column", "text.sha1"], 1, "Did you mean 'texts'"),
        (["--column", "sha1"], 1, "write --column TABLE.COLUMN"),
        (["--query", "SELEC 1"], 1, "syntax error"),
        (["--query", "DELETE FROM texts"], 1, "readonly"),
        (["--query", "SELECT 1", "--where", "a=b"], 2, "in one way"),
        ([], 2, "in one way"),
    ],
)
def test_what_cannot_be_adopted(
    project: Path, texts: str, tmp_path: Path, run: Run, words: list[str], code: int, message: str
) -> None:
    """One clear line, and nothing in the database is changed."""
    run("update")
    before = (tmp_path / "texts.db").read_bytes()
    database = ["--database", texts] if words else []
    assert message in run("jobs", "adopt", "contracts", *database, *words, code=code).stderr
    assert (tmp_path / "texts.db").read_bytes() == before


def test_mistakes_around_the_database(project: Path, tmp_path: Path, run: Run) -> None:
    """A path that is not there makes no new file; a job without a target has to be told; nobody knows what a call did."""
    run("update")
    missing = f"sqlite:///{tmp_path}/nothing.db"
    assert (
        "there is no such file"
        in run("jobs", "adopt", "contracts", "--database", missing, "--query", "SELECT 1", code=1).stderr
    )
    assert not (tmp_path / "nothing.db").exists()
    assert "name one with --database" in run("jobs", "adopt", "contracts", "--query", "SELECT 1", code=1).stderr
    assert "goes with --column" in run("jobs", "adopt", "contracts", "a1", "--database", missing, code=2).stderr
    assert "nobody knows where its results are" in run("jobs", "adopt", "contracts", "--present", code=1).stderr
    assert "Did you mean 'a1'" in run("jobs", "adopt", "contracts", "a1", "a", code=1).stderr
    assert "1 file adopted, 1 named" in run("jobs", "adopt", "contracts", "a1").stdout


def test_the_jobs_own_table_is_the_default(project: Path, tmp_path: Path, run: Run) -> None:
    """A job that loads needs no database named; only the column."""
    load = f'load: {{to: "sqlite:///{tmp_path}/texts.db", table: texts}}'
    project.write_text(PROJECT.replace('call: {function: "cli_sample:remember"}', load))
    connection = sqlite3.connect(tmp_path / "texts.db")
    connection.execute("CREATE TABLE texts (sha1)")
    connection.execute("INSERT INTO texts VALUES ('a1')")
    connection.commit()
    connection.close()
    run("update")
    assert "1 file would be adopted" in run("jobs", "adopt", "contracts", "--column", "sha1", "--dry-run").stdout
    assert "Did you mean 'sha1'" in run("jobs", "adopt", "contracts", "--column", "sh1", code=1).stderr


def test_what_is_in_the_jobs_own_table_is_adopted_and_checked(project: Path, tmp_path: Path, run: Run) -> None:
    """After a ledger was lost nothing is imported again; a row that somebody removed is found out."""
    target = tmp_path / "rows.db"
    project.write_text(
        PROJECT.split("      contracts:")[0]
        + f'      rows:\n        load: {{to: "sqlite:///{target}", table: documents}}\n'
    )
    run("run")
    assert run("check").stdout.startswith(
        "archive: no problems: compared the cells of 3 files, looked for what jobs did with 3"
    )
    run("jobs", "forget", "rows", "--yes")
    assert "3 files would be adopted, 3 named" in run("jobs", "adopt", "rows", "--present", "--dry-run").stdout
    assert "3 files adopted, 3 named" in run("jobs", "adopt", "rows", "--present").stdout
    assert "archive/rows: nothing to do" in run("run").stdout
    connection = sqlite3.connect(target)
    connection.execute("DELETE FROM documents WHERE content_hash = 'b2'")
    connection.commit()
    connection.close()
    result = run("check", code=3)
    assert "archive: 1 problem" in result.stdout
    assert "b2" in result.stdout
    assert "done, but " in result.stdout
    run("jobs", "retry", "rows", "b2")
    run("run")
    run("check")
