"""Lets the runs of an archive pull: what is published stays at the server until one of them brings it."""

from __future__ import annotations

from pathlib import Path

from servers import Web
from small_archive import PROJECT, Archive

from mmmeta import mmmeta

HIDDEN = "hidden"
"""A password that no page, tag, log or message may show."""


def pull_from(archive: Archive, remote: str | Path = "./server", more: str = "") -> None:
    """Write a project file in which runs pull from a remote; ``more`` stands in ``sync:`` as well."""
    sync = f'sync: {{pull: "{remote}"{more}}}'
    archive.configure(PROJECT.replace("path: ./client", f"path: ./client\n    {sync}"))


def generate(archive: Archive, *names: str) -> None:
    """Write some contracts at the server, and publish there."""
    for name in names:
        archive.write(name, "contract")
    with mmmeta(archive.server) as m:
        m.generate()


def break_remote(archive: Archive) -> Path:
    """Take the last segment of the change log away at the server; gives where it is now."""
    (*_, segment) = sorted((archive.server / "_mmmeta" / "changes").iterdir())
    return segment.rename(archive.root / segment.name)


def mend_remote(archive: Archive, aside: Path) -> None:
    """Put it back."""
    aside.rename(archive.server / "_mmmeta" / "changes" / aside.name)


def offer(web: Web, archive: Archive) -> None:
    """What is published, at the web server."""
    base = archive.server / "_mmmeta"
    files = [path for path in base.rglob("*") if path.is_file() and (base / "local") not in path.parents]
    web.objects = {f"bucket/archive/_mmmeta/{path.relative_to(base).as_posix()}": path.read_bytes() for path in files}
