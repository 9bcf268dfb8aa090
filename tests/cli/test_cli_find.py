"""find: filters, tables, JSON lines, and real documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import Run, command, hashes, sync, write

from mmmeta import mmmeta


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((), ["a1", "b2", "c3"]),
        (("document_type=contract",), ["a1", "c3"]),
        (("document_type=contract", "pages>10"), ["c3"]),
        (("content_hash=a1,b2",), ["a1", "b2"]),
        (("title~=%ea%",), ["a1"]),
        (('n="00123"',), ["a1"]),
        (("public=false",), ["b2", "c3"]),
        (("publisher:name!=null",), ["c3"]),
        (("pages>=7d",), []),
    ],
)
def test_find_takes_filters_as_people_type_them(
    filters: tuple[str, ...], expected: list[str], server: Path, run: Run
) -> None:
    """Before the first update from the metadata db itself."""
    assert hashes(run("--metadir", server, "find", *filters, "--json")) == expected


def test_find_sorts_limits_and_chooses_columns(client: Path, run: Run) -> None:
    """In the state db after an update, with the client's own columns."""
    run("--metadir", client, "update")
    with mmmeta(client) as m:
        file = m.files.find_one(content_hash="a1")
        assert file is not None
        file["imported"] = True
        file.save()
    result = run(
        "--metadir", client, "find", "--order-by", "-pages", "--limit", "2", "--columns", "content_hash,pages", "--json"
    )
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"content_hash": "c3", "pages": 40},
        {"content_hash": "b2", "pages": 12},
    ]
    assert hashes(run("--metadir", client, "find", "imported=true", "--json")) == ["a1"]
    assert hashes(run("--metadir", client, "find", "imported=false", "--json")) == ["b2", "c3"]


def test_find_draws_a_table(server: Path, run: Run) -> None:
    """With what was asked about in it; markup and control characters in metadata stay what they are."""
    write(server, "e5.json", {"content_hash": "e5", "title": "\x1b[31mred\nline", "pages": 1})
    run("--metadir", server, "generate")
    result = run("--metadir", server, "find", "pages>0", "--order-by", "pages")
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["content_hash", "pages", "title"]
    assert "Report, with [red] comma" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\\x1b[31mred\\nline" in result.stdout
    assert "4 files" in result.stderr
    assert "the first 2 shown" in run("--metadir", server, "find", "--limit", "2").stderr


def test_find_hints_at_the_type_and_at_the_key(server: Path, run: Run) -> None:
    """Nothing found has a reason more often than not."""
    assert 'n="00123"' not in run("--metadir", server, "find", "n=123").stderr
    write(server, "f6.json", {"content_hash": "f6", "zip": "76131"})
    run("--metadir", server, "generate")
    assert "zip holds text: write 'zip=\"76131\"'" in run("--metadir", server, "find", "zip=76131").stderr
    result = command("--metadir", server, "find", "page>3")
    assert result.stderr.startswith("Warning: ")
    assert "pages" in result.stderr


def test_real_documents_from_the_command_line(landtag: Path, tmp_path: Path, run: Run) -> None:
    """Ten parliamentary papers: generate, sync, update, find, dump."""
    server, client = tmp_path / "s", tmp_path / "c"
    server.mkdir()
    assert "10 added" in run("--metadir", server, "--files-root", landtag, "generate").stdout
    sync(server, client)
    run("--metadir", client, "update")
    assert len(hashes(run("--metadir", client, "find", "legislative_term=16", "--json"))) == 6
    assert len(hashes(run("--metadir", client, "find", "retrieved_at>=2021-05-01", "--json"))) == 7
    assert hashes(run("--metadir", client, "find", "published_at=2019-04-18", "--json"))
    assert "foreign_id" in run("--metadir", client, "dump", "--csv").stdout.splitlines()[0]
    assert "10 files" in run("--metadir", client, "find").stderr


@pytest.mark.parametrize("word", ["pages>=", "pages<", "pages>= "])
def test_an_empty_bound_is_a_usage_error(client: Path, run: Run, word: str) -> None:
    """Nothing can be compared with nothing; an empty text is written with quotes."""
    assert "nothing to compare with" in run("--metadir", client, "find", word, code=2).stderr
    run("--metadir", client, "find", word.strip() + '""')
    run("--metadir", client, "find", "title=")


@pytest.mark.filterwarnings("default::mmmeta.errors.UnknownKeyWarning")
@pytest.mark.parametrize("verb", ["find", "dump"])
def test_unknown_columns_are_errors(server: Path, client: Path, run: Run, verb: str, tmp_path: Path) -> None:
    """With the near misses, also for the order; a filter on what nobody has set yet is a warning, as ever."""
    for option, word in (("--columns", "title,titel"), ("--order-by", "-titel"), ("--order-by", "pages,titel")):
        error = " ".join(run("--metadir", server, verb, option, word, code=2).stderr.split())
        assert "no file has the key 'titel'" in error
        assert "Did you mean 'title'?" in error
        assert option in error
    run("--metadir", server, verb, "--columns", "title,publisher:name", "--order-by", "pages,__rev")
    assert "no file has the key 'imported'" in run("--metadir", server, verb, "imported=false").stderr
    run("--metadir", client, "update")
    with mmmeta(client) as m:
        file = m.files.find_one(content_hash="a1")
        assert file is not None
        file["imported"] = True
        file.save()
    run("--metadir", client, verb, "--columns", "imported", "--order-by", "imported")
    (tmp_path / "new").mkdir()
    run("--metadir", tmp_path / "new", "generate")
    run("--metadir", tmp_path / "new", verb, "--columns", "title")
