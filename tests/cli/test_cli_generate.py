"""generate: what is said, and what was set aside."""

from __future__ import annotations

import json
from pathlib import Path

from cli_support import DOCUMENTS, Run, write


def test_generate_says_what_it_did(tmp_path: Path, run: Run) -> None:
    """First everything is new, then nothing is."""
    for document in DOCUMENTS:
        write(tmp_path / "s", f"{document['content_hash']}.json", document)
    assert run("--metadir", tmp_path / "s", "generate").stdout.startswith("s: 3 added (revision 1, ")
    assert run("--metadir", tmp_path / "s", "generate").stdout.startswith("s: 3 unchanged (revision 1, ")


def test_generate_names_what_it_set_aside(server: Path, run: Run) -> None:
    """Exit code 3, the file and the reason on stderr, the rest is in."""
    write(server, "deep/broken.json", "{")
    write(server, "d4.json", {"content_hash": "d4"})
    result = run("generate", "--metadir", server, code=3)
    assert "1 added" in result.stdout
    assert "1 problem:" in result.stderr
    assert "deep/broken.json" in result.stderr


def test_generate_names_metadata_files_that_share_a_unique_value(server: Path, run: Run) -> None:
    """Which one counts and which do not; in --json too, and again where nothing changed."""
    write(server, "z/copy.json", {"content_hash": "a1", "title": "Lease, again"})
    run("--metadir", server, "generate")
    for _ in range(2):
        result = run("--metadir", server, "generate")
        assert "a1: z/copy.json counts, not a1.json" in result.stderr
        report = json.loads(run("--metadir", server, "generate", "--json").stdout)
        assert report["shared"] == [{"file": "a1", "source": "z/copy.json", "others": ["a1.json"]}]


def test_generate_json_is_one_object(server: Path, run: Run) -> None:
    """For programs: the whole report, nothing beside it on stdout."""
    write(server, "broken.json", "{")
    report = json.loads(run("--metadir", server, "generate", "--json", code=3).stdout)
    assert report["unchanged"] == 3
    assert report["total"] == 3
    assert report["problem_count"] == 1
    assert report["problems"][0]["source"] == "broken.json"
    assert report["path"] == str(server)


def test_copies_without_metadata_files_are_called_documents(tmp_path: Path, run: Run) -> None:
    """None of them is a metadata file, and which one counts is not said by its age."""
    for folder in ("a", "b"):
        (tmp_path / "plain" / folder).mkdir(parents=True)
        (tmp_path / "plain" / folder / "x.txt").write_text("one")
    result = run("--metadir", tmp_path / "plain", "generate", "--no-meta")
    assert "1 documents share a unique value with another, of which one counts" in result.stderr
    assert "documents with one unique value:" in result.stderr
    assert "metadata files" not in result.stderr
