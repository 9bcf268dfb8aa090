"""What is proposed for a folder, and that mmmeta itself takes what was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from beginnings import NOW, put, start

from mmmeta.config.model import load_config
from mmmeta.errors import ConfigError, LegacyMetadirError, MetadirNotFoundError, MmmetaError, ReadOnlyMetadirError
from mmmeta.init import folder as looking
from mmmeta.init.begin import LEFT, SAME, WOULD, WRITTEN, Beginning, begin
from mmmeta.init.findings import describe, findings, identity_sentences
from mmmeta.layout import Layout
from mmmeta.project import load_project


def sentences(beginning: Beginning) -> str:
    """All that is said of a folder."""
    found = [f"{one.sentence} {' '.join(one.examples)}" for one in findings(beginning.folder)]
    return " ".join([*found, *identity_sentences(beginning.folder, beginning.proposal)])


def test_documents_with_sidecars_are_identified_by_their_content(tmp_path: Path) -> None:
    """Sidecars of either kind; the hash is derived from the document, so metadata need not have it."""
    put(tmp_path, "a.pdf", b"a")
    put(tmp_path, "a.pdf.json", {"title": "A"})
    put(tmp_path, "b.pdf", b"b")
    put(tmp_path, "b.json", {"title": "B", "retrieved_at": "2020-01-01"})
    beginning = start(tmp_path)
    assert beginning.proposal.unique == "content_hash"
    assert load_config(tmp_path / "_mmmeta" / "config.yml").metadata.unique == "content_hash"
    jobs = load_project(tmp_path / "mmmeta.yaml").metadirs[tmp_path.name].jobs
    assert set(jobs) == {"download_documents", "load_documents"}
    text = (tmp_path / "_mmmeta" / "config.yml").read_text()
    assert re.search(r"# +title +2 of 2", text)
    assert re.search(r"# +retrieved_at +1 of 2", text)
    assert "2 of 2 records have their document" in sentences(beginning)


def test_copies_are_kept_apart_by_their_path(tmp_path: Path) -> None:
    """And the question that decides is asked, with what either answer means."""
    for name in ("a", "b", "c/a"):
        put(tmp_path, f"{name}.pdf", b"twice" if name != "b" else b"once!")
        put(tmp_path, f"{name}.pdf.json", {"title": name})
    beginning = start(tmp_path)
    assert (beginning.proposal.unique, beginning.proposal.content) == ("path", "content_hash")
    assert "Two (3 files)" in sentences(beginning)
    assert "One (2 files" in sentences(beginning)
    assert beginning.folder.copies.named == ["c/a.pdf: as a.pdf"]


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ({"path": "/contracts"}, "{dir}/{name}"),
        ({"path": "/contracts", "name": "Lease"}, "{content_hash}-{_file_name}"),
        ({"path": 5, "dir": "x"}, "{content_hash}-{_file_name}"),
        ({"path": None, "dir": "", "name": "Lease"}, "{path}"),
        ({"path": "a.pdf"}, "{dir}/{name}"),
    ],
)
def test_keys_of_its_own_that_are_called_like_derived_ones(tmp_path: Path, own: dict[str, Any], name: str) -> None:
    """The metadata's own win, so they neither identify copies nor name downloads as if they were derived."""
    for document in ("a", "b", "c/a"):
        put(tmp_path, f"{document}.pdf", b"twice" if document != "b" else b"once!")
        put(tmp_path, f"{document}.pdf.json", {"title": document, **own})
    beginning = start(tmp_path)
    assert beginning.proposal.name == name
    assert beginning.proposal.unique == ("path" if own["path"] is None else "content_hash")
    said = "keys of its own under names that are derived otherwise, and they count"
    assert (said in sentences(beginning)) == any(own.values())


def test_a_path_of_its_own_that_is_the_derived_one_stays(tmp_path: Path) -> None:
    """As in metadata that another tool has written."""
    for document in ("a", "c/a"):
        put(tmp_path, f"{document}.pdf", b"twice")
        put(tmp_path, f"{document}.pdf.json", {"path": f"{document}.pdf"})
    proposal = start(tmp_path).proposal
    assert (proposal.unique, proposal.name) == ("path", "{path}")


def test_a_key_that_config_cannot_name_identifies_nothing(tmp_path: Path) -> None:
    """Empty, or with a space at its end."""
    for name in ("a", "b"):
        put(tmp_path, f"{name}.json", {"": name, " ": name, "id ": name})
    assert start(tmp_path).proposal.unique == "metadata_path"


def test_several_metadata_files_of_one_document_are_named(tmp_path: Path) -> None:
    """The newest counts, whatever identifies a file."""
    put(tmp_path, "a.pdf")
    put(tmp_path, "a.pdf.json", {"title": "long"})
    put(tmp_path, "a.json", {"title": "short"})
    beginning = start(tmp_path)
    assert beginning.folder.several.named == ["a.pdf: a.json, a.pdf.json"]
    assert beginning.proposal.unique == "content_hash"
    assert beginning.proposal.lost == 1


def test_without_documents_a_key_that_is_different_for_all_identifies(tmp_path: Path) -> None:
    """An id before an address before a title; where a key repeats, it is said with an example."""
    for number in range(4):
        values = {"title": f"T{number}", "url": f"https://example.org/{number}", "id": number, "kind": "ab"[number % 2]}
        put(tmp_path, f"{number}.json", values)
    beginning = start(tmp_path)
    assert beginning.proposal.unique == "id"
    assert "Also different for each record: url, title." in sentences(beginning)
    assert describe(beginning.folder.keys.facts["kind"]) == 'text, 2 different, "a" 2 times'
    assert beginning.proposal.name == "{id}"
    assert beginning.proposal.addresses == "url"
    assert beginning.proposal.selections[0].key == "kind"


def test_documents_of_the_web_are_downloaded_from_their_public_url(tmp_path: Path) -> None:
    """Under the id of each; addresses under another key are said, and the job stands there as a comment that is valid."""
    for name in ("public_url", "link"):
        for number in range(3):
            put(tmp_path, f"{name}/{number}.json", {name: f"https://example.org/{number}", "id": number})
        beginning = start(tmp_path / name)
        project = tmp_path / name / "mmmeta.yaml"
        text = project.read_text()
        assert beginning.proposal.downloads == (name == "public_url")
        if name == "link":
            assert "public_url alone, and link has" in text
            text = re.sub(
                r"^      # (?=(download_documents:| +(where: {}|download:)))", "      ", text, flags=re.MULTILINE
            )
            project.write_text(text)
        job = load_project(project).metadirs[name].jobs["download_documents"]
        assert job.download is not None
        assert job.download.name == "{id}"


def test_with_nothing_that_identifies_it_is_the_metadata_file(tmp_path: Path) -> None:
    """And nothing can be downloaded: that job is a proposal in comments."""
    for number in range(3):
        put(tmp_path, f"{number}.json", {"title": "same"})
    beginning = start(tmp_path)
    assert beginning.proposal.unique == "metadata_path"
    assert list(load_project(tmp_path / "mmmeta.yaml").metadirs[tmp_path.name].jobs) == ["load_documents"]


def test_the_key_that_names_documents_is_found(tmp_path: Path) -> None:
    """Metadata in a folder of its own, whose files are not named after the documents."""
    for number in range(3):
        put(tmp_path, f"files/{number}.pdf", str(number))
        put(tmp_path, f"meta/record-{number}.json", {"title": "x.y", "datei": f"files/{number}.pdf"})
    beginning = start(tmp_path)
    assert beginning.folder.file_name == "datei"
    assert beginning.folder.bare == 0
    assert load_config(tmp_path / "_mmmeta" / "config.yml").metadata.file_name == "datei"


def test_documents_without_metadata_are_described(tmp_path: Path) -> None:
    """A folder of nothing but documents is an archive, too."""
    put(tmp_path, "a.pdf", b"a")
    put(tmp_path, "sub/b.docx", b"b")
    beginning = start(tmp_path)
    assert beginning.proposal.no_meta
    assert beginning.proposal.unique == "content_hash"
    assert "Documents without metadata: 2" in sentences(beginning)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the reason that generate will give."""
    put(tmp_path, "good.json", {"content_hash": "a"})
    put(tmp_path, "list.json", "[1]")
    put(tmp_path, "cut.json", '{"a": ')
    beginning = start(tmp_path)
    assert beginning.folder.set_aside.count == 2
    assert "list.json: the file holds a list" in sentences(beginning)


def test_mixed_types_are_said(tmp_path: Path) -> None:
    """A filter compares by type, so a person has to know."""
    put(tmp_path, "a.json", {"content_hash": "a", "pages": 3, "n": 1})
    put(tmp_path, "b.json", {"content_hash": "b", "pages": "3", "n": 1.5})
    beginning = start(tmp_path)
    assert describe(beginning.folder.keys.facts["pages"]).startswith("mixed: integer (1), text (1)")
    assert "of its own type: pages." in sentences(beginning)
    assert "3" in str(beginning.folder.keys.facts["pages"].repeated)


def test_dates_are_proposed_where_they_are_sure(tmp_path: Path) -> None:
    """What can be read in two ways, or not at all, stands there as a comment."""
    dates = [
        ("31.12.2020", "01/02/2020", "2020-01-01"),
        ("20201231", "01/02/2020", "unknown"),
        ("2020-12-31", "", "2020-01-02"),
    ]
    for number, (sure, either, some) in enumerate(dates):
        put(
            tmp_path, f"{number}.json", {"content_hash": str(number), "date": sure, "either": either, "some date": some}
        )
    beginning = start(tmp_path)
    assert beginning.proposal.dates == {"date": ["%d.%m.%Y", "%Y%m%d"]}
    text = (tmp_path / "_mmmeta" / "config.yml").read_text()
    assert "# either: 01/02/2020 may be %d/%m/%Y or %m/%d/%Y, and no value tells." in text
    assert '# either: ["%d/%m/%Y"]' in text
    assert "# some date: 1 values are no dates (unknown)" in text
    assert beginning.proposal.since == "date"


def test_a_large_folder_is_sampled_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are all looked at; the sample is the same each time."""
    monkeypatch.setattr(looking, "SAMPLE", 5)
    for number in range(20):
        put(tmp_path, f"{number}.json", {"content_hash": str(number)})
    seen: list[str] = []
    beginning = start(tmp_path, dry_run=True, progress=lambda what, done, total: seen.append(what))
    assert (beginning.folder.metadata_files, beginning.folder.read, beginning.folder.keys.records) == (20, 5, 5)
    assert "a sample of 5 was read" in sentences(beginning)
    assert "reading metadata files" in seen
    again = start(tmp_path, dry_run=True)
    assert [one.source for one in again.folder.records] == [one.source for one in beginning.folder.records]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """What is there stays byte for byte; what would have been written is said; what says the same is called so."""
    put(tmp_path, "a.json", {"id": "a"})
    put(tmp_path, "_mmmeta/config.yml", "metadata: {unique: id}\n")
    beginning = start(tmp_path)
    assert beginning.config is not None
    assert (beginning.config.outcome, beginning.project.outcome) == (LEFT, WRITTEN)
    assert beginning.proposal.unique == "id"
    assert (tmp_path / "_mmmeta" / "config.yml").read_text() == "metadata: {unique: id}\n"
    before = (tmp_path / "mmmeta.yaml").read_bytes()
    assert start(tmp_path).project.outcome == SAME
    assert (tmp_path / "mmmeta.yaml").read_bytes() == before


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """Not even a folder."""
    put(tmp_path, "a.json", {"id": "a"})
    beginning = start(tmp_path, dry_run=True)
    assert beginning.project.outcome == WOULD
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_the_jobs_write_is_ignored_and_takes_no_name(tmp_path: Path) -> None:
    """Where the project file lies among the documents, downloads do so too."""
    put(tmp_path, "Downloads/a.pdf")
    beginning = start(tmp_path)
    config = load_config(tmp_path / "_mmmeta" / "config.yml")
    assert config.ignore == ("/mmmeta_downloads/", "/documents.db", "/documents.db-*", "/mmmeta.yaml")
    assert 'to: "./mmmeta_downloads"' in beginning.project.text
    elsewhere = begin(Layout.at(tmp_path), tmp_path.parent / "new" / "mmmeta.yaml", now=NOW, dry_run=True)
    assert "ignore" not in (yaml.safe_load(elsewhere.config.text) if elsewhere.config else {})


def test_a_folder_without_anything_is_an_error(tmp_path: Path) -> None:
    """As are one that is not there, a file, and a metadir itself."""
    for name in ("empty", "_mmmeta"):
        (tmp_path / name).mkdir()
    put(tmp_path, "file")
    with pytest.raises(MetadirNotFoundError, match="has no files"):
        start(tmp_path / "empty")
    with pytest.raises(MetadirNotFoundError, match="is not there"):
        start(tmp_path / "nowhere")
    with pytest.raises(MetadirNotFoundError, match="is no folder"):
        start(tmp_path / "file")
    with pytest.raises(MetadirNotFoundError, match="lies in a metadir"):
        start(tmp_path / "_mmmeta")


def test_a_client_and_an_old_metadir_are_refused(tmp_path: Path) -> None:
    """There is nothing to begin; nothing is written."""
    put(tmp_path, "client/a.json", {"id": "a"})
    put(tmp_path, "client/_mmmeta/meta.db", b"")
    put(tmp_path, "old/a.json", {"id": "a"})
    put(tmp_path, "old/_mmmeta/state.db", b"")
    with pytest.raises(ReadOnlyMetadirError, match="client's copy"):
        start(tmp_path / "client")
    with pytest.raises(LegacyMetadirError):
        start(tmp_path / "old")
    assert not list(tmp_path.rglob("mmmeta.yaml"))


def test_an_archive_that_is_there_keeps_what_identifies_its_files(tmp_path: Path) -> None:
    """A config.yml would change what the metadata db was made with; the project file is written."""
    put(tmp_path, "a.json", {"content_hash": "a", "id": 1})
    put(tmp_path, "_mmmeta/meta.db", b"")
    put(tmp_path, "_mmmeta/local/server", b"")
    beginning = start(tmp_path)
    assert beginning.config is None
    assert beginning.proposal.unique == "content_hash"
    assert not (tmp_path / "_mmmeta" / "config.yml").exists()
    assert (tmp_path / "mmmeta.yaml").exists()


def test_a_config_that_is_not_valid_is_an_error(tmp_path: Path) -> None:
    """It names file, line and key, as everywhere."""
    put(tmp_path, "a.json", {"id": "a"})
    put(tmp_path, "_mmmeta/config.yml", "metadata: {uniqe: id}\n")
    with pytest.raises(ConfigError, match="uniqe"):
        start(tmp_path)


def test_a_folder_that_a_project_file_cannot_name_is_refused(tmp_path: Path) -> None:
    """Nothing is written then."""
    root = tmp_path / "a {{ b"
    put(root, "a.json", {"id": "a"})
    with pytest.raises(MmmetaError, match="begins a variable"):
        begin(Layout.at(root), tmp_path / "mmmeta.yaml", now=NOW)
    assert not (tmp_path / "mmmeta.yaml").exists()


def test_nothing_that_lies_there_is_taken_away(tmp_path: Path) -> None:
    """Whatever it is called: what init writes before it has proved it lies under a name that nobody has."""
    put(tmp_path, "a.pdf.json", {"title": "A"})
    mine = [".mmmeta.yaml.new", "_mmmeta/.config.yml.new", ".mmmeta.yaml.tmp"]
    for name in mine:
        put(tmp_path, name, b"mine")
    start(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in mine] == [b"mine"] * 3
    assert {path.name for path in tmp_path.rglob("*")} == {
        "a.pdf.json", "mmmeta.yaml", "_mmmeta", "config.yml", *(Path(name).name for name in mine)
    }  # fmt: skip
