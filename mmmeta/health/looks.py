"""What each check looks at, and what it says: passed or not, a sentence, numbers, a command to see more, one that mends it.

A look writes nothing. What it says names no clock but to say since when something waits.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mmmeta.clock import utcnow
from mmmeta.errors import MmmetaError
from mmmeta.inspection import first_unmerged, metadata_head, refused_deletion
from mmmeta.jobs.results import Results
from mmmeta.metadata.publication import REMOTE_REVISION, REMOTE_UPDATED
from mmmeta.metadata.setaside import PROBLEM
from mmmeta.quantities import format_duration
from mmmeta.state.status import JobStatus, Status

if TYPE_CHECKING:
    from mmmeta.jobs.job import Job
    from mmmeta.metadir import Metadir

LATELY = timedelta(days=7)
"""How far checks look back that would otherwise stay red for ever."""

LATELY_WORDS = f"{LATELY.days} days"

REDONE = 20
"""How many missing files are named by the command that has them done again."""


@dataclass(frozen=True)
class Rows:
    """The first of what was found, as a table; ``total`` says of how many."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    total: int


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes:
        words: what is so, in a sentence or two, with what to do about it.
        numbers: name → number or text; the same ones each time, so that they can be plotted.
        command: what shows more, as words after ``mmmeta``.
        remedy: what mends it, the same way; None where there is nothing to mend or no one command for it.
        rows: which ones, where that is known.
    """

    words: str
    numbers: Mapping[str, Any]
    command: str
    remedy: str | None = None
    rows: Rows | None = None
    passed: bool = field(kw_only=True)


class Seen:
    """One metadir as several looks see it: what they all ask is read once."""

    def __init__(self, metadir: Metadir) -> None:
        self.metadir = metadir

    @cached_property
    def status(self) -> Status:
        """What was merged and how the jobs stand."""
        return self.metadir.status()

    def standing(self, name: str) -> JobStatus:
        """A job in numbers; all 0 for one that nobody has evaluated yet."""
        return self.status.jobs.get(name) or JobStatus("")

    def job(self, name: str) -> Job:
        """A job of the project file, or one that only the ledger knows."""
        m = self.metadir
        return m.job(name) if name in m.job_configs or name not in self.status.jobs else m.recorded_job(name)


def revision(seen: Seen, limit: float) -> Found:
    """Whether the published revision is merged, or has waited for that for no longer than the limit, in seconds."""
    m, merged = seen.metadir, seen.status
    head = metadata_head(m.layout)  # the metadata db may be missing or half synced: that is an error
    announced = m.store.get(REMOTE_REVISION)
    published = max(head.revision, announced) if type(announced) is int else head.revision
    numbers = {"revision": merged.revision or 0, "published_revision": published}
    if head.id == merged.metadata_id and head.revision < (merged.revision or 0):
        words = (
            f"The metadata db here is an older copy, revision {head.revision}, than what was merged, {merged.revision}: "
            "sync it again; only if the remote really went back, `mmmeta update --accept-older`."
        )
        return Found(words, numbers, "status", passed=False)
    if m.is_outdated:
        ours = m.inspect().state_db
        if ours is not None and ours.unique != head.unique:
            words = (
                f"The remote identifies files by {head.unique} now, the state db by {ours.unique}: nothing is merged any more "
                "before the state db is brought along; look first with `mmmeta state rekey --dry-run`."
            )
            return Found(words, numbers, "state rekey --dry-run", "state rekey", passed=False)
        refused = refused_deletion(
            m.layout, merged.metadata_id, merged.revision or 0, 0 if ours is None else ours.files
        )
        if refused is not None:
            words = f"{refused} If they are really gone at the remote, `mmmeta update --allow-mass-delete`; is a disk not mounted there?"
            return Found(words, numbers, "update --dry-run", passed=False)
        waits = _waits(first_unmerged(m.layout, merged.metadata_id, merged.revision or 0))
        words = (
            f"The state db has merged revision {merged.revision}, the metadata db has {head.revision}: not merged yet"
        )
        return Found(f"{words}{_since(waits, limit)}.", numbers, "status", "update", passed=0 < waits <= limit)
    if published > head.revision:
        waits = _waits(_announced_at(m))
        words = f"The store announces revision {published}, the metadata db here is at {head.revision}: the sync is not whole"
        return Found(f"{words}{_since(waits, limit)}.", numbers, "inspect", passed=0 < waits <= limit)
    return Found(f"Revision {published} is merged.", numbers, "status", passed=True)


def set_aside(seen: Seen) -> Found:
    """Whether the server's last generate has set metadata files aside."""
    aside = seen.metadir.inspect().set_aside
    numbers = {"problems": aside.problems}
    if not aside.problems:
        return Found("No metadata file is set aside.", numbers, "inspect", passed=True)
    problems = [(row.path, row.reason) for row in aside.rows if row.kind == PROBLEM]
    first = f"; the first is {problems[0][0]}: {problems[0][1]}" if problems else ""
    words = (
        f"{_files(aside.problems, 'is', 'are').replace('file', 'metadata file')} set aside, which jobs never see{first}"
    )
    rows = Rows(("metadata file", "reason"), problems, aside.problems)
    return Found(words, numbers, "inspect", rows=rows, passed=False)


def types(seen: Seen, several: Collection[str]) -> Found:
    """Whether keys that hold numbers came with something else lately."""
    m = seen.metadir
    drifts = m.type_drift(since=utcnow() - LATELY, several=several)
    numbers = {"keys": len(drifts)}
    if not drifts:
        return Found(f"All number keys came with numbers in the last {LATELY_WORDS}.", numbers, "inspect", passed=True)
    rows = Rows(
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
    return Found(words, numbers, f"find {example}", rows=rows, passed=False)


def can_run(seen: Seen, name: str) -> Found:
    """Whether a job's selection can work with the files that are here."""
    try:
        problem = seen.job(name).problem()
    except MmmetaError as error:
        problem = str(error)
    words = "The job can run." if problem is None else f"The job cannot run: {' '.join(problem.split())}"
    return Found(words, {}, f"jobs plan {name}", passed=problem is None)


def dead(seen: Seen, name: str) -> Found:
    """Whether files wait for a person."""
    standing = seen.standing(name)
    numbers = {"dead": standing.dead}
    command = f"jobs failed --dead {name}"
    if not standing.dead:
        return Found("No file is dead.", numbers, command, passed=True)
    words = f"{_files(standing.dead)} dead, waiting for a person: see why, mend it, and have them retried."
    return Found(words, numbers, command, f"jobs retry --dead {name}", passed=False)


def failures(seen: Seen, name: str, limit: float) -> Found:
    """Whether too many of the files that were tried stand failed."""
    standing = seen.standing(name)
    bad = standing.failed + standing.dead
    tried = bad + standing.done
    share = bad / tried if tried else 0.0
    numbers = {
        "share": share,
        "limit": f"{limit:.1%}",
        "due_later": standing.due_later,
        "dead": standing.dead,
        "done": standing.done,
    }
    said = f"{bad:,} of {tried:,} files that were tried are failed or dead" if tried else "No file was tried yet"
    said += f" ({share:.1%}, limit {limit:.0%})." if tried else "."
    return Found(said, numbers, f"jobs failed {name}", passed=share <= limit)


def lag(seen: Seen, name: str, limit: float) -> Found:
    """Whether a file is pending for too long."""
    standing = seen.standing(name)
    oldest = seen.job(name).oldest_pending() if standing.pending else None
    waits = 0.0 if oldest is None else max(0.0, (utcnow() - oldest).total_seconds())
    numbers = {
        "oldest_pending": round(waits, 1),
        "limit": format_duration(limit),
        "pending": standing.pending,
    }
    words = (
        "Nothing is pending."
        if oldest is None
        else f"{_files(standing.pending)} pending, the oldest for {format_duration(round(waits))} "
        f"(limit {format_duration(limit)})."
    )
    return Found(words, numbers, f"jobs plan {name}", passed=waits <= limit)


def left(seen: Seen, name: str) -> Found:
    """Whether a change of the selection has set files aside that were never done, or the ledger cannot keep some."""
    standing = seen.standing(name)
    lately = seen.job(name).left_since(utcnow() - LATELY) if standing.skipped else 0
    unfit = seen.job(name).left_out()
    numbers = {"left": lately, "set_aside": standing.skipped, "left_out": len(unfit)}
    command = "status"
    if unfit:
        first = unfit[0] if len(unfit[0]) <= 80 else f"{unfit[0][:80]}…"
        words = (
            f"{_files(len(unfit))} left out, which no run does, because the ledger in PostgreSQL cannot keep the unique value (a NUL, or "
            f"too long); the first is {first!r}. Let something shorter and plainer identify files (config.yml's "
            "metadata.unique), or keep the state in SQLite."
        )
        return Found(words, numbers, "jobs", passed=False)
    if not lately:
        words = f"In the last {LATELY_WORDS} no file has left the selection before it was done."
        return Found(words, numbers, command, passed=True)
    words = (
        f"{_files(lately)} set aside undone, because the job's selection was changed and does not mean them any more. "
        "If they are wanted, widen the selection again: they come back by themselves. If not, leave it: this passes "
        f"after {LATELY_WORDS}."
    )
    return Found(words, numbers, command, passed=False)


def results(seen: Seen, name: str, sample: int | None, command: str) -> Found:
    """Whether what the ledger calls done is there, and where the job points now.

    Args:
        sample: look for so many files, drawn anew each time; None for all. With 0 only where the job points is looked at.
        command: what shows more.
    """
    job = seen.job(name)
    found = Results(elsewhere=job.elsewhere()) if sample == 0 else job.results(sample=sample)
    numbers = {"looked": found.looked, "missing": found.missing, "done": found.done}
    if not found.known:
        return Found("Nobody knows where to look for what this job did.", numbers, command, passed=True)
    rows = Rows(("file", "done, but"), list(found.named.items()), found.missing) if found.named else None
    looked = f"Looked for {found.looked:,} of {_files(found.done, 'that is', 'that are')} done"
    if found.problem is not None:
        return Found(f"{looked}, then could not go on: {found.problem}", numbers, command, rows=rows, passed=False)
    if found.missing:
        words = f"{looked}: {found.missing:,} not in place. Bring them back, or have them done again."
        files = " ".join(shlex.quote(file) for file in list(found.named)[:REDONE])
        return Found(words, numbers, command, f"jobs retry {name} {files}", rows, passed=False)
    if found.elsewhere is not None:
        words = f"{found.elsewhere}. Have them done again, or take them as they are (`jobs adopt {name} --elsewhere`)."
        return Found(words, numbers, command, f"jobs retry {name} --elsewhere", passed=False)
    return Found(f"{looked}: all in place.", numbers, command, passed=True)


def _waits(since: datetime | None) -> float:
    """Seconds since a moment, more than 0 also where the clock that wrote it is ahead; 0 where nobody knows the moment."""
    return 0.0 if since is None else max(0.001, (utcnow() - since).total_seconds())


def _since(waits: float, limit: float) -> str:
    return f", for {format_duration(round(waits))} (limit {format_duration(limit)})" if waits and limit else ""


def _announced_at(m: Metadir) -> datetime | None:
    moment = m.store.get(REMOTE_UPDATED)
    return moment.astimezone() if isinstance(moment, datetime) else None


def _files(number: int, one: str = "is", many: str = "are") -> str:
    return f"{number:,} file{'' if number == 1 else 's'} {one if number == 1 else many}"


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
