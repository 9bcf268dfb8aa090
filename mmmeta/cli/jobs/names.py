"""Which jobs are meant: those of the project file, so that the command line and Dagster speak of the same ones.

A job is named ``archive/extract``, or ``extract`` where only one metadir has a job of that name. For what the ledger alone
is enough, the jobs that were made in Python or by a component are known, too, and those that the project file has lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mmmeta.cli.output import note
from mmmeta.cli.problems import act_on
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

    def find_in(self, metadir: Metadir) -> Job:
        """The job; one that only the ledger knows as its last run left it."""
        if self.in_project:
            return metadir.job(self.name)
        return metadir.recorded_job(self.name)


def project_jobs(target: Target) -> list[JobName]:
    """The jobs that the project file has for a metadir, in their order there."""
    return [JobName(target, job) for job in target.jobs]


def ledger_jobs(target: Target) -> list[JobName]:
    """The jobs that a metadir's ledger knows and the project file does not have."""
    with target.open() as metadir:
        if not metadir.is_client:
            return []
        return [JobName(target, job) for job in metadir.status().jobs if job not in target.jobs]


def jobs_to_run(targets: list[Target], words: Iterable[str]) -> dict[Target, list[JobName]]:
    """The jobs of the project file that are meant, by metadir; without words all of every metadir, also where it has none.

    Raises:
        click.UsageError: a name that no metadir has (with the near misses), that several have, or that only a ledger has.
    """
    words = list(words)
    if not words:
        return {target: project_jobs(target) for target in targets}
    known = _by_full_name(project_jobs, targets)
    for word in words:
        if not _meant(word, known):
            _refuse_recorded(word, targets)
    return _by_target(_choose(words, known, targets[0]))


def _refuse_recorded(word: str, targets: list[Target]) -> None:
    """Refuse to run what only a ledger knows: nothing here says what to do with a file."""
    if _meant(word, _by_full_name(ledger_jobs, targets)):
        raise click.BadParameter(
            f"{word!r} stands in no project file, so nobody here knows what it does with a file: it was made in Python or "
            "by a component, or taken out of the file. Run it there; in Dagster it has a job of its own.",
            param_hint="JOB",
        )


def find_job(ctx: click.Context, word: str) -> JobName:
    """The one job that is meant; one that only a ledger knows will do.

    Raises:
        click.UsageError: a name that no metadir has (with the near misses), or that several have.
    """
    return find_jobs(ctx, [word])[0]


def find_jobs(ctx: click.Context, words: Iterable[str]) -> list[JobName]:
    """The jobs that are meant; without words all, in the order of the project file, then those that only ledgers know.

    Raises:
        click.UsageError: as ``find_job``.
    """
    targets = find_targets(ctx)
    words = list(words)
    known = _by_full_name(project_jobs, targets)
    # The ledgers are opened only where the project file does not tell all.
    if not words or not all(_meant(word, known) for word in words):
        known |= _by_full_name(ledger_jobs, targets)
    return _choose(words, known, targets[0]) if words else list(known.values())


def act_on_jobs(ctx: click.Context, names: list[JobName], action: Callable[[Target, list[JobName]], int]) -> None:
    """Do something with the jobs of each metadir, as ``act_on`` does; where there are none at all, say so."""
    if not names:
        for target in find_targets(ctx):
            note(f"{target.name}: {target.without_jobs}")
        return
    by_target = _by_target(names)
    act_on(ctx, list(by_target), lambda target: action(target, by_target[target]))


def check_files(job: Job, files: Iterable[str]) -> None:
    """Refuse names that no file has, before anything happens.

    Raises:
        JobError: names the first one, with the near misses.
    """
    for file in files:
        job.why(file)


def note_dead(job: str, indent: str = "") -> None:
    """What a person can do about dead files of a job."""
    note(f"{indent}Dead files wait for you: mmmeta jobs retry {job} --dead")
    note(f"{indent}or to settle them for good: mmmeta jobs dismiss {job}")


def note_elsewhere(job: str, sentence: str, indent: str = "") -> None:
    """What is done elsewhere than where a job points now, and what a person can do about it."""
    note(f"{indent}{sentence}")
    note(f"{indent}To do them again: mmmeta jobs retry {job} --elsewhere")
    note(f"{indent}or to take them as they are: mmmeta jobs adopt {job} --elsewhere")


def _by_full_name(jobs_of: Callable[[Target], list[JobName]], targets: Iterable[Target]) -> dict[str, JobName]:
    return {name.full: name for target in targets for name in jobs_of(target)}


def _by_target(names: Iterable[JobName]) -> dict[Target, list[JobName]]:
    by_target: dict[Target, list[JobName]] = {}
    for name in names:
        by_target.setdefault(name.target, []).append(name)
    return by_target


def _meant(word: str, known: Mapping[str, JobName]) -> list[str]:
    return [full for full, job in known.items() if word in (full, job.name)]


def _choose(words: Iterable[str], known: Mapping[str, JobName], target: Target) -> list[JobName]:
    """The one job that each word means; each job once, however often and in whatever form it was named."""
    names = []
    for word in words:
        meant = _meant(word, known)
        if len(meant) != 1:
            raise click.BadParameter(_not_one(word, meant, known, target), param_hint="JOB")
        names.append(known[meant[0]])
    return list(dict.fromkeys(names))


def _not_one(word: str, meant: list[str], known: Mapping[str, JobName], target: Target) -> str:
    """Why a word means no job, or more than one; ``target`` is the first metadir."""
    if meant:
        return f"several metadirs have a job {word!r}: write {' or '.join(meant)}."
    if target.project is None and not known:
        return (
            f"{word!r}: there are no jobs without a project file (MMMETA_PROJECT, ./mmmeta.yaml or --project), but for "
            f"those that have run here before, and {target.path} has none."
        )
    where = target.project or target.path
    if not known:
        return f"{word!r}: {where} has no jobs for {target.path}."
    near = near_misses(word, [*known, *(job.name for job in known.values())])
    return f"there is no job {word!r} in {where}.{near} It has {', '.join(known)}."
