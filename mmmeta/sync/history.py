"""Whether what a remote has published may take the place of the copy here: it is whole, and became of what is here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmmeta.errors import ChangeLogError, UnfinishedSyncError
from mmmeta.layout import Layout
from mmmeta.metadata.changelog.head import SYNC_AGAIN, LogHead
from mmmeta.metadata.changelog.replay import digest_at
from mmmeta.sync.copy import Content, is_after


def names_of(content: Content) -> tuple[str, int, bytes]:
    """What names it exactly."""
    return content.head.id, content.head.revision, content.head.digest


def why_not_after(content: Content, before: Content) -> str | None:
    """Why a content may not take the place of what is here, as a sentence without its end; None where it may."""
    head, here = content.head, before.head
    if head.id == here.id:
        if head.revision == here.revision:
            return (
                f"it has revision {head.revision}, and so has the copy here, and they differ: two servers write this metadir. "
                "Pull from the one that counts, into an empty folder"
            )
        if head.revision < here.revision:
            return (
                f"it is at revision {head.revision}, and the copy here at {here.revision} already. If the remote really went "
                "back, repeat with accept_older=True (`--accept-older`)"
            )
        return None
    if here.id in content.replaces or not before.is_published:
        return None
    if is_after(before, content):
        return (
            "its metadata db was replaced by the one that the copy here is of. If the remote really went back, repeat with "
            "accept_older=True (`--accept-older`)"
        )
    return (
        f"it is of the metadata db {head.id}, and the copy here of {here.id}, which is another archive's. Pull it into another "
        "folder; or, if it was made anew and shall take this one's place, move head.json, changes/ and meta.db here away first"
    )


def why_not_of_history(layout: Layout, log: LogHead, came: Mapping[str, Path], before: Content | None) -> str | None:
    """Why a log is not one publication, or not what became of what is here, as a sentence without its end; None where it is.

    Another archive's is none of its concern. A log that is not one publication an update would refuse, whoever accepts what.

    Args:
        came: where segments lie that are not in their place yet, by their names.
        before: what is here; None where nothing is, or something else may take its place.
    """
    try:
        if log.segments and digest_at(layout, log, log.head.revision, came) != log.head.digest:
            return "its head.json tells another digest than its change log: run `mmmeta generate` at the server, which writes it anew"
        here = None if before is None else before.head
        if here is None or here.id != log.head.id or digest_at(layout, log, here.revision, came) == here.digest:
            return None
    except ChangeLogError as error:
        return _why_not_read(error, came)
    return (
        f"its history does not contain revision {here.revision} as the copy here has it: two servers write this metadir, or one "
        "was restored from a backup. If what it says now is what counts, repeat with accept_older=True (`--accept-older`)"
    )


def _why_not_read(error: ChangeLogError, came: Mapping[str, Path]) -> str:
    """Why a segment that is as ``head.json`` names it cannot be read, and who mends that."""
    text = str(error).removesuffix(f"; {SYNC_AGAIN}")
    if isinstance(error, UnfinishedSyncError) or isinstance(error.__cause__, OSError):  # it is what happens here
        return text
    for name, path in came.items():
        text = text.replace(str(path), f"changes/{name}")
    return f"{text}. At the server, move head.json and changes/ away and run `mmmeta generate`, which writes them anew"
