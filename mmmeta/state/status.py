"""status.json: what the sensor reads instead of opening a database.

It is derived: every verb compares it with the state db and writes it anew where it differs. So a file that is missing,
half-written or of a newer version is not an error: what it would say is simply not known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmmeta.clock import to_text
from mmmeta.layout import Layout, read_plain
from mmmeta.writing import write_atomic

__all__ = [
    "JobStatus",
    "Status",
    "file_identity",
    "file_version",
    "metadata_version",
    "named",
    "parse_status",
    "read_status",
    "status_text",
    "write_status",
]

_LARGEST = 64 * 1024 * 1024
"""Bytes; a job takes half a kilobyte."""

FORMAT = 1
"""Version of the file. A reader takes a larger one for unknown, so a client that was rolled back asks once more."""


@dataclass(frozen=True)
class JobStatus:
    """One job in numbers of files.

    Attributes:
        fingerprint: of the job's definition that was last used.
        pending: selected and not tried yet.
        claimed: in a worker's hands.
        done: finished.
        failed: tried and due again later.
        postponed: due again later without a fault of theirs: their web server asks to wait.
        dead: attempts used up; waits for a person.
        skipped: set aside.
        due: how many could run now.
        earliest_due: aware UTC; when the next of those that are due later is due.
        lease_until: aware UTC; when the last claim ends.
        heartbeat: aware UTC; when a worker last showed that it lives.
        run_id: the run whose files are claimed; where none are, the one that last worked on it.
        evaluated_at: aware UTC; when a selection that files enter merely as time passes was last brought up to date.
            None for every other selection, and where nobody knows.
        evaluated: the state revision up to which the selection was evaluated; smaller than the state's where files have
            changed since in a way that may concern the job.
    """

    fingerprint: str
    pending: int = 0
    claimed: int = 0
    done: int = 0
    failed: int = 0
    dead: int = 0
    skipped: int = 0
    due: int = 0
    earliest_due: datetime | None = None
    lease_until: datetime | None = None
    heartbeat: datetime | None = None
    run_id: str | None = None
    evaluated_at: datetime | None = None
    evaluated: int = 0
    postponed: int = 0

    @property
    def due_later(self) -> int:
        """How many files are due again by themselves: those that failed, and those that are postponed."""
        return self.failed + self.postponed


@dataclass(frozen=True)
class Status:
    """What a client has merged, and how its jobs stand.

    Attributes:
        state_id: of the state db.
        metadata_id: of the metadata db that was merged; None before the first update, like the next two.
        revision: the merged one.
        digest: the merged one, as text.
        remote_last_updated: exact text of that store key when it was merged; None if it was not there.
        state_revision: counter of merges and saves.
        jobs: by name.
        written_at: aware UTC.
        state_file: which file the state db is (see ``file_identity``).
        metadata_file: which version of meta.db and ``head.json`` the last update read (see ``metadata_version``); None where nobody knows.
    """

    state_id: str
    metadata_id: str | None
    revision: int | None
    digest: str | None
    remote_last_updated: str | None
    state_revision: int
    written_at: datetime
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    state_file: str | None = None
    metadata_file: str | None = None


def file_identity(path: Path) -> str | None:
    """Text that stays the same while a file is written to, and differs for another file in its place; None for none.

    It tells without opening a database that a state db was removed, restored from a backup, or made anew.
    """
    try:
        return str(path.stat().st_ino)
    except OSError:
        return None


def file_version(path: Path) -> str | None:
    """Text that differs as soon as a file is written to or replaced; None for none.

    It tells without opening a database whether a sync has brought another meta.db since the last update read it.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    # The time of change as well: it moves when permissions are mended, or when a copy keeps the old times.
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def metadata_version(layout: Layout) -> str | None:
    """The same of what an update reads: meta.db and ``head.json``."""
    found = file_version(layout.meta_db), file_version(layout.head)
    return found[0] if found[1] is None else f"{found[0]} {found[1]}"


def write_status(path: Path, status: Status) -> None:
    """Write status.json so that a reader sees the old or the new one, never a part; makes the folder if needed.

    Raises:
        ValueError: a moment without time zone.
        OSError: it cannot be written.
    """
    write_atomic(path, status_text(status).encode())


def status_text(status: Status) -> str:
    """The content of status.json.

    Raises:
        ValueError: a moment without time zone.
    """
    content = {
        "format": FORMAT,
        "state_id": status.state_id,
        "state_file": status.state_file,
        "metadata_file": status.metadata_file,
        "metadata_id": status.metadata_id,
        "revision": status.revision,
        "digest": status.digest,
        "remote_last_updated": status.remote_last_updated,
        "state_revision": status.state_revision,
        "written_at": _moment_text(status.written_at),
        "jobs": {name: _job_content(job) for name, job in status.jobs.items()},
    }
    return json.dumps(content, indent=1) + "\n"


def read_status(path: str | os.PathLike[str]) -> Status | None:
    """What status.json says; None where it is missing, cannot be read, is damaged, or is of a newer format."""
    try:
        return parse_status(read_plain(Path(path), _LARGEST))
    except OSError:
        return None


def parse_status(text: str | bytes) -> Status | None:
    """What such a content says; None where it is damaged, or of a newer format."""
    try:
        content = json.loads(text)
        if type(content) is not dict or content.get("format") != FORMAT:
            return None
        return Status(
            state_id=_text(content, "state_id"),
            metadata_id=_text_or_none(content, "metadata_id"),
            revision=None if content["revision"] is None else _count(content, "revision"),
            digest=_text_or_none(content, "digest"),
            remote_last_updated=_text_or_none(content, "remote_last_updated"),
            state_revision=_count(content, "state_revision"),
            written_at=_moment(_text(content, "written_at")),
            jobs={name: _job(job) for name, job in content["jobs"].items()},
            state_file=_text_or_none(content, "state_file"),
            metadata_file=_text_or_none(content, "metadata_file"),
        )
    # What a half-written or foreign file can lead to: not JSON, another shape, missing keys, absurd values.
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def named(status: Status) -> tuple[str, str | None, int | None, str | None]:
    """What names the content that was merged, and the state db that has it."""
    return status.state_id, status.metadata_id, status.revision, status.digest


def _job_content(job: JobStatus) -> dict[str, Any]:
    content = {entry.name: getattr(job, entry.name) for entry in fields(job)}
    return {name: _moment_text(value) if isinstance(value, datetime) else value for name, value in content.items()}


def _job(content: Mapping[str, Any]) -> JobStatus:
    return JobStatus(
        fingerprint=_text(content, "fingerprint"),
        pending=_count(content, "pending"),
        claimed=_count(content, "claimed"),
        done=_count(content, "done"),
        failed=_count(content, "failed"),
        dead=_count(content, "dead"),
        skipped=_count(content, "skipped"),
        due=_count(content, "due"),
        earliest_due=_moment_or_none(content, "earliest_due"),
        lease_until=_moment_or_none(content, "lease_until"),
        heartbeat=_moment_or_none(content, "heartbeat"),
        run_id=_text_or_none(content, "run_id"),
        evaluated_at=_moment_or_none(content, "evaluated_at"),
        evaluated=_count(content, "evaluated"),
        postponed=_count(content, "postponed"),
    )


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content[name]
    if type(value) is not str:
        raise TypeError(name)
    return value


def _text_or_none(content: Mapping[str, Any], name: str) -> str | None:
    return None if content[name] is None else _text(content, name)


def _moment_or_none(content: Mapping[str, Any], name: str) -> datetime | None:
    return None if content[name] is None else _moment(_text(content, name))


def _count(content: Mapping[str, Any], name: str) -> int:
    value = content[name]
    if type(value) is not int or value < 0:
        raise TypeError(name)
    return value


def _moment_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: moments in status.json are aware UTC")
    return to_text(moment)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.astimezone(timezone.utc)
