"""What the UI shows of a run: which files it did, with links, how fast, and the columns of what it wrote."""

from __future__ import annotations

import sqlite3
from typing import Any

import dagster as dg
import pytest
from executing import execute, metadata, observed
from small_archive import Archive

from mmmeta_dagster.shown import schema
from mmmeta_dagster.shown.markdown import Link, cell

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    jobs:
      load_all:
        load: {to: "sqlite:///loaded.db", table: documents, columns: [{name: _file_name}, pages, {date: published}]}
"""

TEMPLATES = "remote: {url: 'https://archive.example/{_file_name}'}\n"


def shown_types(said: Any) -> dict[str, str]:
    return {column.name: column.type for column in said["dagster/column_schema"].columns}


def test_the_state_db_lists_the_keys_with_their_types(
    archive: Archive, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual type first; a client's own keys too; the one that identifies files is marked; no more than so many."""
    archive.write("odd", "letter", url=7, pages=3, scanned=True, tags=["a"], nothing=None)
    archive.publish()
    execute(archive, instance, "archive_update")
    with archive.open() as m:
        for file in m.files:
            file["mine"] = 1.5
            file.save()
    said = metadata(execute(archive, instance, "archive_update"), "state_db")
    assert shown_types(said) == {
        "content_hash": "text",
        "document_type": "text",
        "_file_name": "text",
        "url": "text | integer",
        "pages": "integer",
        "scanned": "boolean",
        "tags": "json",
        "nothing": "null",
        "mine": "number",
        **dict.fromkeys(["path", "dir", "name", "metadata_path", "mime_type"], "text"),
        "size": "integer",
    }
    first, second, *_ = said["dagster/column_schema"].columns
    assert (first.constraints.unique, first.constraints.nullable, second.constraints.unique) == (True, False, False)
    monkeypatch.setattr(schema, "MOST", 2)
    short = metadata(execute(archive, instance, "archive_update"), "state_db")["dagster/column_schema"]
    assert len(short.columns) == 2
    assert short.constraints.other == ["13 more keys are not listed"]


def test_a_loaded_table_lists_its_columns_and_counts_its_rows(
    archive: Archive, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the database has them; where that knows no types, those of the keys behind them, renamed ones too."""
    archive.configure(PROJECT)
    archive.write("book", "letter", pages=300, published="2026-05-01")
    archive.publish()
    with sqlite3.connect(archive.root / "loaded.db") as target:
        target.execute("CREATE TABLE documents (content_hash TEXT PRIMARY KEY NOT NULL, name VARCHAR(80), extra REAL)")
        target.execute("INSERT INTO documents VALUES ('by somebody else', '', 1)")
    target.close()
    said = metadata(execute(archive, instance), "load_all")
    assert said["dagster/row_count"] == 7
    assert shown_types(said) == {
        "content_hash": "TEXT",
        "name": "VARCHAR(80)",
        "extra": "REAL",
        "pages": "integer",
        "date": "text",
    }
    monkeypatch.setattr(schema, "COUNTED", 5)
    said = metadata(execute(archive, instance), "load_all")
    assert "dagster/row_count" not in said
    assert len(shown_types(said)) == 5
    (spec,) = [one for one in archive.definitions.resolve_all_asset_specs() if one.key.path[-1] == "load_all"]
    assert spec.metadata["dagster/table_name"] == "documents"


def test_a_table_that_cannot_be_looked_at_fails_no_run(archive: Archive, instance: dg.DagsterInstance) -> None:
    """It is gone, or no database any more; nothing is made in its place."""
    archive.configure(PROJECT.replace(", columns: [{name: _file_name}, pages, {date: published}]", ""))
    assert execute(archive, instance).success
    target = archive.root / "loaded.db"
    target.unlink()
    result = execute(archive, instance)
    assert result.success
    assert "dagster/column_schema" not in metadata(result, "load_all")
    assert not target.exists()
    target.write_text("this is no database, whatever its name says " * 100)
    assert execute(archive, instance).success


def test_rates_are_numbers_of_runs_that_did_something(archive: Archive, instance: dg.DagsterInstance) -> None:
    said = metadata(execute(archive, instance), "download_contracts")
    assert said["size (bytes)"] == sum(len(f"contract contract{number}") for number in range(3))
    assert said["files per second"] == pytest.approx(3 / said["duration (seconds)"], rel=0.2, abs=0.1)
    assert said["bytes per second"] == pytest.approx(said["size (bytes)"] / said["duration (seconds)"], rel=0.2, abs=2)
    quiet = metadata(execute(archive, instance), "download_contracts")
    assert not [name for name in quiet if "second" in name and name.endswith("per second")]
    assert "files" not in quiet


def test_the_files_of_a_run_with_links_and_the_command_for_all_of_them(
    empty_archive: Archive, instance: dg.DagsterInstance
) -> None:
    """The last fifty of this run, no others; a link where the document is on the web."""
    empty_archive.write("first", "letter")
    empty_archive.publish()
    execute(empty_archive, instance)
    (empty_archive.server / "_mmmeta" / "config.yml").write_text(TEMPLATES)
    for number in range(53):
        empty_archive.write(f"letter{number}", "letter")
    empty_archive.publish()
    result = execute(empty_archive, instance)
    table = metadata(result, "look")["files"]
    lines = table.splitlines()
    assert lines[0] == "| file | now | size |"
    assert len([line for line in lines if "| done |" in line]) == 50
    assert all("](<https://archive.example/letter" in line for line in lines[2:52])
    assert all(line.startswith("| [letter") for line in lines[2:52])
    assert "first.txt" not in table
    assert lines[53] == "… and 3 more:"
    assert lines[55] == f"    {metadata(result, 'look')['see more']}"
    assert metadata(result, "load_all")["files"].count("| done |") == 50


def test_files_that_failed_have_links_too(archive: Archive, instance: dg.DagsterInstance) -> None:
    """From the metadata, where config.yml has no template, also of a run that failed."""
    archive.write("linked", "letter", public_url="https://archive.example/a b|c.pdf")
    archive.publish()
    archive.fail("letter0.txt", "letter1.txt", "linked.txt")
    result = execute(archive, instance)
    assert not result.success
    failures = observed(instance, "look")["failures"]
    assert failures.splitlines() == [
        r"- **2 failed**: ValueError: cannot read \| letter0.txt; e.g. letter0.txt",
        r"- **1 failed**: ValueError: cannot read \| linked.txt; e.g. [linked.txt](<https://archive.example/a%20b%7Cc.pdf>)",
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/x?y=1#z", "[n](<https://a.example/x?y=1#z>)"),
        ("HTTP://a.example", "[n](<HTTP://a.example>)"),
        ("https://a.example/ü%20", "[n](<https://a.example/%C3%BC%20>)"),
        ("https://a.example/>)|<script>\n\\`", "[n](<https://a.example/%3E)%7C%3Cscript%3E%0A%5C%60>)"),
        ("javascript:alert(1)", "n"),
        ("java\nscript://a.example/", "n"),
        ("file:///etc/passwd", "n"),
        ("/documents/a.pdf", "n"),
        ("https://", "n"),
        ("https://user:secret@a.example/", "n"),
        ("https://[a.example/", "n"),
        ("https://a.example/" + "x" * 3_000, "n"),
        ("", "n"),
        (None, "n"),
    ],
)
def test_only_a_web_address_is_a_link(url: str | None, shown: str) -> None:
    """What comes from a remote cannot end the link, run anything, or show a password."""
    assert cell(Link("n", url)) == shown
    assert cell(Link("[x](y)|", None)) == r"\[x\](y)\|"
