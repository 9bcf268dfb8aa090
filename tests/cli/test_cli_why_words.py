"""why: whatever of a file a person has at hand, and what never became one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import Run, lines, sync, write


@pytest.mark.parametrize(
    "word",
    ["b2.txt", "b2.json", "./b2.json", "Report, wi", "report", "b", "B2", "  b2 ", "downloads/x/b2.txt", "b2.TXT"],
)
def test_words_that_mean_a_file(ran: Path, run: Run, word: str) -> None:
    """The document's name, its metadata file, how the title or the hash begins."""
    text = run("why", word, "contracts", code=None)
    assert "b2: never selected" in text.stdout, text.output


def test_all_jobs_unless_one_is_named(ran: Path, run: Run) -> None:
    """Each says its part."""
    text = run("why", "b2.txt").stdout
    assert text.startswith("b2.txt: b2, 'Report, with [red] comma', 'b2.txt', from b2.json\n")
    assert "archive/contracts: b2: never selected" in text
    assert "archive/everything: b2: failed 1 of 5 times" in text
    assert [line["job"] for line in lines(run("why", "b2.txt", "--json").stdout)] == ["contracts", "everything"]


def test_a_path_from_wherever_it_was_typed(
    server: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute, or relative to the folder in which one stands, in either Unicode form, with folders."""
    write(server, "Verträge/Übergabe.json", {"content_hash": "u1", "_file_name": "Übergabe.pdf"})
    run("--metadir", server, "generate")
    for word in (server / "Verträge" / "Übergabe.json", "Verträge/Übergabe.json", "U\u0308bergabe.pdf", "Übergabe.pdf"):
        assert "u1: published (revision 2)" in run("--metadir", server, "why", word).stdout
    monkeypatch.chdir(server / "Verträge")
    assert "u1" in run("--metadir", server, "why", "Übergabe.json").stdout
    assert "u1" in run("--metadir", server, "why", "./Übergabe.json").stdout


def test_several_are_listed(client: Path, server: Path, run: Run) -> None:
    """With what tells them apart, bounded; nothing is guessed."""
    for number in range(25):
        write(server, f"f{number}/same.json", {"content_hash": f"f{number:02}", "title": f"Same {number}"})
    run("--metadir", server, "generate")
    sync(server, client)
    run("--metadir", client, "update")
    result = run("--metadir", client, "why", "same.json", code=1)
    assert "more than 20 files are meant by 'same.json'" in result.stderr
    assert "f3/same.json" in result.stdout
    report = json.loads(run("--metadir", client, "why", "f0", "--json", code=1).stdout)
    assert [match["file"] for match in report["matches"]] == [f"f{number:02}" for number in range(10)]
    assert report["more"] is False
    assert "f05: merged" in run("--metadir", client, "why", "f5/same.json").stdout


def test_what_was_set_aside_at_the_server(project: Path, server: Path, client: Path, run: Run) -> None:
    """Said at the client, by the name of the metadata file or of its document, and for one that worked before."""
    write(server, "bad/d4.json", "{broken")
    write(server, "b2.json", "{broken")
    write(server, "e5.json", {"content_hash": "c3"})
    run("--metadir", server, "generate", code=3)
    sync(server, client)
    run("update")
    for word in ("bad/d4.json", "d4.json", "d4.pdf", "d4"):
        assert "bad/d4.json: set aside at the server since" in run("why", word).stdout
    (report,) = lines(run("why", "d4.json", "--json").stdout)
    assert (report["file"], report["job"]) == (None, None)
    assert report["set_aside"][0]["path"] == "bad/d4.json"  # type: ignore[index]
    text = run("why", "b2.json", "contracts").stdout
    assert "b2: never selected" in text
    assert "b2.json: set aside at the server since" in text
    loser = (
        "c3.json" if "from e5.json" in run("why", "c3").output + run("why", "e5.json", code=None).output else "e5.json"
    )
    assert "passed over at the server" in run("why", loser).stdout
    assert "passed over" in run("--metadir", server, "why", loser).stdout


def test_what_was_never_seen(ran: Path, server: Path, run: Run) -> None:
    """With the near misses, for a name, a path and a hash; and clumsy words."""
    for word, near in (
        ("b3.txt", "b2.txt"),
        ("b3.jsn", "b2.json"),
        ("zzz", None),
        ("", None),
        ("%", None),
        ("\udcff", None),
    ):
        error = run("why", word, code=1).stderr
        assert "no metadata file of that name was seen" in error
        assert near is None or f"{near}" in error
    assert "no metadata file of that name" in run("--metadir", server, "why", "zzz", code=1).stderr


def test_published_and_not_merged(ran: Path, server: Path, client: Path, run: Run) -> None:
    """The next update brings it."""
    write(server, "d4.json", {"content_hash": "d4"})
    run("--metadir", server, "generate")
    sync(server, client)
    assert "d4: published (revision 2); not merged yet: run `mmmeta update`" in run("why", "d4").stdout


def test_several_metadirs(ran: Path, server: Path, run: Run) -> None:
    """Whichever knows it answers."""
    write(server, "d4.json", {"content_hash": "d4"})
    run("--metadir", server, "generate")
    ran.write_text(ran.read_text() + f"  other:\n    path: {server}\n")
    assert "d4: published" in run("why", "d4").stdout
    assert "no metadata file of that name" in run("why", "zzz", code=1).stderr
