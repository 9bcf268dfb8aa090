"""The verbs that are killed and failed in turn, and of each what comes before it and what has to hold after it.

To attack another one, add it to ``VERBS``; those of an operator are in ``operations``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worlds import NAMES, World, digest, document, files_in, ledger, rows

from mmmeta import File

Say = Callable[[str], None]
"""Called with what a verb has reported to be done; it must not be lost whatever happens after."""

META = "server/_mmmeta/meta.db"
STATE = "client/_mmmeta/local/state.db"


def nothing(world: World) -> None:
    """No preparation."""


def quiet(text: str) -> None:
    """Nobody is told, where it is only prepared."""


def keeps_nothing(root: Path, said: list[str]) -> Iterator[str]:
    """Nothing of its own was reported."""
    yield from ()


@dataclass(frozen=True)
class Verb:
    """One verb.

    Attributes:
        prepare: makes the folder that it finds; called once.
        act: does it and says what was reported. Called again after a fault it has to bring about the same.
        lost: what was said and is not there.
        ready: called in each fresh copy of the folder, for what does not survive copying.
        job: its name, where the verb is one: where the machine is to blame (no descriptors, no room) no file is.
    """

    prepare: Callable[[World], None]
    act: Callable[[World, Say], None]
    lost: Callable[[Path, list[str]], Iterator[str]] = keeps_nothing
    ready: Callable[[World], None] = nothing
    job: str | None = None


# The server


def published(world: World) -> None:
    world.write_all()
    world.server.generate()


def changed(world: World) -> None:
    """Published; then one metadata file is new, one another, one gone."""
    published(world)
    world.write("b", 2, title="Another", added="key")
    world.write("d", title="New")
    (world.server_path / "c.json").unlink()


def generate(world: World, say: Say, **options: bool) -> None:
    report = world.server.generate(**options)
    if not report.problems:
        say("all")


def generated(root: Path, said: list[str]) -> Iterator[str]:
    """What lies there as metadata files is in the metadata db, in its version; no file is deleted that is there."""
    there = {path.stem for path in (root / "server").glob("*.json")}
    files = files_in(root / META)
    for name in sorted(there):
        if name in files and files[name][1]:
            yield f"{name} is marked deleted, and its metadata file is there"
        if "all" in said and name not in files:
            yield f"{name} is not in the metadata db"


def insert(world: World, say: Say) -> None:
    for name in ("x", "y"):
        # Ignored where it is there already: committed, and killed before it could be reported.
        world.server.files.insert_ignore({"id": name, "content_hash": name, "v": 1}, ["id"])
        say(name)


def inserted(root: Path, said: list[str]) -> Iterator[str]:
    there = files_in(root / META)
    yield from (f"{name} was inserted and is not there" for name in said if name not in there)


def bulk(world: World, say: Say) -> None:
    with world.server.bulk():
        world.server.files.upsert_many(
            [{"id": f"m{number}", "v": 1, "text": "x" * 500} for number in range(60)], ["id"]
        )
        world.server.files.update({"id": "a", "v": 3}, ["id"])
        world.server.files.delete(id="b")
    say("all")


def bulk_kept(root: Path, said: list[str]) -> Iterator[str]:
    files = files_in(root / META)
    there = sum(name.startswith("m") for name in files)
    expected = (60, (3, 0), 1) if there else (0, (1, 0), 0)
    if (there, files.get("a"), files["b"][1] if "b" in files else None) != expected or ("all" in said and not there):
        yield f"the block is half there: {there} of 60, {files.get('a')}, {files.get('b')}"


# The client


def synced(world: World) -> None:
    world.write_all()
    world.publish()


def delivered(world: World) -> None:
    world.write_all()
    world.deliver()


def saved_and_changed(world: World) -> None:
    """Merged, a value of the client's own, and news: a new key, a new version, a file that is gone."""
    delivered(world)
    save(world, quiet)
    changed(world)
    world.server.generate(ensure=True)
    world.sync()


def update(world: World, say: Say, **options: bool) -> None:
    report = world.client.update(**options)
    say(f"revision {report.revision}")


def updated(root: Path, said: list[str]) -> Iterator[str]:
    """All of a publication or nothing, and what the client has set in any case."""
    state, meta = files_in(root / STATE), files_in(root / "client/_mmmeta/meta.db")
    versions = {name: entry[0] for name, entry in state.items()}
    if said and state != meta:
        yield f"merged, and the state db has {state}"
    if state and state != meta and versions != {"a": 1, "b": 1, "c": 1}:
        yield f"half of the publication was merged: {state}"


def updated_and_own(root: Path, said: list[str]) -> Iterator[str]:
    """The same, and what the client has set is there whatever happened."""
    yield from updated(root, said)
    yield from saved(root, ["a", "b"])


def save(world: World, say: Say) -> None:
    for name in ("a", "b"):
        file = world.client.files.get(name)
        assert file is not None
        file["mine"] = [name]
        file["note"] = "own"
        file.save()
        say(name)


def saved(root: Path, said: list[str]) -> Iterator[str]:
    if not said:
        return
    for name in said:
        found = own_value(root, name, "mine"), own_value(root, name, "note")
        if found != (f'["{name}"]', "own"):
            yield f"{name} was saved and has {found}"


def own_value(root: Path, file: str, key: str) -> object:
    """What the client has set, as the state db has it; None where there is no such key or file."""
    columns = dict(rows(root / STATE, "SELECT key, column_name FROM registry WHERE owner = 'client'"))
    found = rows(root / STATE, f'SELECT "{columns[key]}" FROM files WHERE id = ?', file) if key in columns else []
    return found[0][0] if found else None


# Jobs


def run_load(world: World, say: Say) -> None:
    report = world.load_job().run()
    say(f"done {report.done}")


def run_download(world: World, say: Say) -> None:
    report = world.download_job().run()
    say(f"done {report.done}")


def done_kept(job: str) -> Callable[[Path, list[str]], Iterator[str]]:
    def lost(root: Path, said: list[str]) -> Iterator[str]:
        done = sum(status == "done" for status, *_ in ledger(root, job).values())
        for text in said:
            if done < int(text.removeprefix("done ")):
                yield f"the run reported {text}, the ledger has {done}"

    return lost


def gone(world: World, deliver_first: Callable[[World], None]) -> None:
    """Done, and one file deleted at the remote since, which is to be undone."""
    delivered(world)
    deliver_first(world)
    world.server.files.delete(id="b")
    (world.server_path / "b.json").unlink()
    world.sync()
    world.client.update()


def with_results(world: World) -> None:
    delivered(world)
    world.results.mkdir()


def run_call(world: World, say: Say) -> None:
    """A function that reads the document, writes a file of its own and sets a value, each time it is called."""

    def read(file: File) -> None:
        found = (world.server_path / file["_file_name"]).read_bytes()
        (world.results / f"{file.unique_value}.txt").write_text(hashlib.sha1(found).hexdigest())
        file["read"] = len(found)
        file.save()

    report = world.client.job("call", batch_size=2).run(read)
    say(f"done {report.done}")


def run_command(world: World, say: Say) -> None:
    """A program that does the same, but for the value."""
    report = world.command_job().run()
    say(f"done {report.done}")


def result_kept(job: str) -> Callable[[Path, list[str]], Iterator[str]]:
    """As ``done_kept``; and what the ledger calls done has its result, whole."""

    def lost(root: Path, said: list[str]) -> Iterator[str]:
        yield from done_kept(job)(root, said)
        for file, (status, *_) in ledger(root, job).items():
            path = root / "results" / f"{file}.txt"
            found = path.read_text().split() if path.exists() else []
            if status == "done" and found[:1] != [digest(file)]:
                yield f"{file} is done, and its result is {found}"
            if status == "done" and job == "call" and own_value(root, file, "read") != len(document(file)):
                yield f"{file} is done, and its value is {own_value(root, file, 'read')}"

    return lost


def undo(world: World, say: Say, *, job: str) -> None:
    report = (world.download_job() if job == "download" else world.load_job()).run()
    say(f"retracted {report.retracted}")


def undone(job: str) -> Callable[[Path, list[str]], Iterator[str]]:
    def lost(root: Path, said: list[str]) -> Iterator[str]:
        status = ledger(root, job).get("b")
        if "retracted 1" in said and (status is None or status[0] != "skipped"):
            yield f"b was undone, the ledger says {status}"
        for name in ("a", "c"):
            if ledger(root, job)[name][0] != "done":
                yield f"{name} is not done any more"

    return lost


def downloaded_by_hand(world: World) -> None:
    delivered(world)
    world.downloads.mkdir()
    for name in NAMES:
        shutil.copy(world.server_path / f"{name}.pdf", world.downloads)


def adopt(world: World, say: Say) -> None:
    adoption = world.download_job().adopt_present()
    say(f"done {adoption.adopted + adoption.already_done}")


def forget(world: World, say: Say) -> None:
    world.load_job().forget()
    say("forgotten")


def forgotten(root: Path, said: list[str]) -> Iterator[str]:
    known = ledger(root, "load")
    if len(known) not in (0, len(NAMES)) or (said and known):
        yield f"forgotten in part: {known}"


def failing(file: File) -> None:
    raise ValueError(file.unique_value)


def failed_once(world: World) -> None:
    delivered(world)
    world.loop_job().run(failing)


def retry(world: World, say: Say) -> None:
    world.loop_job().retry(dead=True)
    say("pending")


def retried(root: Path, said: list[str]) -> Iterator[str]:
    statuses = {status for status, *_ in ledger(root, "loop").values()}
    if len(statuses) != 1 or (said and statuses != {"pending"}):
        yield f"asked for anew, and is {statuses}"


def loop(world: World, say: Say) -> None:
    """A loop of one's own, file by file."""
    job = world.loop_job()
    done = sum(1 for _ in job.files("done"))
    while True:
        with job.one() as file:
            if file is None:
                return
        done += 1
        say(f"done {done}")


def touch(world: World, say: Say) -> None:
    for number in (1, 2):
        world.client.store[f"number{number}"] = number
        say(f"number{number}")
    world.client.store["local_word"] = "word"
    world.client.touch("seen_last_updated")


def touched(root: Path, said: list[str]) -> Iterator[str]:
    for key in said:
        path = root / "client/_mmmeta/_store" / key
        if not path.exists() or path.read_text() != key[-1]:
            yield f"{key} was set and is not there"


def look(world: World, say: Say) -> None:
    """What only reads."""
    assert len(list(world.client.files)) == len(NAMES)
    assert world.client.files.count(v=1) == len(NAMES)
    world.client.status()
    world.client.inspect()
    assert world.client.is_outdated is False


VERBS: dict[str, Verb] = {
    "generate, first": Verb(World.write_all, generate, generated),
    "generate, nothing new": Verb(World.write_all, generate, generated, lambda world: generate(world, quiet)),
    "generate, changed": Verb(changed, lambda world, say: generate(world, say, ensure=True), generated),
    "generate, replace": Verb(changed, lambda world, say: generate(world, say, replace=True), generated),
    "insert": Verb(published, insert, inserted),
    "insert, first": Verb(World.write_all, insert, inserted),
    "bulk": Verb(published, bulk, bulk_kept),
    "update, first": Verb(synced, update, updated),
    "update, later": Verb(saved_and_changed, update, updated_and_own),
    "update, replace": Verb(saved_and_changed, lambda world, say: update(world, say, replace=True), updated_and_own),
    "save": Verb(delivered, save, saved),
    "save, first": Verb(synced, save, saved),
    "load": Verb(delivered, run_load, done_kept("load"), job="load"),
    "download": Verb(delivered, run_download, done_kept("download"), job="download"),
    "call": Verb(with_results, run_call, result_kept("call"), job="call"),
    "command": Verb(with_results, run_command, result_kept("command"), job="command"),
    "undo a row": Verb(
        lambda world: gone(world, lambda world: run_load(world, quiet)),
        lambda world, say: undo(world, say, job="load"),
        undone("load"),
        job="load",
    ),
    "undo a document": Verb(
        lambda world: gone(world, lambda world: run_download(world, quiet)),
        lambda world, say: undo(world, say, job="download"),
        undone("download"),
        job="download",
    ),
    "adopt": Verb(downloaded_by_hand, adopt, done_kept("download")),
    "forget": Verb(lambda world: (delivered(world), run_load(world, quiet))[0], forget, forgotten),
    "retry": Verb(failed_once, retry, retried),
    "a loop of one's own": Verb(delivered, loop, done_kept("loop"), job="loop"),
    "store": Verb(delivered, touch, touched),
    "look": Verb(delivered, look),
}
