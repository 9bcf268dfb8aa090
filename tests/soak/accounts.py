"""What must hold in the deployment: whatever has just happened, and after everybody has come to an end with the work.

What is looked at is read with plain SQL and plain reads, not by mmmeta.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from scene import CLIENTS, JOBS, Scene, document

WAL = 80_000_000
"""Bytes that a -wal file may have; a state db's is copied back into it at 64 MB."""

SEGMENTS = 100
"""Segments that were merged away and are still there: 64 for syncs under way, and what the last merging left that was killed."""

_TEMPORARY = re.compile(r"(.*\.(part|tmp|new|sync)|\..*)")


def state_db(scene: Scene, client: str) -> Path:
    return scene.client(client) / "_mmmeta" / "local" / "state.db"


def rows(path: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, parameters).fetchall()


def wrong(scene: Scene) -> Iterator[str]:
    """What must never be, whoever was killed, whatever a sync has torn."""
    databases = [scene.server / "_mmmeta" / "meta.db"]  # a client's copy may be torn
    for client in CLIENTS:
        databases += [state_db(scene, client), scene.target(client)]
    for path in databases:
        found = rows(path, "PRAGMA integrity_check")
        if found != [("ok",)]:
            yield f"{path.relative_to(scene.root)}: integrity_check: {found[:3]}"
    for client in CLIENTS:
        for what in (*_documents(scene, client), *_lies(scene, client), *_effects(scene, client), *_log(scene, client)):
            yield f"{client}: {what}"


def versions_in(folder: Path) -> Iterator[tuple[str, int | None]]:
    """The documents of a folder and their versions; None for one that is not whole, or another's."""
    for path in sorted(folder.glob("*.pdf")) if folder.exists() else ():
        content = path.read_bytes()
        name, _, rest = content[:100].partition(b" ")
        version = rest.partition(b" ")[0]
        whole = version.isdigit() and name.decode() == path.stem and content == document(path.stem, int(version))
        yield path.stem, int(version) if whole else None


def _documents(scene: Scene, client: str) -> Iterator[str]:
    for name, version in versions_in(scene.root / f"{client}.downloads"):
        if version is None:
            yield f"download: {name} is not whole"


def _lies(scene: Scene, client: str) -> Iterator[str]:
    """What the ledger calls done and is not there; what it calls undone and is."""
    there = {
        "load": {name for (name,) in rows(scene.target(client), "SELECT id FROM documents")},
        "download": {name for name, _ in versions_in(scene.root / f"{client}.downloads")},
    }
    for job, file, status, why in rows(state_db(scene, client), "SELECT job, file, status, error_type FROM ledger"):
        if job in there and status == "done" and file not in there[job]:
            yield f"{job}: {file} is done and not there"
        if job in there and status == "skipped" and why == "Retracted" and file in there[job]:
            yield f"{job}: {file} is undone and there"


def _effects(scene: Scene, client: str) -> Iterator[str]:
    """Never an older version after a newer. Where each has its own row, none comes twice; where the row of the last one is
    replaced, a worker that was killed may be followed by one that writes the same again."""
    last: dict[str, int] = defaultdict(int)
    for name, version in rows(scene.target(client), "SELECT id, v FROM effects WHERE v IS NOT NULL ORDER BY number"):
        if version < last[name] or (version == last[name] and scene.appends(client)):
            yield f"load: version {version} of {name} came after {last[name]}"
        last[name] = version


def said(scene: Scene, client: str) -> list[tuple[str, str, str, int]]:
    """Who has said what, of which file (or revision) and which version, in order."""
    lines = scene.log(client).read_text().splitlines() if scene.log(client).exists() else []
    told = [line.rsplit(" ", 3) for line in lines]
    return [(who, what, name, int(version)) for who, what, name, version in told]


def is_killed(who: str) -> bool:
    """Whether it is one of those that are killed, as its name says."""
    return who.partition(":")[0].endswith(" killed")


def _log(scene: Scene, client: str) -> Iterator[str]:
    """No file in two hands; what a worker has done that nobody killed is not done again; what was saved is there; what was
    merged stays merged."""
    begun: dict[str, list[str]] = defaultdict(list)
    saved: dict[str, int] = {}
    done: set[tuple[str, int]] = set()
    revision = 0
    for who, what, name, version in said(scene, client):
        if what == "begin":
            begun[name].append(who)
        elif what == "end":
            if begun[name] and begun[name][-1] != who:
                yield f"call: {name} was in two hands, {begun[name][-1]} and {who}"
            if (name, version) in done:
                yield f"call: version {version} of {name} was done, and is done again by {who}"
            if not is_killed(who):
                done.add((name, version))
            begun[name] = []
            saved[name] = version
        else:
            revision = max(revision, int(name))
    for name, version in saved.items():
        if (own_values(scene, client).get(name) or 0) < version:
            yield f"call: the value of {name} was saved for version {version} and is {own_values(scene, client).get(name)}"
    merged = int(rows(state_db(scene, client), "SELECT value FROM info WHERE name = 'revision'")[0][0])
    if merged < revision:
        yield f"revision {revision} was merged, and now it is {merged}"


def own_values(scene: Scene, client: str) -> dict[str, Any]:
    """File → what the function of ``call`` has set."""
    path = state_db(scene, client)
    columns = rows(path, "SELECT column_name FROM registry WHERE owner = 'client' AND key = 'seen'")
    return dict(rows(path, f'SELECT id, "{columns[0][0]}" FROM files')) if columns else {}


def unequal(scene: Scene) -> Iterator[str]:
    """What is not as the server has it, after everybody has come to an end with the work."""
    truth = scene.truth
    yield from _differs("the metadata db", alive(scene.server / "_mmmeta" / "meta.db"), truth)
    for client in CLIENTS:
        state = state_db(scene, client)
        ended = {(who, version) for _, what, who, version in said(scene, client) if what == "end"}
        called = {name: version for name, version in truth.items() if (name, version) in ended}
        seen = {name: version for name, version in own_values(scene, client).items() if name in truth}
        for what, found in (
            ("the state db", alive(state)),
            ("downloads", dict(versions_in(scene.root / f"{client}.downloads"))),
            ("the target", dict(rows(scene.target(client), "SELECT id, max(v) FROM documents GROUP BY id"))),
            ("call", called),
            ("the client's own values", seen),
        ):
            yield from _differs(f"{client}: {what}", found, truth)
        for job in JOBS:
            counts = Counter(dict(rows(state, "SELECT status, count(*) FROM ledger WHERE job = ? GROUP BY 1", job)))
            if left := {status: count for status, count in counts.items() if status not in ("done", "skipped")}:
                yield f"{client}: {job} is not at its end: {left}"
    yield from _left_behind(scene)


def alive(database: Path) -> dict[str, Any]:
    """File → version, of what is not deleted."""
    return dict(rows(database, "SELECT id, v FROM files WHERE NOT __deleted"))


def _differs(what: str, found: dict[str, Any], truth: dict[str, int]) -> Iterator[str]:
    if missing := sorted(truth.keys() - found.keys()):
        yield f"{what}: lost: {missing}"
    if extra := sorted(found.keys() - truth.keys()):
        yield f"{what}: too much: {extra}"
    if other := {
        name: (found[name], truth[name]) for name in sorted(found.keys() & truth.keys()) if found[name] != truth[name]
    }:
        yield f"{what}: in another version than the server has: {other}"


def _left_behind(scene: Scene) -> Iterator[str]:
    """Temporary files that nobody writes any more, where they are synced or seen; -wal files that only grow.

    In its own folder mmmeta keeps the names of those that were killed for the next one; ``growth`` looks at how many.
    """
    for folder in (scene.server, *map(scene.client, CLIENTS), *(scene.root / f"{name}.downloads" for name in CLIENTS)):
        for path in folder.rglob("*"):
            if path.is_file() and _TEMPORARY.fullmatch(path.name) and "local" not in path.parts:
                yield f"{path.relative_to(scene.root)} is left behind"
            if path.name.endswith("-wal") and path.stat().st_size > WAL:
                yield f"{path.relative_to(scene.root)} has {path.stat().st_size:,} bytes"
    log = json.loads((scene.server / "_mmmeta" / "head.json").read_bytes())
    changes = {path.name for path in (scene.server / "_mmmeta" / "changes").iterdir()}
    named = {f"{segment['first']}-{segment['last']}.jsonl.gz" for segment in log["segments"]}
    if len(changes - named) > SEGMENTS:
        yield f"{len(changes - named)} segments that were merged away are left in the server's changes"


MEMORY = 24_000_000
"""Bytes by which a process may grow after its first quiet time, however long it lives."""

DESCRIPTORS = 8

FILES_MORE = 20
"""Files by which what mmmeta keeps for itself may grow, in all clients and the server together."""


def kept_files(scene: Scene) -> int:
    """How many files there are in what mmmeta keeps for itself, without the change log, which has a bound of its own."""
    return sum(
        1
        for folder in (scene.server, *map(scene.client, CLIENTS))
        for path in (folder / "_mmmeta").rglob("*")
        if path.parent.name != "changes"
    )


def growth(sizes: list[dict[str, tuple[int, int]]], files: list[int]) -> Iterator[str]:
    """What has become more from quiet time to quiet time: of each process memory and descriptors, and the files kept."""
    if len(sizes) < 2:
        return
    for name, (memory, descriptors) in sizes[-1].items():
        memory_before, descriptors_before = sizes[1 if len(sizes) > 2 else 0][name]
        if memory > memory_before + MEMORY:
            yield f"{name}: {memory_before / 1e6:.0f} MB of memory became {memory / 1e6:.0f}"
        if descriptors > descriptors_before + DESCRIPTORS:
            yield f"{name}: {descriptors_before} descriptors became {descriptors}"
    if files[-1] > files[0] + FILES_MORE:
        yield f"what mmmeta keeps was {files[0]} files and is {files[-1]}"
