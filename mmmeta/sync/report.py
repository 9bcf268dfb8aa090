"""What a pull or a push has done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SyncReport:
    """What a pull or a push has done.

    Attributes:
        place: where it was pulled from or pushed to, without secrets; the program, where one did it.
        revision_before: of the metadata db that was there before, here for a pull and there for a push; None where there was none.
        revision: that is there now.
        is_new: whether there is something that was not there before: another id, revision or digest.
        files: how many files were moved, or would be in a dry run.
        bytes: how many bytes of them.
        removed: how many files were removed that ``head.json`` does not name any more.
        notes: sentences for a person.
        duration: seconds.
    """

    place: str
    revision_before: int | None
    revision: int | None
    is_new: bool
    files: int
    bytes: int
    removed: int
    notes: tuple[str, ...]
    duration: float
    dry_run: bool = False
