"""What is done elsewhere than where a job points now: after a change of ``to:``, ``table:`` or ``name:``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmmeta.project.job import JobConfig
from mmmeta.state.ledger.outcomes import Elsewhere, Pointing
from mmmeta.target.identity import table_name


def pointing_of(config: JobConfig) -> Pointing | None:
    """Where a job puts what it makes; None for functions and commands, of which nobody knows. Nothing is opened."""
    if config.download is not None:
        return Pointing(str(Path(config.download.to).resolve(strict=False)), config.download.name)
    if config.load is not None:
        return Pointing(table_name(config.load.to, config.load.table))
    return None


def sentence(elsewhere: Sequence[Elsewhere], pointing: Pointing) -> str | None:
    """``15 files are done elsewhere than where the job points now: 15 in /old``; None where none are."""
    parts = []
    for there in elsewhere:
        where = f"in {there.target}" if there.target != pointing.target else f"under the name {there.naming}"
        parts.append(f"{there.files:,} {where}")
    count = sum(there.files for there in elsewhere)
    if not count:
        return None
    are = "1 file is" if count == 1 else f"{count:,} files are"
    return f"{are} done elsewhere than where the job points now: {', '.join(parts)}"


def what_to_do(job: str) -> str:
    """The one command for each wish."""
    return f"Do them again: `mmmeta jobs retry {job} --elsewhere`; take them as they are: `mmmeta jobs adopt {job} --elsewhere`"
