"""Takes documents of deleted files away, from wherever they were put; what cannot be removed is said."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from mmmeta.documents.digests import Digest
from mmmeta.documents.folder import clear_parts, find_place, remove_document
from mmmeta.documents.source import reason
from mmmeta.documents.transfer import difference
from mmmeta.errors import DownloadError, MmmetaError, is_exhausted
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import claim_of
from mmmeta.state.ledger.outcomes import BEGUN, Place

Promised = tuple[Digest | None, int | None]
"""Digest and size of a document, as far as they are known."""


def mark_of(digest: Digest | None, size: int | None) -> str | None:
    """What the ledger keeps of a document, to know it again."""
    if digest is not None:
        return f"{digest.kind}:{digest.text}"
    return None if size is None else str(size)


def promise_of(place: Place) -> Promised | None:
    """What ``mark_of`` was given; None where nothing was known."""
    if place.mark is None:
        return None
    kind, colon, text = place.mark.partition(":")
    return (Digest(kind, text), None) if colon else (None, int(kind))


class Removal:
    """Removes documents.

    Args:
        place: where the job puts a file's document now.
        promised: what the metadata tells of it.
    """

    def __init__(self, place: Callable[[File], Place], promised: Callable[[File], Promised]) -> None:
        self._place = place
        self._promised = promised

    def remove(self, file: File, others: Sequence[Place]) -> None:
        """Remove all documents of a claimed file.

        Args:
            others: where other files are done that are at its places; what is there is theirs.

        Raises:
            DownloadError: names everything that is left, and why; its cause is that this process has too many files open,
                where that was so of any.
        """
        claim = claim_of(file)
        if not claim.places:
            if not claim.replaced:
                self._remove_unknown(file, others)
            return
        troubles = []
        cause: Exception | None = None
        for place in claim.places:
            try:
                if place.mark == BEGUN:
                    self._take_begun(file, place, others)
                elif not self._take_away(file, place, others) and not self._take_moved(file, place, others):
                    _require_gone(place)
            except (MmmetaError, OSError) as error:
                cause = error if is_exhausted(error) else cause
                troubles.append(str(error) if isinstance(error, MmmetaError) else f"{place.target}: {reason(error)}")
        if troubles:
            raise DownloadError("; ".join(troubles)) from cause

    def _remove_unknown(self, file: File, others: Sequence[Place]) -> None:
        """Nobody has noted where the document was put: it is looked for where the job puts it now."""
        place = self._place(file)
        if not others and not self._take_away(file, place, others):
            raise DownloadError(
                f"nobody knows where its document is: it is not at {place.target}/{place.name}. Remove it by hand, if there "
                "is one, and settle this with `mmmeta jobs dismiss`"
            )

    def _take_away(self, file: File, place: Place, others: Sequence[Place]) -> bool:
        """Remove a document from a place; False where nothing is there.

        Raises:
            DownloadError: what is there is not, or may not be, this file's.
        """
        root = Path(place.target)
        if not root.is_absolute():
            raise DownloadError(f"what was done with it is in {place.target}, which is no folder; undo it by hand")
        path = find_place(root, place.name)
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise DownloadError(
                f"{path}: cannot be looked at, so the document may still be there: {reason(error)}. Nothing was removed"
            ) from error
        if not stat.S_ISREG(mode):
            # A link may lead to the document, wherever a person has moved it.
            raise DownloadError(
                f"{path}: is {_kind_of(mode)} where a document was; nothing was removed. Undo it by hand"
            )
        if any(_is_same(path, other) for other in others):
            return True
        other = difference(path, *(promise_of(place) or self._promised(file)))
        if other is not None and not self._is_present_version(file, path):
            # Somebody's own, edited, or one that cannot be read: only a person can tell.
            raise DownloadError(f"{other}, so it may not be this file's; was left. Remove it by hand")
        remove_document(root, path)
        return True

    def _is_present_version(self, file: File, path: Path) -> bool:
        """Whether a worker has put the latest version there, and died before it could say so."""
        digest, _ = self._promised(file)
        return digest is not None and difference(path, digest, None) is None

    def _take_begun(self, file: File, place: Place, others: Sequence[Place]) -> None:
        """Remove what a worker that died has left where it was to put the document: parts, or all of it."""
        root = Path(place.target)
        path = find_place(root, place.name)
        clear_parts(root)
        promised = self._promised(file)
        whole = path.is_file() and not any(_is_same(path, other) for other in others)
        if whole and promised != (None, None) and difference(path, *promised) is None:
            remove_document(root, path)
        elif not os.path.lexists(path) and root.is_dir():
            remove_document(root, path)  # the folders that are empty now

    def _take_moved(self, file: File, place: Place, others: Sequence[Place]) -> bool:
        """Remove a document from where the job puts it now, for its folder may have been moved: where a digest tells that it
        is this one."""
        digest, _ = promise_of(place) or self._promised(file)
        try:
            now = self._place(file)
            path = find_place(Path(now.target), now.name)
        except MmmetaError:  # nothing says any more where it would be put
            return False
        if digest is None or difference(path, digest, None) is not None:
            return False
        return self._take_away(file, now._replace(mark=mark_of(digest, None)), others)


def _require_gone(place: Place) -> None:
    """A document that is not where it was put is as good as removed, unless its folder is away."""
    root = Path(place.target)
    if not root.is_dir():
        raise DownloadError(
            f"{place.target}: the folder is not there, so the document may be somewhere else with it; bring it back, or "
            "make an empty one if it is really gone"
        )
    remove_document(root, find_place(root, place.name))  # the folders that are empty now


def _is_same(path: Path, other: Place) -> bool:
    """Whether another's place is this very file, however it is spelled."""
    try:
        return path.samefile(Path(other.target) / other.name)
    except OSError:
        return False


def _kind_of(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "no regular file"
