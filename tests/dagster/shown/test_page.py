"""What an asset's page shows first: a sentence, why files fail and which, and what to type; in a column of 290 pixels."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone

import dagster as dg
import pytest
from executing import execute, failure_of, metadata, observed
from small_archive import Archive

from mmmeta import mmmeta
from mmmeta.jobs.failures import FailureGroup
from mmmeta_dagster import keys
from mmmeta_dagster.shown import failures
from mmmeta_dagster.shown.failures import failure_list
from mmmeta_dagster.shown.markdown import BREAK, INLINE, WORD, Link, cell, short_digests, table

FUNCTION = """
def look(file):
    number = file["number"]
    if number % 3 == 0:
        raise ValueError(f"page {number} of {file['url']}: cannot decode {file.unique_value}")
    if number % 3 == 1:
        raise MemoryError("out of memory")
"""

FIRST = [keys.META_SUMMARY, keys.META_FAILURES, keys.META_SEE_MORE, keys.META_REMEDY]


def scraped(archive: Archive, *numbers: int, title: str | None = "Kleine Anfrage Nr. {}") -> list[str]:
    """Documents as scrapers store them: by their digest, with a title; gives the digests."""
    digests = []
    for number in numbers:
        content = f"document {number}".encode()
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        values = {
            "content_hash": digest,
            "_file_name": f"{digest}.data.pdf",
            "document_type": "letter",
            "number": number,
            "url": f"https://parliament.example/{number}.pdf",
            **({} if title is None else {"title": title.format(number)}),
        }
        archive.server.mkdir(exist_ok=True)
        (archive.server / f"{digest}.data.pdf").write_bytes(content)
        (archive.server / f"{digest}.json").write_text(json.dumps(values))
        digests.append(digest)
    archive.publish()
    (archive.root / "dagster_test_actions.py").write_text(FUNCTION)
    return digests


def once(archive: Archive) -> None:
    """Files die at once."""
    archive.configure(archive.project.read_text().replace("attempts: 3\n        backoff: 1s", "attempts: 1"))


def test_failures_are_reasons_with_counts_and_an_example_by_its_title(
    empty_archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Those of earlier runs, too; no digest anywhere, neither as a name nor in a message."""
    once(empty_archive)
    digests = scraped(empty_archive, *range(9))
    execute(empty_archive, instance)
    scraped(empty_archive, 11)
    said = metadata(execute(empty_archive, instance), "look")
    assert list(said)[:4] == FIRST
    assert said["summary"] == "1 file done; 6 dead in all, waiting for a person: mend the cause, then retry"
    lines = said["failures"].splitlines()
    assert [line.split(":")[0] for line in lines] == ["- **3 dead**", "- **3 dead**"]
    assert sorted(line.split("; e.g. ")[1][:23] for line in lines)[0].startswith("Kleine Anfrage Nr. ")
    assert all(digest not in f"{said['failures']}{said['files']}" for digest in digests)
    assert said["see more"].endswith(" jobs failed look")
    assert said["what mends it"].endswith(" jobs retry --dead look")


def test_a_run_that_fails_as_a_whole_names_a_file_by_its_title(
    empty_archive: Archive, instance: dg.DagsterInstance
) -> None:
    """In its failure; all else stands in one place, which the asset's page shows."""
    once(empty_archive)
    scraped(empty_archive, 1, 4)
    result = execute(empty_archive, instance)
    failure = failure_of(result, "look").user_failure_data
    assert failure.description.startswith("look: none of 2 files could be done. Kleine Anfrage Nr. ")
    assert set(failure.metadata) == {keys.META_SEE_MORE, keys.META_REMEDY}
    assert list(observed(instance, "look"))[:4] == FIRST


def test_a_name_that_is_a_digest_is_shown_by_its_beginning(
    empty_archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Where there is no title: enough to find it."""
    once(empty_archive)
    (digest, _) = scraped(empty_archive, 1, 2, title=None)
    said = metadata(execute(empty_archive, instance), "look")
    assert said["failures"] == f"- **1 dead**: MemoryError: out of memory; e.g. {digest[:8]}….data.pdf"


def test_many_files_that_fail_are_told_by_those_of_the_run(
    empty_archive: Archive, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading millions of them in each run would cost more than the run."""
    once(empty_archive)
    scraped(empty_archive, 1, 2, 4)
    execute(empty_archive, instance)
    scraped(empty_archive, 6, 8)
    monkeypatch.setattr(failures, "GROUPED", 2)
    said = metadata(execute(empty_archive, instance), "look")
    assert "ValueError" in said["failures"]
    assert "MemoryError" not in said["failures"]
    assert said["dead"] == 3


@pytest.mark.parametrize("letter", ["x", "`", "𝔘", "\n", "|", "[a](b)", "\u202e", "&"])
def test_the_list_is_never_folded(empty_archive: Archive, letter: str) -> None:
    """Whatever documents and errors are called, the UI shows it where it stands; what has no room is counted."""
    names = [f"n{number}" for number in range(60)]
    for name in names:
        empty_archive.write(
            name, "letter", title=f"{name} {letter * 300}", public_url=f"https://a.example/{'ä' * 40 * len(name)}"
        )
    empty_archive.publish()
    with mmmeta(empty_archive.client) as m:
        m.update()
        groups = [
            FailureGroup(f"E{number}Error", letter * 2_000, 2, 1, 1, 0, file.unique_value, datetime.now(timezone.utc))
            for number, file in enumerate(m.files)
        ]
        for few in (1, 2, 3, 60):
            shown = failure_list(m, groups[:few])
            assert shown is not None
            text = str(shown.value)
            assert 0 < len(text.encode("utf-16-le")) // 2 <= INLINE
            lines = text.splitlines()
            assert all(line.startswith("- ") for line in lines)
            left = few - sum(line.startswith("- **1 failed, 1 dead**: E") for line in lines)
            assert left < few
            assert not left or f"{2 * left} more, for {left} other" in lines[-1]
        assert failure_list(m, []) is None


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("0011d580dcdff07f0c3a95ddc80b8fd545faa7d6", "0011d580…"),
        ("/data/0011D580DCDFF07F0C3A95DDC80B8FD545FAA7D6.data.pdf", "/data/0011D580….data.pdf"),
        ("sha256:" + "a1" * 32, "sha256:a1a1a1a1…"),
        ("doc_" + "a1" * 16, "doc_a1a1a1a1…"),
        ("4f9619ff-8b86-d011-b42d-00cf4fc964ff", "4f9619ff…"),
        ("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", "bafybeig…"),
        ("annual_report_of_the_ministry_of_transport_2024.pdf",) * 2,
        ("Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz",) * 2,
        ("Donaudampfschifffahrtselektrizitaetenhauptbetriebswerk",) * 2,
        ("16/5934",) * 2,
    ],
)
def test_only_what_nobody_reads_is_shortened(text: str, short: str) -> None:
    assert short_digests(text) == short
    assert cell(text).replace("\\", "").replace(BREAK, "") == short


@pytest.mark.parametrize(
    "text",
    [
        "Rahmenvertrag_Bundesministerium_des_Innern_2024_Anlage_1000_final.pdf",
        "ConnectionError(\"HTTPSConnectionPool(host='api.example.org', port=443): Max retries exceeded\")",
        "https://api.example.org/v1/documents?kind=letter&publisher=office&from=2024-01-01",
        "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz",
        "package.module.somewhere.else.NewConnectionErrorOfTheLibrary",
        "é" * 100,
        "e\u0301" * 50,
        "\u0301" * 100,
        "\\`*_[]<>|&~#" * 10,
    ],
)
def test_no_word_is_wider_than_the_column(text: str) -> None:
    """Or the whole table would be cut off at the right, the commands too. All of the word is shown."""
    shown = cell(text).replace(BREAK, " ")
    longest = max(len(word.replace("\\", "")) for word in shown.split())
    assert longest <= WORD
    assert cell(text).replace(BREAK, "") == "".join(f"\\{c}" if c in "\\`*_[]<>|&~#" else c for c in text)


def test_a_long_word_is_broken_after_a_sign() -> None:
    """As a reader would; an accent stays with its letter, and a short word is as it was."""
    assert cell("Rahmenvertrag_Bundesministerium_2024.pdf").replace("\\", "") == (
        f"Rahmenvertrag_{BREAK}Bundesministerium_2024.pdf"
    )
    assert f"{BREAK}\u0301" not in cell("ae\u0301" * 50)
    assert BREAK not in cell("annual-report-2024.pdf of the ministry")


def test_a_link_is_broken_where_it_is_read_and_nowhere_else() -> None:
    """Its address, and a command below a table, stay what they are."""
    address, command = f"https://a.example/{'b' * 60}", f"mmmeta --project /srv/{'c' * 60}.yaml inspect"
    text = str(table(("file",), [(Link("d" * 60, address),)], 2, command).value)
    assert text.count(BREAK) == 1
    assert f"(<{address}>)" in text
    assert text.endswith(f"    {command}")
