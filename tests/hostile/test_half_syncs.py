"""Half syncs: every subset of a metadir's files, and every beginning of each, old beside new."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from archives import Archive
from metadirs import own_values

from mmmeta import Metadir
from mmmeta.errors import MmmetaError


@pytest.fixture(autouse=True)
def by_meta_db(request: pytest.FixtureRequest) -> None:
    """These are about meta.db: no change log stands in for it."""
    if "archive" in request.fixturenames:
        request.getfixturevalue("archive").log = False


FILES = ("meta.db", "_store/remote_last_updated", "_store/remote_revision", "_store/meta_last_updated", "config.yml")


def two_publications(archive: Archive) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The metadir as it was merged, with the client's own values set, and as it is published next."""
    archive.server.layout.metadir.mkdir(exist_ok=True)
    archive.server.layout.config.write_text("metadata: {exclude: [noise]}\n")
    for number in range(30):
        archive.write(f"f{number}", title=f"old {number}", text="x" * 300)
    archive.deliver()
    for file in archive.client.files:
        file["imported"] = True
        file.save()
    old = read(archive.client.layout.metadir)
    for number in range(20):
        archive.write(f"f{number}", title=f"new {number}", more=number)
    archive.write("added", title="new")
    archive.server.layout.config.write_text("metadata: {exclude: [noise, more]}\n")
    archive.server.generate()
    archive.close()
    return old, read(archive.server.layout.metadir)


def read(metadir: Path) -> dict[str, bytes]:
    return {name: (metadir / name).read_bytes() for name in FILES if (metadir / name).exists()}


def bring(metadir: Path, files: dict[str, bytes]) -> None:
    for name in FILES:
        (metadir / name).unlink(missing_ok=True)
    for name, content in files.items():
        (metadir / name).write_bytes(content)


def titles(path: Path) -> set[str]:
    with Metadir(path) as client:
        client.ignore_news()
        return {str(file["title"]).partition(" ")[0] for file in client.files}


def look(archive: Archive, files: dict[str, bytes], own: dict[str, str]) -> bool:
    """Update with these files; whether it was merged. Own values stay, and what is seen is one publication, never two."""
    bring(archive.client.layout.metadir, files)
    said = None
    with Metadir(archive.client_path) as client:
        try:
            client.update()
        except MmmetaError as error:
            said = str(error)
    assert said is None or "\n" not in said
    bring(archive.client.layout.metadir, {**files, "config.yml": b""})
    found = own_values(archive.client_path)
    assert {name: found[name] for name in own} == own
    return said is None


def test_every_subset_of_old_and_new_files(archive: Archive) -> None:
    """Each file old, new or missing: 243 metadirs."""
    old, new = two_publications(archive)
    own = own_values(archive.client_path)
    for choice in itertools.product((old, new, None), repeat=len(FILES)):
        files = {name: which[name] for name, which in zip(FILES, choice, strict=True) if which is not None}
        if files.get("meta.db") == new["meta.db"]:
            continue  # looked at below: from then on the old one is stale
        look(archive, files, own)
        assert titles(archive.client_path) == {"old"}
    for choice in itertools.product((old, new, None), repeat=len(FILES) - 1):
        files = {name: which[name] for name, which in zip(FILES[1:], choice, strict=True) if which is not None}
        assert look(archive, {**files, "meta.db": new["meta.db"]}, own)
        assert titles(archive.client_path) == {"old", "new"}


def test_every_beginning_of_every_file(archive: Archive) -> None:
    """Cut at page borders, at random, and one byte short: recognised, and the state stays until it is whole."""
    old, new = two_publications(archive)
    own = own_values(archive.client_path)
    picked = random.Random(1)
    for name in FILES:
        whole = new[name]
        cuts = {0, 1, 15, 99, 100, len(whole) // 2, len(whole) - 1, *(picked.randrange(len(whole)) for _ in range(12))}
        if name == "meta.db":
            cuts |= set(range(4096, len(whole), 4096))
        for cut in sorted(cut for cut in cuts if 0 <= cut < len(whole)):
            merged = look(archive, {**old, name: whole[:cut]}, own)
            assert not (merged and name == "meta.db"), cut
            assert titles(archive.client_path) == {"old"}
    for cut in range(4096, len(new["meta.db"]), 4096):  # the new one written over the old one in place
        torn = new["meta.db"][:cut] + old["meta.db"][cut:]
        if torn not in (old["meta.db"], new["meta.db"]):
            look(archive, {**old, "meta.db": torn}, own)
            assert titles(archive.client_path) == {"old"}, cut
    assert look(archive, new, own)
