"""rekey: something else identifies files, and what is known of each goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta.errors import MassDeletionError, StateDbError
from mmmeta.jobs.versions import same_version
from mmmeta.state.liveness import Worker
from mmmeta.state.matching import Side, match
from mmmeta.state.rekey import BEFORE, RekeyReport, rekey


def identify(archive: Archive, unique: str) -> None:
    """Change config.yml, and publish anew."""
    (archive.server_path / "_mmmeta").mkdir(exist_ok=True)
    (archive.server_path / "_mmmeta" / "config.yml").write_text(f"metadata: {{unique: {unique}}}\n")
    archive.publish(replace=True, allow_mass_delete=True)


def bring(archive: Archive, **options: Any) -> RekeyReport:
    """The dry run says what is then done, and changes nothing."""
    layout = archive.client.layout
    before = layout.state.read_bytes(), sorted(path.name for path in layout.local.iterdir() if "-" not in path.name)
    expected = rekey(layout, same_version, dry_run=True, **options)
    after = layout.state.read_bytes(), sorted(path.name for path in layout.local.iterdir() if "-" not in path.name)
    assert after == before
    report = rekey(layout, same_version, **options)
    assert {**vars(expected), "dry_run": False} == vars(report)
    assert not list(layout.local.glob(".*.tmp*"))
    return report


@pytest.fixture
def worked(archive: Archive, tmp_path: Path) -> Archive:
    """Three files, identified by their content; one has a mark, a job has downloaded them all, another has failed."""
    for name in "abc":
        archive.write(name, foreign_id=f"id-{name}", title=f"T{name}", _file_name=f"{name}.txt")
        (archive.server_path / f"{name}.txt").write_text(name)
    archive.deliver()
    file = archive.client.files.get("a")
    assert file is not None
    file["mark"] = {"by": "Ada"}
    file["imported"] = None
    file.save()
    download(archive).run()
    archive.client.job("fails", where={}, attempts=1).run(_fail)
    return archive


def _fail(file: Any) -> None:
    raise ValueError("no")


def download(archive: Archive, **rules: Any) -> Any:
    archive.client.layout.__dict__["files_root"] = archive.server_path
    to = str(archive.root / "down")
    return archive.client.job("get", download={"to": to, "name": "{title}.txt"}, where={}, **rules)


def test_what_is_known_goes_with_each_file(worked: Archive) -> None:
    """Values, ledger, places and history; nothing is due anew, and the receipts' state id stays."""
    state_id = worked.client.status().state_id
    identify(worked, "foreign_id")
    with pytest.raises(StateDbError, match="state rekey"):
        worked.client.update()
    report = bring(worked)
    assert (report.before, report.now, report.matches.by) == ("content_hash", "foreign_id", {"content_hash": 3})
    assert vars(report.jobs["get"]) == {"done": 3, "again": 0, "left": 0}
    assert (report.values_moved, report.values_left) == (1, 0)
    assert worked.client.status().state_id == state_id
    assert dict(worked.client_files()["id-a"])["mark:by"] == "Ada"
    file = worked.client.files.get("id-a")
    assert file is not None
    assert dict(file.local) == {"mark:by": "Ada", "imported": None}
    assert worked.client.update().how == "nothing new"
    assert download(worked).run().done == 0
    assert worked.client.status().jobs["fails"].dead == 3
    assert worked.client.check().problems == 0
    assert {one.file for one in worked.client.history(job="get")} == {"id-a", "id-b", "id-c"}
    # And on: a change, a deletion that is undone at the right place.
    worked.write("b", foreign_id="id-b", content_hash="b2", title="Tb", _file_name="b2.txt")
    (worked.server_path / "b2.txt").write_text("new")
    worked.remove("c")
    worked.publish(ensure=True)
    worked.client.update()
    report_of_run = download(worked, on_delete="action").run()
    assert (report_of_run.done, report_of_run.retracted) == (1, 1)
    down = worked.root / "down"
    assert {path.name: path.read_text() for path in down.glob("*.txt")} == {"Ta.txt": "a", "Tb.txt": "new"}


def test_what_a_job_compares_and_is_another_is_due_anew(worked: Archive) -> None:
    """The document changed at the same time; matched by what identifies it now."""
    worked.write("a", foreign_id="id-a", content_hash="a2", title="Ta", _file_name="a2.txt")
    (worked.server_path / "a2.txt").write_text("newer")
    identify(worked, "foreign_id")
    report = bring(worked)
    assert report.matches.by == {"content_hash": 2, "foreign_id": 1}
    assert vars(report.jobs["get"]) == {"done": 2, "again": 1, "left": 0}
    assert download(worked).run().done == 1
    assert (worked.root / "down" / "Ta.txt").read_text() == "newer"
    assert worked.client.check().problems == 0


def test_earlier_versions_and_files_without_a_match_stay_as_deleted(worked: Archive) -> None:
    """With their values and what jobs have done, so that it can be undone."""
    worked.write("b-new", foreign_id="id-a", content_hash="b-new", title="Tn", _file_name="a.txt")
    worked.deliver()
    lost = worked.client.files.get("c")
    assert lost is not None
    lost["mark"] = 7
    lost.save()
    worked.remove("a")
    worked.remove("c")
    identify(worked, "foreign_id")
    report = bring(worked)
    assert report.matches.names == {"b": "id-b", "b-new": "id-a"}
    assert (report.matches.earlier, report.matches.alone, report.matches.ambiguous) == (["a"], ["c"], {})
    assert (report.values_moved, report.values_left) == (0, 2)
    gone = worked.client.files.get("c")
    assert gone is not None
    assert (gone.deleted, gone["mark"], gone["title"]) == (True, 7, "Tc")
    assert download(worked, on_delete="action").run().retracted == 2
    assert not (worked.root / "down" / "Tc.txt").exists()
    assert worked.client.check().problems == 0


def test_ambiguous_files_are_named_and_not_guessed(archive: Archive) -> None:
    """Until a key tells them apart."""
    for name in "ab":
        archive.write(name, url="same", nr=f"{name}0")
    archive.deliver()
    archive.client.job("see", where={}).run(lambda file: None)
    for name in "ab":
        archive.write(name, content_hash=f"{name}2", url="same", foreign_id=f"i{name}", nr=f"{name}0")
    identify(archive, "foreign_id")
    report = rekey(archive.client.layout, same_version, by=("url",), dry_run=True, allow_mass_delete=True)
    assert set(report.matches.ambiguous) == {"a", "b"}
    assert "url 'same'" in report.matches.ambiguous["a"]
    with pytest.raises(StateDbError, match=r"cannot be matched by 'nrr': not both sides have it\. Did you mean 'nr'"):
        rekey(archive.client.layout, same_version, by=("url", "nrr"))
    assert bring(archive, by=("url", "nr")).matches.by == {"nr": 2}


def test_it_is_refused_where_most_would_be_lost(archive: Archive) -> None:
    """Unless it is meant; and there must be something to do, and nobody at work."""
    for number in range(30):
        archive.write(f"f{number}", nr=number)
    archive.deliver()
    with pytest.raises(StateDbError, match="nothing to do"):
        rekey(archive.client.layout, same_version)
    for number in range(30):
        archive.write(f"f{number}", content_hash=f"g{number}", foreign_id=f"id{number}", nr=number)
    identify(archive, "foreign_id")
    with pytest.raises(MassDeletionError, match="--by"):
        rekey(archive.client.layout, same_version, by=("content_hash",))
    worker = Worker(archive.client.layout.workers)
    worker.start()
    with pytest.raises(StateDbError, match="1 worker is at work"):
        rekey(archive.client.layout, same_version, by=("nr",))
    worker.stop()
    assert bring(archive, by=("nr",)).matches.by == {"nr": 30}
    assert archive.client.layout.state.with_name("state.db" + BEFORE).exists()


def test_back_from_one_document_a_file(worked: Archive) -> None:
    """From foreign_id to content_hash: the same in the other direction, and there and back nothing is due."""
    for unique in ("foreign_id", "content_hash"):
        identify(worked, unique)
        assert vars(bring(worked).jobs["get"]) == {"done": 3, "again": 0, "left": 0}
    assert set(worked.client_files()) == {"a", "b", "c"}
    assert download(worked).run().done == 0
    assert worked.client.check().problems == 0


def test_a_kill_leaves_the_old_one(worked: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    identify(worked, "foreign_id")

    def killed(what: str, done: int, total: int | None) -> None:
        if what.startswith("moving"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rekey(worked.client.layout, same_version, progress=killed)
    assert set(worked.client_files()) == {"a", "b", "c"}
    assert vars(bring(worked).jobs["get"]) == {"done": 3, "again": 0, "left": 0}


def test_a_load_keeps_its_rows(archive: Archive, tmp_path: Path) -> None:
    """They are where they were, under what identified them; nothing is written twice."""
    for name in "ab":
        archive.write(name, foreign_id=f"id-{name}", title=name)
    archive.deliver()
    url = f"sqlite:///{tmp_path / 'target.db'}"
    job = {"load": {"to": url, "table": "documents"}, "where": {}}
    assert archive.client.job("import", **job).run().done == 2
    identify(archive, "foreign_id")
    assert vars(bring(archive).jobs["import"]) == {"done": 2, "again": 0, "left": 0}
    assert archive.client.job("import", **job).run().done == 0


def test_a_shadow_of_what_identifies_files_now_hides_nothing(archive: Archive) -> None:
    """It cannot be set any more; the other values go along, and what a killed one has left is swept away."""
    archive.write("a", foreign_id="id-a")
    archive.deliver()
    file = archive.client.files.get("a")
    assert file is not None
    file["foreign_id"] = "mine"
    file["mark"] = 1
    file.save()
    identify(archive, "foreign_id")
    left = archive.client.layout.local / ".state.db.rekey-0123"
    left.write_text("half")
    assert bring(archive).matches.names == {"a": "id-a"}
    assert not left.exists()
    assert archive.client_files()["id-a"] == {"foreign_id": "id-a", "content_hash": "a", "mark": 1}


def test_one_to_one() -> None:
    """Numbers as their digits; a deleted file steps back; what is shared is left to the next key."""
    keys = ["k", "m"]
    before, now = Side(keys), Side(keys)
    before.add("1", {"k": 5, "m": "x"}, alive=True)
    before.add("2", {"k": 5, "m": "y"}, alive=False)
    before.add("3", {"k": None, "m": "z"}, alive=True)
    before.add("4", {"m": "z"}, alive=True)
    now.add("A", {"k": "5"}, alive=True)
    now.add("B", {"m": "z"}, alive=True)
    found = match(before, now, keys)
    assert found.names == {"1": "A"}
    assert set(found.ambiguous) == {"3", "4"}
