"""Bad input has its defined outcome: set aside and named, or kept faithfully; nothing else is lost."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from archives import Archive

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


def without_privileges(code: str, *arguments: object) -> dict[str, Any]:
    """Run code that obeys permissions although the tests may run as root; it prints one JSON object."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_obey_permissions if os.geteuid() == 0 else None,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _obey_permissions() -> None:
    """Give up, from the next exec on, the capabilities that let root pass over permissions."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


# Metadata files


BROKEN = {
    "half": (b'{"content_hash": "half", "a', "not valid JSON"),
    "empty": (b"", "empty"),
    "list": (b"[1]", "a list"),
    "null": (b"null", "null"),
    "no-unique": (b'{"title": "x"}', "'content_hash' is missing"),
    "null-unique": (b'{"content_hash": null}', "must be a text"),
    "empty-unique": (b'{"content_hash": ""}', "must be a text"),
    "list-unique": (b'{"content_hash": ["x"]}', "must be a text"),
    "nan": (b'{"content_hash": "nan", "x": NaN}', "NaN is not a JSON number"),
    "huge": (b'{"content_hash": "huge", "x": 1e400}', "infinity"),
    "surrogate": (b'{"content_hash": "s", "x": "\\ud83d"}', "surrogate"),
    "latin1": (b'{"content_hash": "\xe9"}', "not UTF-8 (byte 19 is 0xE9)"),
    "utf16": ('{"content_hash": "é"}'.encode("utf-16"), "UTF-16"),
    "endless-integer": (b'{"content_hash": "i", "x": %s}' % (b"9" * 4_301), "a number cannot be read"),
    "huge-beside-integer": (b'{"content_hash": "i", "x": 1e400, "y": %s}' % (b"9" * 400), "infinity"),
    "deep": (b'{"content_hash": "deep", "x": ' + b"[" * 600 + b"]" * 600 + b"}", "nested"),
    "binary": (b"%PDF-1.4\x00\xff", "not valid JSON"),
}


def test_broken_metadata_files_are_set_aside_and_named(archive: Archive) -> None:
    """Each with its reason, at every generate; the good ones go on, and a mended one comes in."""
    archive.write("good")
    for name, (raw, _) in BROKEN.items():
        archive.write(name, raw)
    for _ in range(2):
        report = archive.server.generate()
        assert report.problem_count == len(BROKEN)
        problems = {problem.source: problem.reason for problem in report.problems}
        assert problems.keys() == {f"{name}.json" for name in BROKEN}
        for name, (_, reason) in BROKEN.items():
            assert reason in problems[f"{name}.json"]
    assert set(archive.deliver().notes) == set()
    assert set(archive.client_files()) == {"good"}
    archive.write("half")
    assert archive.server.generate().added == 1


def test_a_metadata_file_that_breaks_later_keeps_what_was_known(archive: Archive) -> None:
    """Also under ``ensure``: it may be in the middle of being written."""
    archive.write("a", n=1)
    archive.server.generate()
    archive.write("a", b'{"content_hash": "a", "n')
    report = archive.server.generate(ensure=True)
    assert (report.problem_count, report.deleted) == (1, 0)
    assert [file["n"] for file in archive.server.files] == [1]


def test_odd_keys_are_kept_faithfully(archive: Archive) -> None:
    """Whatever they are called; reserved ones are left out and named."""
    record = {
        "content_hash": "x",
        "id": 1,
        "Title": "A",
        "title": "b",
        "a.b": 1,
        "a-b": 2,
        "a_b": 3,
        "$any": [1],
        "k" * 300: "long",
        "k" * 299 + "l": "other",
        "drop table files; --": 1,
        'a"b': 1,
        "": "empty",
        "nul\0": 0,
        "big": 2**64,
        "rowid": 7,
        "00": "0012",
        "null": None,
    }
    archive.write("x", {**record, "__rev": 99})
    assert "were left out: __rev" in archive.publish().notes[0]
    archive.client.update()
    for metadir in (archive.server, archive.client):
        (found,) = metadir.files
        assert {key: repr(value) for key, value in found.items()} == {key: repr(value) for key, value in record.items()}
        assert next(metadir.files.find({"$$any": {"!=": None}}), None) is not None
        assert metadir.files.count({"k" * 300: "long", "Title": "A"}) == 1
        assert metadir.files.count(title="A") == 0


@pytest.mark.parametrize("digits", [19, 20, 308, 309, 400, 4_300])
def test_an_integer_keeps_all_its_digits(archive: Archive, digits: int) -> None:
    """As ``json.loads`` reads it, wherever it stands, up to what Python reads; from Python code as well."""
    number = -int("9" * digits)
    record = {"n": number, "list": [number, {"deep": number}], "unlike": 1.5, **{f"k{at}": 0 for at in range(1_000)}}
    archive.write("x", {**record, "late": number})
    archive.deliver()
    archive.server.files.insert({"content_hash": "y", "n": number})
    archive.sync()
    archive.client.update()
    found = archive.client.files.get("x")
    assert found is not None
    assert {key: repr(value) for key, value in found.items()} == {
        key: repr(value) for key, value in {"content_hash": "x", **record, "late": number}.items()
    }
    assert archive.client.files.count(n=number) == 2
    assert archive.client.files.count(late=number) == 1
    assert archive.client.files.count(n=number + 1) == 0


@pytest.mark.parametrize("order", ["flat first", "nested first"])
def test_a_key_given_twice_is_counted_and_the_nested_wins(archive: Archive, order: str) -> None:
    """``a:b`` beside ``{a: {b}}``."""
    pairs = [("a:b", "flat"), ("a", {"b": "nested"})]
    archive.write("x", dict(pairs if order == "flat first" else pairs[::-1]))
    report = archive.server.generate()
    assert report.clashes == 1
    assert "a:b" in report.notes[0]
    assert [file["a:b"] for file in archive.server.files] == ["nested"]


def test_three_thousand_keys_in_one_file(archive: Archive) -> None:
    """Those past the columns are found by the same name, with their types, also after a change."""
    record: dict[str, Any] = {f"key{number}": number for number in range(3_000)}
    record.update(late_bool=True, late_text="1", late_null=None, late_list=[2**70, 1.0], late_float=-0.0)
    archive.write("x", record)
    archive.write("y", key2999="text")
    archive.deliver()
    archive.write("x", {**record, "key2998": "changed"})
    assert archive.deliver().changed == 1
    expected = {**record, "key2998": "changed", "content_hash": "x"}
    for metadir in (archive.server, archive.client):
        (found,) = metadir.files(key2999=2_999)
        assert {key: repr(value) for key, value in found.items()} == {k: repr(v) for k, v in expected.items()}
        for filters in (
            {"key2999": "text"},
            {"late_bool": True},
            {"late_text": "1"},
            {"key2500": {">": 2_499}},
            {"key2998": "changed"},
            {"key3": 3},
        ):
            assert metadir.files.count(filters) == 1, filters
        assert metadir.files.count(late_text=1) == 0


def test_a_file_name_that_is_not_utf8_is_an_ordinary_file(archive: Archive) -> None:
    """Shown with escapes; ``ensure`` and ``ensure_files`` find it and its document, and nothing changes."""
    folder = os.fsencode(archive.server_path) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + b"/x\xff.json", "wb") as file:
        file.write(b'{"content_hash": "x", "_file_name": "x.pdf"}')
    with open(folder + b"/x.pdf", "wb") as file:
        file.write(b"%PDF")
    assert archive.server.generate(ensure=True, ensure_files=True).added == 1
    for options in ({}, {"ensure": True}, {"ensure_files": True}):
        report = archive.server.generate(**options)
        assert (report.revision, report.deleted, report.problem_count) == (1, 0, 0)
    assert [file.source for file in archive.server.files] == ["caf\\xe9/x\\xff.json"]
    os.unlink(folder + b"/x.pdf")
    assert archive.server.generate(ensure_files=True, allow_mass_delete=True).deleted == 1


def test_what_is_no_regular_file_is_set_aside(archive: Archive) -> None:
    """A pipe is not waited for, a loop not followed, a dangling link named."""
    archive.write("good")
    os.mkfifo(archive.server_path / "pipe.json")
    (archive.server_path / "loop.json").symlink_to("loop.json")
    (archive.server_path / "dangling.json").symlink_to("nowhere.json")
    (archive.server_path / "around").symlink_to(".")
    (archive.server_path / "folder.json").mkdir()
    report = archive.server.generate(ensure=True)
    assert report.added == 1
    assert {problem.source for problem in report.problems} == {"pipe.json", "loop.json", "dangling.json", "around"}


def test_what_cannot_be_read_is_not_deleted(archive: Archive) -> None:
    """An unreadable file, a folder that cannot be listed, one that cannot be entered: named, and left as they were."""
    archive.write("good")
    archive.write("unreadable")
    archive.write("unlistable/a")
    archive.write("closed/b", _file_name="b.pdf")
    (archive.server_path / "closed" / "b.pdf").write_bytes(b"x")
    code = """
        import json, os, sys
        from mmmeta import Metadir
        root = sys.argv[1]
        with Metadir(root) as server:
            server.generate()
            modes = {"unreadable.json": 0, "unlistable": 0, "closed": 0o600}
            for name, mode in modes.items():
                os.chmod(f"{root}/{name}", mode)
            reports = [server.generate(**options) for options in ({}, {"ensure": True}, {"ensure_files": True})]
            os.unlink(server.layout.scan_db)
            reports.append(server.generate(ensure=True))
            print(json.dumps({
                "files": sorted(file.unique_value for file in server.files),
                "problems": [sorted({p.source for p in r.problems}) for r in reports],
                "revisions": [r.revision for r in reports],
            }))
            for name in modes:
                os.chmod(f"{root}/{name}", 0o700)
    """
    result = without_privileges(code, archive.server_path)
    assert result["files"] == ["closed/b", "good", "unlistable/a", "unreadable"]
    assert result["revisions"] == [1, 1, 1, 1]
    for problems in result["problems"]:
        assert {"unreadable.json", "unlistable"} <= set(problems)
        assert any(source.startswith("closed") for source in problems)


def test_a_server_that_may_not_write_says_so(archive: Archive) -> None:
    """One error that names the place."""
    archive.write("good")
    code = """
        import json, os, sys
        from mmmeta import Metadir
        from mmmeta.errors import MmmetaError
        os.chmod(sys.argv[1], 0o500)
        try:
            Metadir(sys.argv[1]).generate()
        except MmmetaError as error:
            print(json.dumps({"error": str(error)}))
        os.chmod(sys.argv[1], 0o700)
    """
    assert "_mmmeta" in without_privileges(code, archive.server_path)["error"]
    assert not archive.server.layout.metadir.exists()


def test_a_client_may_read_from_a_metadir_that_it_cannot_write(archive: Archive) -> None:
    """Only ``local/`` must be writable."""
    archive.log = False
    archive.write("a")
    archive.publish()
    archive.client.layout.local.mkdir()
    code = """
        import json, os, pathlib, sys
        from mmmeta import Metadir
        metadir = pathlib.Path(sys.argv[1]) / "_mmmeta"
        for path in (metadir / "meta.db", metadir / "_store", metadir):
            os.chmod(path, 0o500)
        with Metadir(sys.argv[1]) as client:
            report = client.update()
            again = client.update()
            file = next(iter(client.files))
            file["imported"] = True
            file.save()
        print(json.dumps({"added": report.added, "how": again.how, "left": sorted(os.listdir(metadir))}))
        os.chmod(metadir / "_store", 0o700)
        os.chmod(metadir, 0o700)
    """
    result = without_privileges(code, archive.client_path)
    assert result == {"added": 1, "how": "nothing new", "left": ["_store", "local", "meta.db"]}


def test_what_nobody_may_read_or_write_is_named(archive: Archive) -> None:
    """With the remedy that helps; a folder that cannot be entered is no missing archive."""
    archive.log = False
    archive.write("a")
    archive.deliver()
    archive.write("b")
    archive.publish()
    archive.client.close()
    archive.server.close()
    code = """
        import json, os, sys
        from mmmeta import Metadir
        from mmmeta.errors import MmmetaError
        server, client = sys.argv[1:]
        said = {}
        for name, path, mode, verb in [
            ("meta.db", f"{client}/_mmmeta/meta.db", 0, lambda: Metadir(client).update()),
            ("status.json", f"{client}/_mmmeta/local", 0o500, lambda: Metadir(client).update()),
            ("find", f"{client}/_mmmeta", 0, lambda: Metadir(client).files.count()),
            ("inspect", f"{client}/_mmmeta", 0, lambda: said.setdefault("problems", Metadir(client).inspect().problems)),
            ("insert", f"{server}/_mmmeta/meta.db", 0o400, lambda: Metadir(server).files.insert(content_hash="x")),
        ]:
            before = os.stat(path).st_mode
            os.chmod(path, mode)
            try:
                verb()
            except MmmetaError as error:
                said[name] = str(error)
            os.chmod(path, before)
        print(json.dumps(said))
    """
    said = without_privileges(code, archive.server_path, archive.client_path)
    assert said.keys() == {"meta.db", "status.json", "find", "problems", "insert"}
    for problem in (said["meta.db"], said["status.json"], said["find"], said["insert"], *said["problems"][:2]):
        assert "permissions" in problem
