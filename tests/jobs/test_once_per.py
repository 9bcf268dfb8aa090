"""``once_per``: of several files with one document a job does one, whatever becomes of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import File, Job, Metadir
from mmmeta.errors import JobError, UnknownKeyError
from mmmeta.project import job_config

Publish = Callable[..., None]


@pytest.fixture
def publish(archive: Archive) -> Publish:
    """Insert or change files, named by ``id``, and merge them; a value is the document, None a file without one."""
    archive.server.layout.config.parent.mkdir(parents=True)
    archive.server.layout.config.write_text("metadata:\n  unique: id\n")

    def publish(**documents: str | None) -> None:
        for name, document in documents.items():
            archive.server.files.upsert({"id": name, "content_hash": document, "kind": "x"}, ["id"])
        archive.sync()
        archive.client.update()

    return publish


@pytest.fixture
def delete(archive: Archive) -> Callable[..., None]:
    def delete(*names: str) -> None:
        for name in names:
            archive.server.files.delete(id=name)
        archive.sync()
        archive.client.update(allow_mass_delete=True)

    return delete


def job(archive: Archive, **rules: Any) -> Job:
    return archive.client.job("j", **{"once_per": "content_hash", "backoff": 0, **rules})


def run(archive: Archive, *failing: str, **rules: Any) -> list[str]:
    """What was handed to the action; ``-a`` was to be undone."""
    handed = []

    def work(file: File) -> None:
        assert file.claim is not None
        handed.append("-" * file.claim.retract + str(file["id"]))
        if file["id"] in failing:
            raise ValueError("no")

    job(archive, **rules).run(work)
    return handed


def statuses(archive: Archive, **rules: Any) -> dict[str, str]:
    entries = {name: job(archive, **rules).entry(name) for name in "abcde"}
    return {
        name: f"{entry.status} {entry.error_type}" if entry.status == "skipped" else entry.status
        for name, entry in entries.items()
        if entry is not None
    }


SAME = "skipped SameDocument"


def test_one_of_them_is_done_and_the_others_say_which(archive: Archive, publish: Publish) -> None:
    """The first in the job's order; files without a value are each on their own."""
    publish(a="1", b="2", c="1", d=None, e=None)
    assert run(archive) == ["a", "b", "d", "e"]
    assert statuses(archive) == {"a": "done", "b": "done", "c": SAME, "d": "done", "e": "done"}
    told = job(archive).why("c").lines[0]
    assert told.endswith("has the same content_hash as a, which the job does instead.")
    status = job(archive).status()
    assert (status.done, status.skipped, status.pending) == (4, 1, 0)
    assert job(archive).set_aside() == {"SameDocument": 1}
    assert run(archive) == []


def test_an_empty_text_is_no_value_and_kinds_of_values_differ(archive: Archive, publish: Publish) -> None:
    """``1`` is not ``"1"``; nobody's empty key makes all files one."""
    publish(a="", b="", c="1", d="1")
    archive.server.files.upsert({"id": "e", "content_hash": 1}, ["id"])
    publish()
    assert run(archive) == ["a", "b", "c", "e"]


def test_order_by_says_which(archive: Archive, publish: Publish) -> None:
    """The newest, for instance."""
    publish(a="1", b="1", c="1")
    assert run(archive, order_by="-id") == ["c"]


def test_a_twin_that_comes_later_is_set_aside(archive: Archive, publish: Publish) -> None:
    """Whether the first is done, in somebody's hands, or has failed."""
    publish(a="1", c="2", e="3")
    assert run(archive, "e", backoff=3600) == ["a", "c", "e"]
    publish(b="1", d="3")
    assert run(archive, backoff=3600) == []
    assert statuses(archive)["b"] == statuses(archive)["d"] == SAME
    one = job(archive)
    publish(f="4")
    with one.one() as file:
        assert file is not None
        publish(d="4")
        assert run(archive, backoff=3600) == []
    assert statuses(archive)["d"] == SAME


def test_a_dead_one_lets_the_next_copy_try(archive: Archive, publish: Publish) -> None:
    """Its document may be readable at another place; and where that works, nobody has to look at the dead one."""
    publish(a="1", b="1", c="1")
    assert run(archive, "a", "b", attempts=1) == ["a", "b", "c"]
    assert statuses(archive) == {"a": SAME, "b": SAME, "c": "done"}
    publish(d="2", e="2")
    assert run(archive, "d", "e", attempts=1) == ["d", "e"]
    assert (statuses(archive)["d"], statuses(archive)["e"]) == ("dead", "dead")
    assert job(archive, attempts=1).retry(dead=True) == 2
    assert run(archive, attempts=1) == ["d"]
    assert statuses(archive)["e"] == SAME


def test_the_done_one_changes_its_document(archive: Archive, publish: Publish) -> None:
    """Its old document is another file's alone now, and is done with that; its new one is done before and it is set aside."""
    publish(a="1", b="1", c="2")
    assert run(archive) == ["a", "c"]
    publish(a="2")
    assert run(archive) == ["b"]
    assert statuses(archive) == {"a": SAME, "b": "done", "c": "done"}
    publish(a="3", b="3")
    assert run(archive) in (["a"], ["b"])
    publish(a="5", b=None)
    assert sorted(run(archive)) == ["a", "b"]


def test_a_document_is_not_taken_for_done_by_what_never_comes_again(archive: Archive, publish: Publish) -> None:
    """With ``rerun_on: never`` a file stays done that has another document by now, with which nothing was done."""
    publish(a="1")
    assert run(archive, rerun_on="never") == ["a"]
    publish(a="2", b="2", c="1")
    assert run(archive, rerun_on="never") == ["b", "c"]
    publish(a="2", d="2")
    assert run(archive, rerun_on="never") == []


def test_deletions_that_are_ignored_do_nothing_again(archive: Archive, publish: Publish, delete: Publish) -> None:
    """What was done stays, so the document is done; one that is deleted before its turn gives it to the next."""
    publish(a="1", b="1", c="2", d="2")
    job(archive).evaluate()
    delete("c")
    assert run(archive) == ["a", "d"]
    delete("a")
    assert run(archive) == []
    publish(a="1")
    assert run(archive) == []
    publish(a="7")
    assert sorted(run(archive)) == ["a", "b"]


def test_undoing_keeps_the_document_while_another_has_it(archive: Archive, publish: Publish, delete: Publish) -> None:
    """First it is done with the other file, then undone with the deleted one; the last one takes it along."""
    publish(a="1", b="1", c="1")
    assert run(archive, on_delete="action") == ["a"]
    delete("a")
    assert run(archive, "b", on_delete="action", backoff=3600) == ["b"]
    assert statuses(archive, on_delete="action")["a"] == "done"
    assert job(archive, on_delete="action", backoff=3600).retry() == 1
    assert run(archive, on_delete="action") == ["b", "-a"]
    delete("c")
    assert run(archive, on_delete="action") == []
    delete("b")
    assert run(archive, on_delete="action") == ["-b"]


def test_a_file_that_comes_before_the_undoing_is_done_first(
    archive: Archive, publish: Publish, delete: Publish
) -> None:
    """What was to be undone is that of its document now."""
    publish(a="1", e="9")
    assert run(archive, on_delete="action") == ["a", "e"]
    delete("a")
    job(archive, on_delete="action").evaluate()
    assert job(archive, on_delete="action").status().pending == 1
    publish(b="1")
    assert run(archive, on_delete="action") == ["b", "-a"]


def test_undoing_waits_for_a_dead_one_until_a_person_decides(
    archive: Archive, publish: Publish, delete: Publish
) -> None:
    """And is called off where the deleted file is back."""
    rules = {"on_delete": "action", "attempts": 1}
    publish(a="1", b="1")
    assert run(archive, **rules) == ["a"]
    delete("a")
    assert run(archive, "b", **rules) == ["b"]
    assert statuses(archive, **rules) == {"a": "done", "b": "dead"}
    assert job(archive, **rules).dismiss() == 1
    assert run(archive, **rules) == ["-a"]
    delete("b")
    assert run(archive, **rules) == []


def test_all_are_deleted_at_once(archive: Archive, publish: Publish, delete: Publish) -> None:
    """Nobody waits for anybody."""
    publish(a="1", b="1")
    assert run(archive, on_delete="action") == ["a"]
    delete("a", "b")
    assert run(archive, on_delete="action") == ["-a"]


def test_a_rule_that_comes_changes_and_goes(archive: Archive, publish: Publish) -> None:
    """What is done stays done; what was set aside for it comes when nobody asks for one per document any more."""
    publish(a="1", b="1", c="2", d="2")
    assert run(archive, once_per=None, where={"id": ["a", "b"]}) == ["a", "b"]
    plan = job(archive).plan()
    assert (plan.files, plan.same, plan.redefined) == (1, 1, True)
    assert run(archive) == ["c"]
    assert run(archive, once_per="kind") == []
    assert run(archive, once_per=None) == ["d"]


def test_a_changed_selection(archive: Archive, publish: Publish) -> None:
    """What is set aside for a file that the selection no longer means is due, and what it does not mean itself is not."""
    publish(a="1", b="1", c="1")
    job(archive).evaluate()
    assert run(archive, where={"id": {"!=": "a"}}) == ["b"]
    publish(d="2", e="2")
    job(archive).evaluate()
    assert run(archive, where={"id": ["a", "b", "c"]}) == []
    assert statuses(archive, where={"id": ["a", "b", "c"]})["e"] == "skipped LeftSelection"


def test_what_a_person_asks_for(archive: Archive, publish: Publish) -> None:
    """A file that is done comes again by name; forgetting begins anew; adopting one of them settles all."""
    publish(a="1", b="1", c="1")
    job(archive).evaluate()
    assert job(archive).adopt("b").adopted == 1
    assert statuses(archive) == {"a": SAME, "b": "done", "c": SAME}
    assert "as b," in job(archive).why("a").lines[0]
    assert run(archive) == []
    assert job(archive).retry(files="b") == 1
    assert run(archive) == ["b"]
    assert job(archive).forget() == 3
    assert run(archive) == ["a"]


def test_two_that_are_done_come_again_both_if_a_person_says_so(archive: Archive, publish: Publish) -> None:
    """Done before there was the rule."""
    publish(a="1", b="1")
    assert run(archive, once_per=None) == ["a", "b"]
    job(archive).evaluate()
    assert job(archive).retry(files=["a", "b"]) == 2
    assert run(archive) == ["a", "b"]


def test_a_saved_value_of_ones_own_counts(archive: Archive, publish: Publish) -> None:
    """The key may be one that only the client has, and a save is seen at once."""
    publish(a="1", b="2")
    for file in archive.client.files:
        file["story"] = "s"
        file.save()
    assert run(archive, once_per="story") == ["a"]
    other = archive.client.files.find_one(id="b")
    assert other is not None
    other["story"] = "t"
    other.save()
    assert run(archive, once_per="story") == ["b"]


def test_mistakes() -> None:
    """Named, with what to write."""
    with pytest.raises(JobError, match="once_per"):
        job_config("j", once_per="")
    with pytest.raises(JobError, match="once_per"):
        job_config("j", once_per=["content_hash"])
    assert job_config("j", once_per="x").fingerprint() != job_config("j").fingerprint()


def test_a_mistyped_key_is_an_error_of_the_project_file(archive: Archive, publish: Publish, tmp_path: Path) -> None:
    """By such a key each file would be on its own."""
    publish(a="1")
    strict = archive.client.job("j", once_per="content_hsh", command={"run": ["true"], "folder": str(tmp_path)})
    strict._keys._strict = True
    with pytest.raises(UnknownKeyError, match="Did you mean 'content_hash'"):
        strict.run()


DOCUMENT = b"%PDF a document"
DIGEST = hashlib.sha1(DOCUMENT).hexdigest()


@pytest.mark.parametrize("name", ["{_file_name}", "{content_hash}.pdf"])
def test_downloads(archive: Archive, tmp_path: Path, name: str) -> None:
    """One document of several with a takedown: it is there as long as one file has it, and gone with the last."""
    archive.server.layout.config.parent.mkdir(parents=True)
    archive.server.layout.config.write_text("metadata:\n  unique: id\n")
    client = Metadir(archive.client_path, files_root=archive.server_path)
    for file in "abc":
        (archive.server_path / f"{file}.pdf").write_bytes(DOCUMENT)
        (archive.server_path / f"{file}.json").write_text(
            json.dumps({"id": file, "content_hash": DIGEST, "_file_name": f"{file}.pdf"})
        )
    target = tmp_path / "to"

    def deliver() -> list[str]:
        archive.publish(ensure=True, allow_mass_delete=True)
        client.update(allow_mass_delete=True)
        report = client.job(
            "d", once_per="content_hash", on_delete="action", download={"to": str(target), "name": name}
        ).run()
        assert report.failed == report.dead == 0
        return sorted(path.name for path in target.glob("*.pdf"))

    def named(file: str) -> list[str]:
        return [f"{file}.pdf" if name == "{_file_name}" else f"{DIGEST}.pdf"]

    assert deliver() == named("a")
    for gone, next_one in (("a", "b"), ("b", "c")):
        (archive.server_path / f"{gone}.json").unlink()
        assert deliver() == named(next_one)
        assert deliver() == named(next_one)
    (archive.server_path / "c.json").unlink()
    assert deliver() == []
    client.close()
