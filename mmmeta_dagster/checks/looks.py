"""What each asset check looks at, and what it says: passed or not, a sentence, numbers, a command to see more."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from mmmeta import JobStatus, Metadir
from mmmeta.clock import utcnow
from mmmeta.filters import format_duration
from mmmeta.metadata.publication import REMOTE_REVISION
from mmmeta_dagster import keys
from mmmeta_dagster.shown.markdown import table

LATELY = timedelta(days=7)
"""How far checks look back that would otherwise stay red for ever."""

LATELY_WORDS = f"{LATELY.days} days"

REDONE = 20
"""How many missing files are named by the command that has them done again."""


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes:
        words: what is so, in a sentence or two, with what to do about it.
        numbers: metadata of the result; the same ones each time, so that Dagster can plot them.
        command: what shows more, as words after ``mmmeta``.
        remedy: what mends it, the same way; None where there is nothing to mend or no one command for it.
    """

    words: str
    numbers: dict[str, Any]
    command: str
    remedy: str | None = None
    passed: bool = field(kw_only=True)


def revision(m: Metadir) -> Found:
    """Whether the published revision is merged."""
    merged = m.status()
    outdated = m.is_outdated  # reads the metadata db, which may be missing or half synced
    head = m.revision
    announced = m.store.get(REMOTE_REVISION)
    published = max(head, announced) if type(announced) is int else head
    numbers = {keys.META_REVISION: merged.revision or 0, keys.META_PUBLISHED_REVISION: published}
    if outdated:
        words = f"The state db has merged revision {merged.revision}, the metadata db has {head}: not merged yet."
        return Found(words, numbers, "status", "update", passed=False)
    if published > head:
        words = f"The store announces revision {published}, the metadata db here is at {head}: the sync is not whole."
        return Found(words, numbers, "inspect", passed=False)
    return Found(f"Revision {published} is merged.", numbers, "status", passed=True)


def types(m: Metadir, several: Collection[str]) -> Found:
    """Whether keys that hold numbers came with something else lately."""
    drifts = m.type_drift(since=utcnow() - LATELY, several=several)
    numbers: dict[str, Any] = {keys.META_KEYS: len(drifts)}
    if not drifts:
        return Found(f"All number keys came with numbers in the last {LATELY_WORDS}.", numbers, "inspect", passed=True)
    numbers[keys.META_KEY_TABLE] = table(
        ("key", "came with", "files", "of", "for example"),
        [
            (drift.key, " and ".join(drift.types), drift.files, drift.of, f"{drift.value!r} in {drift.file}")
            for drift in drifts
        ],
        len(drifts),
    )
    first = drifts[0]
    words = (
        f"{_names([drift.key for drift in drifts])} used to be {'a number' if len(drifts) == 1 else 'numbers'} and lately "
        f"came with {' and '.join(first.types)}: filters that compare numbers do not match such files. Mend it at the "
        "remote, or list the key under checks: several_types if both are right."
    )
    example = shlex.quote(f"{m.config.metadata.unique}={first.file}")
    return Found(words, numbers, f"find {example}", passed=False)


def dead(m: Metadir, name: str) -> Found:
    """Whether files wait for a person."""
    standing = _standing(m, name)
    numbers = {keys.META_DEAD_IN_ALL: standing.dead}
    command = f"jobs failed --dead {name}"
    if not standing.dead:
        return Found("No file is dead.", numbers, command, passed=True)
    words = f"{_files(standing.dead)} dead, waiting for a person: see why, mend it, and have them retried."
    return Found(words, numbers, command, f"jobs retry --dead {name}", passed=False)


def failures(m: Metadir, name: str, limit: float) -> Found:
    """Whether too many of the files that were tried stand failed."""
    standing = _standing(m, name)
    bad = standing.failed + standing.dead
    tried = bad + standing.done
    share = bad / tried if tried else 0.0
    numbers = {
        keys.META_SHARE: share,
        keys.META_LIMIT: f"{limit:.1%}",
        keys.META_DUE_LATER: standing.due_later,
        keys.META_DEAD_IN_ALL: standing.dead,
        keys.META_DONE_IN_ALL: standing.done,
    }
    said = f"{bad:,} of {tried:,} files that were tried are failed or dead" if tried else "No file was tried yet"
    said += f" ({share:.1%}, limit {limit:.0%})." if tried else "."
    return Found(said, numbers, f"jobs failed {name}", passed=share <= limit)


def lag(m: Metadir, name: str, limit: float) -> Found:
    """Whether a file is pending for too long."""
    standing = _standing(m, name)
    oldest = m.job(name).oldest_pending()
    waits = 0.0 if oldest is None else max(0.0, (utcnow() - oldest).total_seconds())
    numbers = {
        keys.META_OLDEST_PENDING: round(waits, 1),
        keys.META_LIMIT: format_duration(limit),
        keys.META_PENDING: standing.pending,
    }
    words = (
        "Nothing is pending."
        if oldest is None
        else f"{_files(standing.pending)} pending, the oldest for {format_duration(round(waits))} "
        f"(limit {format_duration(limit)})."
    )
    return Found(words, numbers, f"jobs plan {name}", passed=waits <= limit)


def left(m: Metadir, name: str) -> Found:
    """Whether a change of the selection has set files aside that were never done."""
    standing = _standing(m, name)
    lately = m.job(name).left_since(utcnow() - LATELY)
    numbers: dict[str, Any] = {keys.META_LEFT_LATELY: lately, keys.META_SET_ASIDE_IN_ALL: standing.skipped}
    command = "status"
    if not lately:
        words = f"In the last {LATELY_WORDS} no file has left the selection before it was done."
        return Found(words, numbers, command, passed=True)
    words = (
        f"{_files(lately)} set aside undone, because the job's selection was changed and does not mean them any more. "
        "If they are wanted, widen the selection again: they come back by themselves. If not, leave it: this passes "
        f"after {LATELY_WORDS}."
    )
    return Found(words, numbers, command, passed=False)


def results(m: Metadir, name: str, sample: int | None, command: str) -> Found:
    """Whether what the ledger calls done is there; ``command`` shows more."""
    found = m.job(name).results(sample=sample)
    numbers: dict[str, Any] = {
        keys.META_LOOKED: found.looked,
        keys.META_MISSING: found.missing,
        keys.META_DONE_IN_ALL: found.done,
    }
    if not found.known:
        return Found("Nobody knows where to look for what this job did.", numbers, command, passed=True)
    if found.named:
        numbers[keys.META_MISSING_TABLE] = table(("file", "done, but"), list(found.named.items()), found.missing)
    looked = f"Looked for {found.looked:,} of {_files(found.done, 'that is', 'that are')} done"
    if found.problem is not None:
        return Found(f"{looked}, then could not go on: {found.problem}", numbers, command, passed=False)
    if found.missing:
        words = f"{looked}: {found.missing:,} not in place. Bring them back, or have them done again."
        files = " ".join(shlex.quote(file) for file in list(found.named)[:REDONE])
        return Found(words, numbers, command, f"jobs retry {name} {files}", passed=False)
    if found.elsewhere is not None:
        words = f"{found.elsewhere}. Have them done again, or take them as they are (`jobs adopt {name} --elsewhere`)."
        return Found(words, numbers, command, f"jobs retry {name} --elsewhere", passed=False)
    return Found(f"{looked}: all in place.", numbers, command, passed=True)


def _standing(m: Metadir, name: str) -> JobStatus:
    """The job in numbers; all 0 for one that nobody has evaluated yet."""
    return m.status().jobs.get(name) or JobStatus("")


def _files(number: int, one: str = "is", many: str = "are") -> str:
    return f"{number:,} file{'' if number == 1 else 's'} {one if number == 1 else many}"


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
