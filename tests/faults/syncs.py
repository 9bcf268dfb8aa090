"""The verbs that bring a metadir somewhere else: pull and push, and migrate from one of mmmeta 0.1-0.4."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import verbs
from verbs import Say, Verb, quiet
from worlds import OLD, World, logged

from mmmeta.clock import utcnow
from mmmeta.errors import LegacyMetadirError, SyncError
from mmmeta.layout import Layout
from mmmeta.legacy.migrate import MIGRATED, migrate
from mmmeta.sync import pull, push

PUBLISHED = "published"
OLD_VERSIONS = Path(__file__).parent.parent / "legacy" / "data"
OLD_METADIR = "client/_mmmeta/"
"""Of them what a client had, its state db included."""


def pulled(world: World) -> None:
    """Pulled and merged, a value of the client's own, and news at the server."""
    verbs.published(world)
    bring(world, quiet)
    world.client.update()
    verbs.save(world, quiet)
    news(world)


def pushed(world: World) -> None:
    verbs.published(world)
    send(world, quiet)
    news(world)


def news(world: World) -> None:
    verbs.changed(world)
    world.server.generate(ensure=True)


def bring(world: World, say: Say) -> None:
    say(f"revision {pull(world.client_path, str(world.server_path)).revision}")


def newer(world: World) -> None:
    """Pulled and merged; and the remote as it was before, at another place."""
    verbs.published(world)
    shutil.copytree(world.server_path, world.root / PUBLISHED)
    news(world)
    bring(world, quiet)
    world.client.update()


def refuse(world: World, say: Say) -> None:
    try:
        pull(world.client_path, str(world.root / PUBLISHED))
    except SyncError as error:
        if "the copy here at 2 already" not in str(error):
            raise
    else:
        raise AssertionError("an older one was taken")
    say("refused")


def send(world: World, say: Say) -> None:
    say(f"revision {push(world.server_path, str(world.root / PUBLISHED)).revision}")


def at(side: str) -> Callable[[Path, list[str]], Iterator[str]]:
    """What lies at one side is a whole publication, the one before or the new one; the store does not run ahead of it."""

    def lost(root: Path, said: list[str]) -> Iterator[str]:
        there, new = root / side / "_mmmeta", logged(root / "server" / "_mmmeta")
        found = logged(there) if (there / "head.json").exists() else {}
        versions = {name: metadata["v"] for name, metadata in found.items() if metadata} if found != new else {}
        if versions not in ({}, {"a": 1, "b": 1, "c": 1}):
            yield f"half of a publication is there: {found}"
        if said and found != new:
            yield f"{said[-1]} was brought, and there is {found}"
        told = there / "_store" / "remote_revision"
        if (
            found != new
            and told.exists()
            and told.read_text() == (root / "server/_mmmeta/_store" / told.name).read_text()
        ):
            yield f"the store speaks of revision {told.read_text()}, and there is {found}"

    return lost


def at_and_own(root: Path, said: list[str]) -> Iterator[str]:
    """The same, and what the client has set is there whatever happened."""
    yield from at("client")(root, said)
    yield from verbs.saved(root, ["a", "b"])


def old(world: World, version: str) -> None:
    with tarfile.open(OLD_VERSIONS / f"{version}.tar.gz") as archive:
        for member in archive.getmembers():
            if member.isfile() and member.name.startswith(OLD_METADIR):
                path = world.root / OLD / "_mmmeta" / member.name.removeprefix(OLD_METADIR)
                path.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None
                path.write_bytes(content.read())


def migrate_old(world: World, say: Say) -> None:
    try:
        report = migrate(Layout.at(world.root / OLD), utcnow)
    except LegacyMetadirError as error:
        if "made by an earlier migrate" not in str(error):
            raise
    else:
        assert report.files
        assert report.own_files
    say("migrated")


def migrated(version: str) -> Callable[[Path, list[str]], Iterator[str]]:
    """The old one is as it was to the byte, and the new one is whole or not there."""

    def lost(root: Path, said: list[str]) -> Iterator[str]:
        base = root / OLD
        with tarfile.open(OLD_VERSIONS / f"{version}.tar.gz") as archive:
            before = {
                member.name.removeprefix(OLD_METADIR): hashlib.sha1(archive.extractfile(member).read()).hexdigest()  # type: ignore[union-attr]
                for member in archive.getmembers()
                if member.isfile() and member.name.startswith(OLD_METADIR)
            }
        metadir = base / "_mmmeta"
        now = {
            str(path.relative_to(metadir)): hashlib.sha1(path.read_bytes()).hexdigest()
            for path in metadir.rglob("*")
            if path.is_file()
        }
        if now != before:
            yield f"the old metadir has changed: {sorted(set(now.items()) ^ set(before.items()))}"
        if said and not (base / MIGRATED / "_mmmeta" / "meta.db").exists():
            yield "migrated, and there is nothing"

    return lost


def migration(version: str) -> Verb:
    return Verb(lambda world: old(world, version), migrate_old, migrated(version))


VERBS: dict[str, Verb] = {
    "sync pull, first": Verb(verbs.published, bring, at("client")),
    "sync pull, later": Verb(pulled, bring, at_and_own),
    "sync pull, older": Verb(newer, refuse, at("client")),
    "sync push, first": Verb(verbs.published, send, at(PUBLISHED)),
    "sync push, later": Verb(pushed, send, at(PUBLISHED)),
    "migrate, 0.3": migration("0.3.3"),
    "migrate, 0.4": migration("0.4.4"),
}
