"""Metadirs that the real mmmeta 0.1-0.4 made become ones of today: nothing is lost, nothing of the old ones is touched."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from archives import everything
from old_documents import record
from old_versions import VERSIONS, environment, unpack, use

from mmmeta import Metadir
from mmmeta.clock import utcnow
from mmmeta.legacy import csvs, databases, values
from mmmeta.legacy.migrate import MIGRATED, Migration, migrate
from mmmeta.values import flatten

NUMBERED = ("0.1.1", "0.2.1", "0.3.0")
"""Those that counted rows and recorded no deletion."""

NESTED = ("0.1.1", "0.2.1")
"""Those that kept objects as JSON, and the hyphens of keys."""


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """One of the old versions."""
    return str(request.param)


@pytest.fixture
def made(version: str, tmp_path: Path) -> Path:
    """What it left: a server's folder and a client's."""
    unpack(version, tmp_path)
    return tmp_path


def migrated(base: Path, **options: Any) -> tuple[Migration, Path]:
    """What migrating said, and the base path of what it made; the old one is looked at byte by byte."""
    before, there = everything(base), sorted(base.rglob("*"))
    report = migrate(Metadir(base).layout, utcnow, **options)
    new = base / MIGRATED
    kept = {name: content for name, content in everything(base).items() if not name.startswith(MIGRATED)}
    assert kept == before
    assert [path for path in sorted(base.rglob("*")) if new not in (path, *path.parents)] == there
    return report, new


def expected(version: str, name: str) -> dict[str, Any]:
    """The metadata of a document, as far as the version kept it."""
    document = record(name)
    if version not in NESTED:
        document["headers"] = {"content_type": document["headers"]["content-type"]}
    document.pop("note", None)  # null and absent were one
    document |= {"c": {"title": "C, changed"}}.get(name, {})
    document |= {"g": {"title": "G, back"}}.get(name, {})
    if version >= "0.4.2":
        document = {key: value for key, value in document.items() if value or value is None}
        document["publisher"] = {key: value for key, value in document["publisher"].items() if value}
    elif version == "0.4.0":
        document = {key: value for key, value in document.items() if value != ""}
        document["publisher"] = {key: value for key, value in document["publisher"].items() if value}
    return dict(flatten(document).values)


def test_the_metadata_comes_along(version: str, made: Path) -> None:
    """With its types, as far as they are left; at a server and at a client the same."""
    for side in ("server", "client"):
        report, new = migrated(made / side)
        with Metadir(new) as m:
            found = {file["content_hash"]: dict(file.meta) for file in m.files.find(deleted=None)}
            assert m.is_server is (side == "server") is report.is_server
            assert m.is_client is (side == "client") is report.is_client
            assert m.config.remote == ({"url": "https://example.org/files/{_file_name}"} if version > "0.3" else {})
        for name in "abcdefg":
            assert found[name * 8] == expected(version, name)


def test_a_client_has_the_files_that_the_old_version_lists(version: str, made: Path) -> None:
    """And what it had set on them."""
    listed = json.loads((made / "listed.json").read_text())
    report, new = migrated(made / "client")
    assert report.files == listed["counted"]
    assert report.own == {"imported": 4, "imported_at": 4, "remark": 1, "score": 4}
    with Metadir(new) as m:
        assert sorted(file.unique_value for file in m.files.find(deleted=None)) == listed["files"]
        imported = m.files.find(imported=True, deleted=None)
        assert sorted(file.unique_value for file in imported) == listed["imported"]
        file = m.files.find_one(content_hash="a" * 8)
        assert file is not None
        own = {"imported": True, "imported_at": "2023-05-06T07:08:09", "remark": "mine", "score": 3}
        assert dict(file.local) == own
        assert m.check().problems == 0
        m.update()
        assert m.store["new_files"] == 17
        assert m.store["local_reference"] == "00123"
        assert isinstance(m.store["local_last_updated"], datetime)
        assert not {"meta_last_updated", "state_last_updated", "store_last_updated"} & set(m.store)


def test_deletions_come_along_and_what_is_doubtful_is_told(version: str, made: Path) -> None:
    """A mark that the old versions did not clear counts only where nothing tells that the file is back."""
    report, new = migrated(made / "client")
    with Metadir(new) as m:
        deleted = {file["content_hash"]: file.deleted_reason for file in m.files.find(deleted=True)}
    doubts = {sentence: (doubt.count, doubt.names) for sentence, doubt in report.doubts.items()}
    gone, missing = "e" * 8, "no metadata file"
    if version in NUMBERED or version == "0.3.1":
        assert deleted == {}
    elif version == "0.3.3":
        assert deleted == {gone: missing, "hand": "deleted"}
        assert doubts[databases.STATE_MISSING] == (1, ["hand"])
        assert doubts[databases.RETURNED] == (2, ["d" * 8, "g" * 8])
        assert doubts[databases.STAYED_DELETED] == (1, [gone])
    else:
        assert deleted == {gone: missing, "d" * 8: missing, "hand": "deleted"}
        assert doubts[databases.RETURNED] == (1, ["g" * 8])
        assert doubts[csvs.MAYBE_BACK] == (1, ["d" * 8])
        assert doubts[databases.STATE_MISSING] == (1, ["hand"])
    by_hand = ["hand", "hand2"] if version == "0.3.1" else ["hand2"]
    assert sorted(doubts[databases.ONLY_STATE][1]) == by_hand
    assert report.deleted == len(deleted)
    assert not report.left_behind
    assert (databases.CAST in doubts) is (version >= "0.4.2")
    assert (csvs.LOST in doubts) is (version == "0.4.2")  # a squash leaves nothing to tell it by
    assert (csvs.TYPES in doubts) is (csvs.LITERALS in doubts) is (version >= "0.4")
    assert (values.LISTS_AS_TEXT in doubts) is (version < "0.4")


def test_times_are_those_of_then(made: Path) -> None:
    """The old ones were naive local times."""
    _, new = migrated(made / "server")
    with Metadir(new) as m:
        first = m.files.find_one(content_hash="a" * 8)
        changed = m.files.find_one(content_hash="c" * 8)
    assert first is not None
    assert changed is not None
    added, updated = (datetime.fromisoformat(changed[key]) for key in ("__meta_added", "__meta_last_updated"))
    assert added.tzinfo is not None
    assert datetime(2026, 1, 1, tzinfo=timezone.utc) < added < updated < utcnow()


def test_the_whole_way_over(version: str, made: Path) -> None:
    """Server, generate, sync, client, update, adopt: nothing that was done is done again."""
    server, client = made / "server", made / "client"
    # Where no deletion was recorded there is nothing to tell it by; what has no metadata file stays, as it did then.
    there = list("abcdefg" if version in (*NUMBERED, "0.3.1") else "abcdfg")
    for name in "abcdfg":
        document = record(name) | {"c": {"title": "C, changed"}, "g": {"title": "G, back"}}.get(name, {})
        (server / f"{name}.json").write_text(json.dumps(document))
    for base in (server, client):
        migrated(base)
        (base / "_mmmeta").rename(base / "_mmmeta.old")
        (base / MIGRATED / "_mmmeta").rename(base / "_mmmeta")
    with Metadir(server) as m:
        report = m.generate(ensure=True)
        assert (report.added, report.problems) == (0, ())
        assert sorted(file.unique_value[0] for file in m.files.find()) == there
        hyphen = m.files.find_one(content_hash="a" * 8)
        assert hyphen is not None
        assert hyphen["headers:content-type"] == "application/pdf"
    ignored = shutil.ignore_patterns("local")
    shutil.copytree(server / "_mmmeta", client / "_mmmeta", ignore=ignored, dirs_exist_ok=True)
    with Metadir(client) as m:
        m.update()
        assert sorted(file.unique_value[0] for file in m.files.find()) == there
        job = m.job("import")
        adoption = job.adopt(where={"imported": True})
        assert adoption.adopted == 3
        done: list[str] = []
        job.run(lambda file: done.append(file.unique_value[0]))
        assert sorted(done) == [name for name in there if name not in "adg"]


@pytest.mark.slow
def test_the_real_versions_make_the_same_anew(version: str, tmp_path: Path) -> None:
    """From the package index, with the counts that they list."""
    try:
        python = environment(version, tmp_path / "environment")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"mmmeta {version} cannot be installed here: {error.stderr}")
    use(version, python, tmp_path / "made")
    listed = json.loads((tmp_path / "made" / "listed.json").read_text())
    report, new = migrated(tmp_path / "made" / "client")
    assert report.files == listed["counted"]
    with Metadir(new) as m:
        assert sorted(file.unique_value for file in m.files.find(imported=True, deleted=None)) == listed["imported"]
