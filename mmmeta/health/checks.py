"""Which checks there are of a state db and of a job, with the limits of ``checks:``; and all of them at once for a metadir.

Dagster's asset checks are these very ones, by these names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmmeta.errors import MmmetaError
from mmmeta.health import looks
from mmmeta.health.looks import Found, Seen
from mmmeta.project.checks import ChecksConfig
from mmmeta.quantities import format_duration

if TYPE_CHECKING:
    from mmmeta.metadir import Metadir
    from mmmeta.project import JobConfig

REVISION = "at_published_revision"
TYPES = "types_of_keys"
SET_ASIDE = "nothing_set_aside"
CAN_RUN = "can_run"
DEAD = "nothing_dead"
FAILURES = "few_failures"
LAG = "no_lag"
LEFT = "nothing_left_unprocessed"
RESULTS = "results_in_place"


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        about: what is so where it passes, in sentences.
        look: finds out.
    """

    name: str
    about: str
    look: Callable[[Seen], Found]


@dataclass(frozen=True)
class Finding:
    """What one check of a metadir found; ``job`` is None for the state db's."""

    job: str | None
    check: str
    found: Found


def checks_of_state_db(config: ChecksConfig, *, unmerged: float = 0.0) -> list[Check]:
    """The checks of a state db.

    Args:
        unmerged: seconds that a publication may wait to be merged. After an update it waits no longer.
    """
    return [
        Check(
            REVISION,
            "The state db has merged the latest that the remote has published.",
            lambda seen: looks.revision(seen, unmerged),
        ),
        Check(
            TYPES,
            f"Keys that hold numbers came with nothing else in the last {looks.LATELY_WORDS}: a filter such as "
            "pages >= 1 does not match text. Keys under checks: several_types are left out.",
            lambda seen: looks.types(seen, config.several_types),
        ),
    ]


def checks_of_job(config: ChecksConfig, name: str, job: JobConfig | None, *, see_more: str) -> list[Check]:
    """The checks of a job.

    Args:
        job: its definition; None where only the ledger knows it.
        see_more: the command that looks for all results, as words after ``mmmeta``.
    """
    made = [
        Check(
            DEAD,
            "No file is dead: has used up its attempts and waits for a person.",
            lambda seen: looks.dead(seen, name),
        ),
        Check(
            FAILURES,
            f"Of the files that were tried, at most {config.failures:.0%} are failed or dead.",
            lambda seen: looks.failures(seen, name, config.failures),
        ),
        Check(
            LAG,
            f"No file is pending for longer than {format_duration(config.lag)}.",
            lambda seen: looks.lag(seen, name, config.lag),
        ),
        Check(
            LEFT,
            f"In the last {looks.LATELY_WORDS} no change of the job's selection has set files aside that were "
            "never done, and the ledger can keep all that are selected.",
            lambda seen: looks.left(seen, name),
        ),
    ]
    if job is not None and (job.download is not None or job.load is not None):
        what = "documents" if job.download is not None else "rows"
        how_many = "all" if config.sample is None else f"{config.sample} of them, drawn anew each time"
        made.append(
            Check(
                RESULTS,
                f"The {what} of files that are done are where the job has put them, in the right version. Looks for "
                f"{how_many}.",
                lambda seen: looks.results(seen, name, config.sample, see_more),
            )
        )
    return made


def examine(metadir: Metadir, config: ChecksConfig, *, jobs: Iterable[str] | None = None) -> list[Finding]:
    """Look at everything, and say of each check what it found, the state db's first.

    Nothing is written. Where nothing was merged yet, that is what is found; a server's own folder needs no state db, and
    of a folder without one nothing is asked then.

    Args:
        jobs: the ones to look at; unless given all of the project file, and those that only the ledger knows.

    Raises:
        MmmetaError: the state db cannot be read.
    """
    seen = Seen(metadir)
    of_server = Finding(
        None, SET_ASIDE, look(Check(SET_ASIDE, "No metadata file is set aside.", looks.set_aside), seen)
    )
    if not metadir.is_client:
        return [of_server] if metadir.is_server else [Finding(None, REVISION, _never_updated(metadir))]
    metadir.ignore_news()
    ours = metadir.job_configs
    names = dict.fromkeys([*ours, *seen.status.jobs]) if jobs is None else jobs
    findings = [of_server] if metadir.is_server and jobs is None else []
    findings += [
        Finding(None, check.name, look(check, seen)) for check in checks_of_state_db(config, unmerged=config.lag)
    ]
    for name in names:
        made = checks_of_job(config, name, ours.get(name), see_more="check")
        if name in ours:
            made.insert(0, _can_run(name))
        findings += [Finding(name, check.name, look(check, seen)) for check in made]
    return findings


def _can_run(name: str) -> Check:
    return Check(
        CAN_RUN, "The job's selection works with the files that are here.", lambda seen: looks.can_run(seen, name)
    )


def look(check: Check, seen: Seen) -> Found:
    """What a check finds; one that cannot look has failed, and does not stop the others."""
    try:
        return check.look(seen)
    except (MmmetaError, OSError) as error:
        words = " ".join(str(error).split()).rstrip(".")
        return Found(f"Cannot be told: {words}.", {}, "status", passed=False)


def _never_updated(metadir: Metadir) -> Found:
    words = f"There is no state db at {metadir.layout.state}: nothing was merged yet."
    return Found(words, {}, "status", "update", passed=False)
