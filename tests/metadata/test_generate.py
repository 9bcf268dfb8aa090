"""``generate``: what the metadata files say, in the metadata db."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from archives import Archive
from snapshots import alive, snapshot

from mmmeta import Metadir
from mmmeta.errors import MetadataDbError, MmmetaError


def test_metadata_files_are_found_at_any_depth(archive: Archive) -> None:
    """Other files and the metadir itself are left out."""
    archive.write("a", title="A")
    archive.write("b/c/d", {"content_hash": "d"})
    (archive.server_path / "b" / "note.txt").write_text("{}")
    report = archive.server.generate()
    assert (report.added, report.changed, report.unchanged, report.problem_count) == (2, 0, 0, 0)
    (archive.server_path / "_mmmeta" / "x.json").write_text('{"content_hash": "x"}')
    assert archive.server.generate().total == 2
    assert alive(archive) == {"a", "d"}


def test_metadata_files_nested_deeper_than_the_stack_are_found(archive: Archive) -> None:
    """A tree of 1,100 folders is one branch of the walk."""
    archive.write("a")
    here = os.getcwd()
    os.chdir(archive.server_path)
    try:
        for _ in range(1_100):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    try:
        assert archive.server.generate().added == 1
    finally:
        subprocess.run(["rm", "-rf", archive.server_path / "d"], check=True)


def test_only_what_changed_takes_part_in_the_next_revision(archive: Archive) -> None:
    """And where nothing did, there is none."""
    archive.write("a", n=1)
    archive.write("b", n=1)
    assert archive.server.generate().revision == 1
    assert archive.server.generate().revision == 1
    archive.write("b", n=2)
    report = archive.server.generate()
    assert (report.revision, report.changed, report.unchanged) == (2, 1, 1)
    found = archive.server.files.get("b")
    assert found is not None
    assert (found["n"], found.revision, found.source) == (2, 2, "b.json")


def test_a_file_that_was_merely_touched_is_no_change(archive: Archive) -> None:
    """It is read, and found the same."""
    path = archive.write("a", n=1)
    archive.server.generate()
    os.utime(path, (1, 1))
    report = archive.server.generate()
    assert (report.changed, report.unchanged, report.revision) == (0, 1, 1)


def test_missing_metadata_files_delete_nothing_unless_ensured(archive: Archive) -> None:
    """``ensure`` marks them deleted; they return with their metadata file."""
    archive.write("a")
    archive.write("b")
    archive.server.generate()
    archive.remove("b")
    assert archive.server.generate().deleted == 0
    assert alive(archive) == {"a", "b"}
    assert archive.server.generate(ensure=True).deleted == 1
    assert alive(archive) == {"a"}
    archive.write("b")
    report = archive.server.generate()
    assert (report.returned, report.added) == (1, 0)
    assert alive(archive) == {"a", "b"}


def test_ensure_keeps_what_was_inserted_from_python(archive: Archive) -> None:
    """It never had a metadata file."""
    archive.write("a")
    archive.server.generate()
    archive.server.files.insert(content_hash="x")
    assert archive.server.generate(ensure=True).deleted == 0


def test_ensure_files_follows_the_documents(archive: Archive) -> None:
    """Without document deleted, with it back; what its metadata became meanwhile counts."""
    archive.write("a", _file_name="a.pdf", n=1)
    archive.write("b", n=1)
    document = archive.server_path / "a.pdf"
    document.write_bytes(b"%PDF")
    assert archive.server.generate(ensure_files=True).deleted == 0
    document.unlink()
    assert archive.server.generate(ensure_files=True).deleted == 1
    assert alive(archive) == {"b"}
    archive.write("a", _file_name="a.pdf", n=2)
    assert archive.server.generate().returned == 0
    document.write_bytes(b"%PDF")
    assert archive.server.generate(ensure_files=True).returned == 1
    found = archive.server.files.get("a")
    assert found is not None
    assert found["n"] == 2


@pytest.mark.parametrize("options", [{}, {"ensure_files": True}], ids=["plain", "ensure_files"])
def test_replace_makes_the_metadata_db_anew(archive: Archive, options: dict[str, bool]) -> None:
    """A new id, the revision goes on, and what is not found again counts as deleted."""
    archive.write("a", _file_name="a.pdf")
    archive.write("b")
    archive.server.generate()
    archive.remove("b")
    before = archive.server.inspect().metadata_db
    report = archive.server.generate(replace=True, allow_mass_delete=bool(options), **options)
    after = archive.server.inspect().metadata_db
    assert before is not None
    assert after is not None
    assert before.id != after.id
    assert after.revision == before.revision + 1
    assert report.deleted == len(options) + 1
    assert after.files == len(alive(archive)) == 1 - len(options)


def test_no_meta_describes_the_documents_themselves(archive: Archive) -> None:
    """Name, path, size, times and SHA-1."""
    folder = archive.server_path / "sub"
    folder.mkdir()
    (folder / "Paper.PDF").write_bytes(b"abc")
    assert archive.server.generate(no_meta=True).added == 1
    found = next(iter(archive.server.files))
    assert found.unique_value == "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert (found["_file_name"], found["path"], found["extension"], found["size"]) == (
        "Paper.PDF",
        "sub/Paper.PDF",
        "pdf",
        3,
    )


@pytest.mark.parametrize("unique", ["content_hash", "name"])
@pytest.mark.parametrize("remembered", [True, False])
def test_a_copied_folder_changes_nothing(archive: Archive, unique: str, remembered: bool) -> None:
    """`cp -r` makes documents that differ in nothing from those that are known; they are counted, and named."""
    folder = archive.server_path / "m"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.pdf").write_bytes(b"%d" % number)
        os.utime(folder / f"{number}.pdf", (100, 100))
    archive.server.layout.metadir.mkdir()
    archive.server.layout.config.write_text(f"metadata: {{unique: {unique}}}\n")
    revision = archive.server.generate(no_meta=True).revision
    for copy in ("a", "z"):
        shutil.copytree(
            folder, archive.server_path / copy, copy_function=shutil.copy
        )  # as cp -r: with times of its own
    if not remembered:
        archive.server.layout.scan_db.unlink()
    report = archive.server.generate(no_meta=True)
    assert (report.changed, report.added, report.duplicates, report.revision) == (0, 0, 6, revision)
    assert {file["path"] for file in archive.server.files} == {f"m/{number}.pdf" for number in range(3)}
    assert report.shared[0].source in {f"m/{number}.pdf" for number in range(3)}
    # The original changes: the one that is left of the old content counts only where somebody asks for it.
    (folder / "0.pdf").write_bytes(b"new")
    shutil.rmtree(archive.server_path / "z")
    archive.server.generate(no_meta=True, ensure=True)
    if unique == "content_hash":
        found = {file["path"]: file["size"] for file in archive.server.files}
        assert found == {"a/0.pdf": 1, "m/0.pdf": 3, "m/1.pdf": 1, "m/2.pdf": 1}


def test_of_documents_with_one_name_and_other_content_the_newest_counts(archive: Archive) -> None:
    """They are no copies."""
    archive.server.layout.metadir.mkdir()
    archive.server.layout.config.write_text("metadata: {unique: name}\n")
    for place, mtime in (("m", 100), ("a", 200), ("z", 150)):
        (archive.server_path / place).mkdir()
        (archive.server_path / place / "x.pdf").write_bytes(place.encode())
        os.utime(archive.server_path / place / "x.pdf", (mtime, mtime))
        archive.server.generate(no_meta=True)
    assert [file["path"] for file in archive.server.files] == ["a/x.pdf"]


def test_a_dry_run_counts_and_writes_nothing(archive: Archive) -> None:
    """At a new server, and at one that exists."""
    archive.write("a")
    before = snapshot(archive.server_path)
    report = archive.server.generate(dry_run=True)
    assert (report.added, report.dry_run) == (1, True)
    assert snapshot(archive.server_path) == before
    archive.server.generate()
    archive.write("b")
    archive.write("a", n=2)
    before = snapshot(archive.server_path)
    report = archive.server.generate(dry_run=True, ensure=True)
    assert (report.added, report.changed) == (1, 1)
    assert snapshot(archive.server_path) == before
    assert archive.server.generate().added == 1


def test_of_several_metadata_files_the_newest_wins(archive: Archive) -> None:
    """In whatever order they are read; ties by path; the count is reported."""
    for name, mtime in (("x", 100), ("y", 300), ("z", 200)):
        os.utime(archive.write(name, {"content_hash": "same", "from": name}), (mtime, mtime))
    report = archive.server.generate()
    assert (report.added, report.duplicates, report.total) == (1, 2, 1)
    assert [str(shared) for shared in report.shared] == ["same: y.json counts, not x.json, z.json"]
    found = archive.server.files.get("same")
    assert found is not None
    assert found["from"] == "y"
    os.utime(archive.write("a", {"content_hash": "same", "from": "a"}), (300, 300))
    archive.server.generate()
    found = archive.server.files.get("same")
    assert found is not None
    assert found["from"] == "y"
    again = archive.server.generate()
    assert again.duplicates == 3
    assert [(shared.source, shared.others) for shared in again.shared] == [("y.json", ("a.json", "x.json", "z.json"))]


def test_when_the_newest_duplicate_goes_another_takes_over_under_ensure(archive: Archive) -> None:
    """The file is not deleted."""
    for name, mtime in (("x", 100), ("y", 300)):
        os.utime(archive.write(name, {"content_hash": "same", "from": name}), (mtime, mtime))
    archive.server.generate()
    archive.remove("y")
    assert archive.server.generate().changed == 0
    report = archive.server.generate(ensure=True)
    assert (report.changed, report.deleted) == (1, 0)
    found = archive.server.files.get("same")
    assert found is not None
    assert found["from"] == "x"


def test_two_metadata_files_that_swap_places_are_both_read_right(archive: Archive) -> None:
    """A newer file at the old place is no rival once it is another file's."""
    first, second = archive.write("a", {"content_hash": "1"}), archive.write("b", {"content_hash": "2"})
    archive.server.generate()
    os.utime(archive.write("a", {"content_hash": "2", "n": "new"}), (100, 100))
    os.utime(archive.write("b", {"content_hash": "1", "n": "new"}), (200, 200))
    archive.server.generate()
    assert {file.unique_value: (file.get("n"), file.source) for file in archive.server.files} == {
        "1": ("new", second.name),
        "2": ("new", first.name),
    }


def test_a_scan_db_of_which_only_parts_are_damaged_is_thrown_away(archive: Archive) -> None:
    """Texts that are no UTF-8, in a row or in the schema that SQLite quotes, and a page of zeros."""
    archive.write("a", n=0)
    archive.server.generate()
    whole = archive.server.layout.scan_db.read_bytes()
    name = whole.index(b"TABLE seen")
    value = whole.index(b"identity") + len(b"identity") + 2
    page = int.from_bytes(whole[16:18], "big")
    for number, (start, damage) in enumerate([(name, b"\xf6"), (value, b"\xf6"), (page, bytes(page))], 1):
        archive.server.close()
        archive.server.layout.scan_db.write_bytes(whole[:start] + damage + whole[start + len(damage) :])
        archive.write("a", n=number)
        assert archive.server.generate().changed == 1
        assert [file["n"] for file in archive.server.files] == [number]


def test_a_damaged_scan_db_that_cannot_be_removed_is_named(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error, and nothing was changed."""
    archive.write("a")
    archive.server.generate()
    scan = archive.server.layout.scan_db
    scan.write_bytes(b"no database" * 1_000)
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self == scan:
            raise PermissionError(13, "Permission denied", str(self))
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(MmmetaError, match=f"{scan}: is damaged.*cannot be removed: Permission denied"):
            archive.server.generate()
    assert archive.server.generate().unchanged == 1


def test_a_metadata_db_whose_schema_is_no_text_is_named(archive: Archive) -> None:
    """SQLite's message quotes the schema, and Python cannot read that."""
    archive.log = False
    archive.write("a")
    archive.deliver()
    archive.client.close()
    path = archive.client.layout.meta_db
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"CREATE TABLE info", b"CREATE \xf6ABLE info"))
    with pytest.raises(MetadataDbError, match=r"meta\.db is damaged"):
        archive.client.update(replace=True)


def test_another_unique_key_is_refused_until_replaced(archive: Archive) -> None:
    """Both sides say so; nothing is lost."""
    archive.write("a", foreign_id="f1")
    archive.deliver()
    archive.server.layout.config.write_text("metadata: {unique: foreign_id}\n")
    with pytest.raises(MmmetaError, match="--replace"):
        archive.server.generate()
    archive.publish(replace=True)
    with pytest.raises(MmmetaError, match="foreign_id"):
        archive.client.update()
    assert set(archive.client_files()) == {"a"}


def test_a_restored_metadata_db_is_written_to_by_a_process_that_had_the_old_one_open(archive: Archive) -> None:
    """An insert after the swap is in the file that is there now."""
    archive.write("a")
    archive.server.generate()
    backup = archive.root / "backup.db"
    shutil.copy(archive.server.layout.meta_db, backup)
    archive.server.files.insert(content_hash="lost")
    os.replace(backup, archive.server.layout.meta_db)
    archive.server.files.insert(content_hash="kept")
    with Metadir(archive.server_path) as other:
        assert {file.unique_value for file in other.files} == {"a", "kept"}


def test_a_key_with_the_name_of_another_keys_column_gets_its_own(archive: Archive) -> None:
    """Columns of odd keys are numbered; such a name may exist."""
    keys = {"a-b": 0, **{f"a_b__{number}": number for number in range(1, 12)}, "a.b": 12, "A_B__2": 13, "a b": 14}
    archive.write("x", keys)
    archive.deliver()
    assert archive.client_files() == {"x": {"content_hash": "x", **keys}}


def test_keys_that_sql_uses_itself_are_ordinary(archive: Archive) -> None:
    """First, changed and translated row by row."""
    keys = {name: name for name in ("file", "was", "known", "c", "r", "l", "rowid", "oid", "was_deleted", "select")}
    archive.write("x", keys)
    archive.deliver()
    archive.write("x", keys, n=2)
    assert archive.deliver().changed == 1
    archive.server.generate(replace=True)
    archive.deliver()
    assert archive.client_files() == {"x": {"content_hash": "x", **keys, "n": 2}}


def test_the_real_papers_are_gathered(landtag: Path, tmp_path: Path) -> None:
    """Ten files, none set aside; the folder itself stays as it is."""
    server = Metadir(tmp_path, landtag)
    report = server.generate(ensure=True, ensure_files=True)
    assert (report.added, report.problem_count, report.deleted) == (10, 0, 0)
    assert server.generate().unchanged == 10
    assert sum("retrieved_at" in file for file in server.files) == 7
    server.close()


def test_a_deleted_file_does_not_count_as_unchanged(archive: Archive) -> None:
    """Its metadata file is there all the same: in the run that deletes it, in the next one, and read anew."""
    document = archive.server_path / "a.pdf"
    document.touch()
    archive.write("a", _file_name="a.pdf")
    archive.write("b")
    archive.server.generate()
    document.unlink()
    counts = []
    for options in ({"ensure_files": True}, {}, {"ensure_files": True}):
        report = archive.server.generate(**options)
        counts.append((report.deleted, report.unchanged, report.total))
    archive.server.files.delete(content_hash="b")
    archive.server.layout.scan_db.unlink()
    report = archive.server.generate()
    counts.append((report.deleted, report.unchanged, report.total))
    assert counts == [(1, 1, 1), (0, 1, 1), (0, 1, 1), (0, 0, 0)]
    document.touch()
    report = archive.server.generate(ensure_files=True)
    assert (report.returned, report.unchanged, report.total) == (1, 0, 1)
