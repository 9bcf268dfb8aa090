"""Which jobs are meant: those of the project file, so that the command line and Dagster speak of the same ones.

A job is named ``archive/extract``, or ``extract`` where only one metadir has a job of that name. For what the ledger alone
is enough, the jobs that were made in Python or by a component are known, too, and those that the project file has lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mmmeta.cli.targets import Target, find_targets
from mmmeta.errors import near_misses

if TYPE_CHECKING:
    from mmmeta.jobs.job import Job
    from mmmeta.metadir import Metadir


@dataclass(frozen=True)
class JobName:
    """One job of one metadir."""

    target: Target
    name: str

    @property
    def full(self) -> str:
        """As people write it: ``archive/extract``."""
        return f"{self.target.name}/{self.name}"

    @property
    def in_project(self) -> bool:
        """Whether the project file has it; otherwise only the ledger knows it."""
        return self.name in self.target.jobs

    def of(self, metadir: Metadir) -> Job:
        """The job; one that only the ledger knows as its last run left it."""
        if self.in_project:
            return metadir.job(self.name)
        return metadir.recorded_job(self.name)


def choose_jobs(targets: list[Target], names: Iterable[str]) -> dict[Target, list[str]]:
    """Which jobs of the project file are meant, to be run; without names all of all.

    Raises:
        click.UsageError: a name that no metadir has (with the near misses), that several have, or that only a ledger has.
    """
    names = list(names)
    if not names:
        return {target: list(target.jobs) for target in targets}
    known = {f"{target.name}/{job}": JobName(target, job) for target in targets for job in target.jobs}
    chosen: dict[Target, list[str]] = {}
    for name in dict.fromkeys(names):
        if not _meant(name, known):
            _refuse_recorded(name, targets)
        job = _one(name, known, targets[0])
        if job.name not in chosen.setdefault(job.target, []):
            chosen[job.target].append(job.name)
    return chosen


def _refuse_recorded(name: str, targets: list[Target]) -> None:
    """Refuse to run what only a ledger knows: nothing here says what to do with a file."""
    known = {f"{target.name}/{job}": JobName(target, job) for target in targets for job in ledger_jobs(target)}
    if _meant(name, known):
        raise click.BadParameter(
            f"{name!r} stands in no project file, so nobody here knows what it does with a file: it was made in Python or "
            "by a component. Run it there; in Dagster it has a job of its own.",
            param_hint="JOB",
        )


def find_job(ctx: click.Context, name: str) -> JobName:
    """The one job that is meant; one that only a ledger knows will do.

    Raises:
        click.UsageError: a name that no metadir has (with the near misses), or that several have.
    """
    return find_jobs(ctx, [name])[0]


def find_jobs(ctx: click.Context, names: Iterable[str]) -> list[JobName]:
    """The jobs that are meant; without names all, in the order of the project file, then those that only ledgers know."""
    targets = find_targets(ctx)
    known = {f"{target.name}/{job}": JobName(target, job) for target in targets for job in target.jobs}
    names = list(names)
    # The ledgers are opened only where the project file does not tell all.
    if not names or any(not _meant(name, known) for name in names):
        for target in targets:
            known |= {f"{target.name}/{job}": JobName(target, job) for job in ledger_jobs(target)}
    if not names:
        return list(known.values())
    return [_one(name, known, targets[0]) for name in dict.fromkeys(names)]


def ledger_jobs(target: Target) -> list[str]:
    """Jobs that a metadir's ledger knows and the project file does not have."""
    with target.open() as metadir:
        if not metadir.is_client:
            return []
        return [job for job in metadir.status().jobs if job not in target.jobs]


def check_files(job: Job, files: Iterable[str]) -> None:
    """Refuse names that no file has, before anything happens.

    Raises:
        JobError: names the first one, with the near misses.
    """
    for file in files:
        job.why(file)


def _meant(name: str, known: Mapping[str, JobName]) -> list[str]:
    return [full for full, job in known.items() if name in (full, job.name)]


def _one(name: str, known: Mapping[str, JobName], target: Target) -> JobName:
    full = _meant(name, known)
    if len(full) != 1:
        raise click.BadParameter(_not_one(name, full, known, target), param_hint="JOB")
    return known[full[0]]


def _not_one(name: str, full: list[str], known: Mapping[str, JobName], target: Target) -> str:
    if full:
        return f"several metadirs have a job {name!r}: write {' or '.join(full)}."
    if target.project is None and not known:
        return (
            f"{name!r}: there are no jobs without a project file (MMMETA_PROJECT, ./mmmeta.yaml or --project), but for "
            f"those that have run here before, and {target.path} has none."
        )
    where = target.project or target.path
    if not known:
        return f"{name!r}: {where} has no jobs for {target.path}."
    short = [job.name for job in known.values()]
    near = near_misses(name, [*known, *short])
    return f"there is no job {name!r} in {where}.{near} It has {', '.join(known)}."
