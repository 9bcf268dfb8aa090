"""What generate passes over: litter, and the patterns of config.yml in gitignore's language."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.config.ignoring import LITTER
from mmmeta.errors import MassDeletionError
from mmmeta.metadata.generate.ignored import Ignored
from mmmeta.metadata.generate.walk import EVERY_FILE, METADATA_FILES, Walk, display_path


def configure(archive: Archive, text: str) -> None:
    """Write config.yml."""
    metadir = archive.server_path / "_mmmeta"
    metadir.mkdir(exist_ok=True)
    (metadir / "config.yml").write_text(text, encoding="utf-8")


def ignore(archive: Archive, *patterns: str) -> None:
    """Write config.yml with these patterns."""
    configure(archive, "ignore:\n" + "".join(f"  - '{pattern}'\n" for pattern in patterns))


def alive(archive: Archive) -> set[str]:
    """Unique values of the server's files."""
    return {file.unique_value for file in archive.server.files}


def walked(root: Path, *patterns: str, suffixes: tuple[bytes, ...] = EVERY_FILE) -> set[str]:
    """Paths that the walk comes across."""
    return {display_path(entry.key) for entry in Walk(root, suffixes, Ignored(patterns))}


@pytest.mark.parametrize(
    "name",
    [
        "__MACOSX/a.pdf",
        "x/__MACOSX/._a.pdf",
        "THUMBS.DB",
        "thumbs.db",
        "DESKTOP.INI",
        "a.PDF.PART",
        "A.TMP",
        ".localized",
        "Icon\r",
        ".svn/entries",
        ".hg/store",
        ".stfolder/x",
        ".stversions/a~1.pdf",
        ".dropbox.cache/a.pdf",
        ".syncthing.a.pdf.tmp",
        ".sync_0a1b.db-wal",
        "a.pdf.aria2",
        ".goutputstream-X1Y2",
    ],
)
def test_more_litter(name: str) -> None:
    """Archives unpacked from a Mac, names in the case of an old file system, folders that are synced or versioned."""
    assert Ignored().covers(name.encode().replace(b"/", b"\0"))


@pytest.mark.parametrize(
    "name", ["Icons", "icon", "party.part.pdf", "MACOSX/a.pdf", "thumbs.db.pdf", "Icon.pdf", "svn/a.pdf"]
)
def test_what_only_looks_like_litter_stays(name: str) -> None:
    """A letter more or less."""
    assert not Ignored().covers(name.encode().replace(b"/", b"\0"))


@pytest.mark.parametrize(
    "name",
    [
        "._a.json",
        ".#a.json",
        "#a.json#",
        "a.json~",
        "~$a.json",
        ".~lock.a.json#",
        ".a.json.swp",
        ".DS_Store",
        "Thumbs.db",
        "Desktop.ini",
        "a.pdf.part",
        "a.pdf.crdownload",
        ".Trash-1000/a.json",
        "$RECYCLE.BIN/a.json",
        "#recycle/a.json",
        "@eaDir/a.json",
        ".git/a.json",
        "lost+found/a.json",
    ],
)
@pytest.mark.parametrize("below", ["", "sub folder/ü"])
def test_litter_is_passed_over(archive: Archive, name: str, below: str) -> None:
    """Neither set aside nor taken for a document; ``inspect`` counts it."""
    path = archive.server_path / below / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0\5\x16\7 no JSON")
    archive.write("a")
    report = archive.server.generate()
    assert (report.added, report.problem_count, report.ignored) == (1, 0, 1)
    assert archive.server.inspect().ignored == 1
    with Metadir(archive.server_path, state=str(archive.root / "other.db")) as other:
        again = other.generate(no_meta=True)
        assert (again.total, again.problem_count) == (1, 0)


def test_litter_is_nobodys_document(archive: Archive) -> None:
    """What is left of a download does not make it unsure which document a metadata file is about."""
    archive.write("x", {"title": "X", "content_hash": ""})
    for name in ("x.pdf", "x.pdf.part", "x.odt~"):
        (archive.server_path / name).write_bytes(b"abc")
    report = archive.server.generate()
    assert (report.added, report.problem_count) == (1, 0)


def test_a_link_that_an_editor_leaves_is_no_problem(archive: Archive) -> None:
    """Emacs locks a file by a link that leads nowhere."""
    archive.write("a")
    (archive.server_path / ".#a.json").symlink_to("me@host.1:2")
    assert archive.server.generate().problem_count == 0


def test_patterns_are_relative_to_the_files_root(archive: Archive) -> None:
    """As in a .gitignore that lies there."""
    for name in ("drafts/a", "x/drafts/b", "x/c.draft", "d", "x/d", "2024/e", "x/2024/f"):
        archive.write(name)
    ignore(archive, "drafts/", "*.draft.json", "/d.json", "/2024/")
    assert archive.server.generate().ignored == 5
    assert {file.source for file in archive.server.files} == {"x/d.json", "x/2024/f.json"}


def test_an_exclamation_mark_takes_a_pattern_back(archive: Archive) -> None:
    """One of the list that always holds, too; the last one that matches decides."""
    archive.write(".Trash-x/a")
    archive.write("._b")
    archive.write("drafts/c")
    archive.write("drafts/d")
    ignore(archive, "!.Trash*", "!._*", "drafts/*", "!d.json")
    assert archive.server.generate().ignored == 1
    assert alive(archive) == {".Trash-x/a", "._b", "drafts/d"}


@pytest.mark.parametrize("options", [{}, {"no_meta": True}], ids=["metadata", "no_meta"])
def test_what_becomes_ignored_is_what_went_away_and_it_comes_back(archive: Archive, options: dict[str, bool]) -> None:
    """Kept without ensure, deleted with it; there again when the pattern is gone, whatever scan.db remembers."""
    for name in ("a", "b", "drafts/c"):
        archive.write(name)
    assert archive.server.generate(**options).added == 3
    before = alive(archive)
    ignore(archive, "drafts/")
    report = archive.server.generate(**options)
    assert (report.deleted, report.problem_count, report.revision) == (0, 0, 1)
    assert archive.server.generate(ensure=True, **options).deleted == 1
    assert len(alive(archive)) == 2
    configure(archive, "ignore: []\n")
    report = archive.server.generate(ensure=True, **options)
    assert (report.returned, report.unchanged) == (1, 2)
    assert alive(archive) == before


def test_a_changed_pattern_reads_nothing_that_did_not_change(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk sees what it comes across now; what is as remembered is not opened."""
    for name in ("a", "b", "c"):
        path = archive.write(name)
        os.utime(path, (1, 1))
    archive.server.generate()
    archive.server.generate()
    ignore(archive, "b.json")
    read: list[Any] = []
    monkeypatch.setattr("mmmeta.metadata.generate.reader.read_bytes", lambda *args: read.append(args))
    archive.server.generate()
    assert read == []


def test_ensure_files_takes_ignored_documents_for_missing(archive: Archive) -> None:
    """Where the documents themselves are described."""
    (archive.server_path / "a.pdf").write_bytes(b"a")
    (archive.server_path / "b.pdf").write_bytes(b"b")
    archive.server.generate(no_meta=True)
    ignore(archive, "b.pdf")
    assert archive.server.generate(no_meta=True, ensure_files=True).deleted == 1


def test_of_two_metadata_files_the_one_that_is_not_ignored_counts(archive: Archive) -> None:
    """Under ensure, although the other is newer."""
    archive.write("old", {"content_hash": "x", "n": 1})
    newer = archive.write("new", {"content_hash": "x", "n": 2})
    os.utime(newer, (2_000_000_000, 2_000_000_000))
    archive.server.generate()
    ignore(archive, "new.json")
    archive.server.generate(ensure=True)
    found = archive.server.files.get("x")
    assert found is not None
    assert (found["n"], found.source) == (1, "old.json")
    archive.write("old", {"content_hash": "x", "n": 3})
    assert archive.server.generate().changed == 1


def test_a_pattern_that_leaves_nothing_deletes_nothing_by_mistake(archive: Archive) -> None:
    """It is a mass deletion as any other."""
    archive.write("a")
    archive.server.generate()
    ignore(archive, "*.json")
    with pytest.raises(MassDeletionError):
        archive.server.generate(ensure=True)
    assert "1 that are known were kept" in archive.server.generate().notes[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_may_be_ignored(archive: Archive) -> None:
    """As lost+found, which only root may look into; and a link to a folder, which is not followed."""
    archive.write("a")
    closed = archive.server_path / "closed"
    closed.mkdir(mode=0)
    try:
        assert archive.server.generate().problem_count == 1
        ignore(archive, "closed/")
        assert archive.server.generate().problem_count == 0
    finally:
        closed.chmod(0o700)


def test_a_link_to_a_folder_may_be_ignored(archive: Archive) -> None:
    """It is named otherwise, for it is not followed."""
    archive.write("2024/a")
    (archive.server_path / "latest").symlink_to("2024")
    assert archive.server.generate().problem_count == 1
    ignore(archive, "latest/")
    assert archive.server.generate().problem_count == 0


def test_ignored_folders_are_not_looked_into(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million files there cost nothing; so nothing below can be taken back, as in git."""
    archive.write("a")
    archive.write("big/b")
    ignore(archive, "big/", "!big/b.json")
    listed = []
    scandir = os.scandir

    def listing(path: Any) -> Any:
        listed.append(os.fsdecode(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", listing)
    archive.server.generate()
    assert [path for path in listed if path.endswith("big")] == []
    assert alive(archive) == {"a"}


@pytest.mark.parametrize("ending", [".JSON", ".Json", ".jSON"])
def test_capitals_at_the_end_of_a_name_count_as_small_letters(archive: Archive, ending: str) -> None:
    """As old programs and cameras write them."""
    archive.write("a").rename(archive.server_path / f"a{ending}")
    assert archive.server.generate().added == 1
    (archive.server_path / f"a{ending}").unlink()
    assert archive.server.generate(ensure=True, allow_mass_delete=True).deleted == 1


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("pattern", ["Entwürfe/", "/Entwürfe/é*", "*è.json", "?ntwürfe/"])
def test_letters_may_be_spelled_in_several_ways(tmp_path: Path, form: Any, written: Any, pattern: str) -> None:
    """macOS and what unpacks its archives keep letters and their marks apart."""
    path = tmp_path / unicodedata.normalize(form, "Entwürfe/é-è.json")
    path.parent.mkdir()
    path.write_text("{}")
    assert walked(tmp_path, unicodedata.normalize(written, pattern)) == set()


def test_names_that_are_no_text_are_matched_by_what_is(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and line breaks."""
    for name in (b"\xff.draft.json", b"a\nb.draft.json", b"c\n.json"):
        (tmp_path / os.fsdecode(name)).write_text("{}")
    assert len(walked(tmp_path, "*.draft.json")) == 1
    assert walked(tmp_path, "*.json") == set()


PIECES = (
    "*.json x.json /x.json a/ /a/ !a/ !*.json foo/* foo/** !foo/keep/ !foo/a/ !foo/*/ **/b/ **/foo/x.json a/**/x.json "
    "!foo/a/x.json !x.json * !*/ !/foo /* draft* [xy].json !keep.txt foo !foo a/b !a/b/ ** !**/keep/ foo/ !foo/x.json "
    "!foo/** !foo/**/ */x.json /**/y.json **/ ?.json [!x].json !draft.json a/b/x* foo/**/b/"
)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git to ask")
@pytest.mark.parametrize("seed", range(4))
def test_patterns_mean_what_they_mean_to_git(tmp_path: Path, seed: int) -> None:
    """Whatever is combined: the same files are left."""
    for folder in ("", "a", "b", "a/b", "foo", "foo/a", "foo/a/b", "b/foo", "keep", "foo/keep"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in ("x.json", "y.json", "draft.json", "keep.txt"):
            (tmp_path / folder / name).write_text("{}")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    chance = random.Random(seed)
    for _ in range(25):
        patterns = chance.choices(PIECES.split(), k=chance.randint(1, 5))
        (tmp_path / ".git" / "info" / "exclude").write_text("\n".join(patterns))
        command = ["git", "-C", tmp_path, "ls-files", "--others", "--exclude-standard"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert walked(tmp_path, *patterns, ".git/") == set(listed.split()), patterns


def test_each_pattern_of_the_list_is_told_by_beginning_and_end() -> None:
    """So that no file costs a regular expression."""
    ignored = Ignored()
    assert ignored._others == []
    assert len(ignored._rules) == len(LITTER)
    assert not ignored.leaves_out(b"a.json", b"x\0a.json")
    assert ignored.covers(b"x\0.git\0a.json")
    assert METADATA_FILES[0] == b".json"


def test_half_a_download_is_not_the_document_of_a_metadata_file(archive: Archive) -> None:
    """``a.pdf`` is, although ``a.pdf.part`` fits the name ``a.json`` as well; one that is named just so is found."""
    for name in ("a.pdf", "a.pdf.part", "b.pdf.part"):
        (archive.server_path / name).write_text(name)
    (archive.server_path / "a.json").write_text("{}")
    (archive.server_path / "c.json").write_text('{"_file_name": "b.pdf.part"}')
    assert archive.server.generate().added == 2
    assert {file["path"] for file in archive.server.files} == {"a.pdf", "b.pdf.part"}
