"""What needs a person, said in one line each, with the command that mends it; for ``status --check`` and ``run``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mmmeta.cli.targets import Target

if TYPE_CHECKING:
    from mmmeta.health.checks import Finding
    from mmmeta.metadir import Metadir
    from mmmeta.project.checks import ChecksConfig


def limits_of(target: Target) -> ChecksConfig:
    """What counts as unhealthy in a metadir; the defaults where no project file describes it."""
    from mmmeta.project.checks import ChecksConfig

    return ChecksConfig() if target.config is None else target.config.checks


def find_problems(target: Target, metadir: Metadir, jobs: Iterable[str]) -> list[Finding]:
    """What needs a person after a run of these jobs; nothing where ``checks`` are switched off.

    Left out is how many files stand failed: those that failed in the run are its own news, and they come again by
    themselves; and what a changed selection has left undone, which nobody has to decide about.
    """
    from mmmeta.health.checks import FAILURES, LEFT, examine

    limits = limits_of(target)
    findings = examine(metadir, limits, jobs=jobs) if limits.enabled else []
    return [finding for finding in findings if not finding.found.passed and finding.check not in (FAILURES, LEFT)]


def health_line(target: Target, finding: Finding) -> str:
    """``archive/extract: 3 files are dead, …: mmmeta … jobs retry --dead extract``."""
    found = finding.found
    place = target.name if finding.job is None else f"{target.name}/{finding.job}"
    command = target.command(found.remedy or found.command)
    words = " ".join(found.words.split())
    if finding.job is not None and finding.job not in target.jobs:
        words += (
            " The project file does not have this job: it goes on where it is made; if it is made nowhere any more, "
            f"`mmmeta jobs forget {finding.job}`."
        )
    return f"{place}: {words} {'Remedy' if found.remedy else 'See'}: {command}"


def for_programs(target: Target, finding: Finding) -> dict[str, Any]:
    """A finding as ``--json`` has it; commands are whole."""
    found = finding.found
    return {
        "job": finding.job,
        "check": finding.check,
        "passed": found.passed,
        "words": found.words,
        "numbers": found.numbers,
        "command": target.command(found.command),
        "remedy": None if found.remedy is None else target.command(found.remedy),
    }
