"""The asset checks of a metadir: which there are, and the op that runs them. What each looks at is in ``looks``.

Each asset's checks are one op, after the asset's. It is skipped where the asset's step fails, which is when it matters,
or has brought nothing new: then that step says itself what the checks find (``tell_checks``). What costs is not the ops
but the checks, 40 ms each, for Dagster writes three events for one. They only read, and create nothing.

No ``from __future__ import annotations`` here: Dagster reads the annotations of the check functions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from mmmeta import Metadir
from mmmeta.errors import MmmetaError
from mmmeta.filters import format_duration
from mmmeta.project import JobConfig, MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.checks import looks
from mmmeta_dagster.checks.looks import Found
from mmmeta_dagster.heartbeat import beating
from mmmeta_dagster.resources import MetadirResource
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, key_of

Look = Callable[[Metadir], Found]


def build_checks(
    *, metadir: MetadirConfig, translator: DagsterMmmetaTranslator = DEFAULT
) -> list[dg.AssetChecksDefinition]:
    """The asset checks of a metadir, as its ``checks`` say: for ``state_db`` and for each job.

    They run with every Dagster job that materializes the asset, or by the clock if ``schedules`` have one for them; in
    ``<metadir>_checks``; and by the button in the UI.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> archive = MetadirConfig(name="archive", path="/data/archive", checks={"severity": "error", "lag": "6h"})
        >>> [spec.name for checks in build_checks(metadir=archive) for spec in checks.check_specs]
        ['at_published_revision', 'types_of_keys']
    """
    if not metadir.checks.enabled:
        return []
    jobs = [_checks(metadir, MetadirAsset(metadir, job.name, job), translator) for job in metadir.jobs.values()]
    return [_checks(metadir, MetadirAsset(metadir, keys.STATE_DB), translator), *jobs]


def _checks(
    metadir: MetadirConfig, asset: MetadirAsset, translator: DagsterMmmetaTranslator
) -> dg.AssetChecksDefinition:
    """The checks of one asset, in one op."""
    key = key_of(translator, asset)
    made = _made(metadir, asset.job)

    @dg.multi_asset_check(
        name=keys.checks_op(metadir.name, asset.name),
        specs=[dg.AssetCheckSpec(name, asset=key, description=description) for name, (description, _) in made.items()],
        required_resource_keys={keys.resource(metadir.name)},
        can_subset=True,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = {key.name for key in context.selected_asset_check_keys}
        with _opened(context, metadir) as m:
            for name, (_, look) in made.items():
                if name in wanted:
                    yield dg.AssetCheckResult(asset_key=key, check_name=name, **_looked(metadir, m, look))

    return checks


def tell_checks(context: dg.AssetExecutionContext, metadir: MetadirConfig, name: str) -> None:
    """Say what the checks of an asset find, from the asset's own step."""
    try:
        with _opened(context, metadir) as m:
            for check, (_, look) in _made(metadir, metadir.jobs.get(name)).items():
                evaluation: Any = dg.AssetCheckEvaluation(
                    asset_key=context.asset_key, check_name=check, **_looked(metadir, m, look)
                )
                context.log_event(evaluation)  # Dagster takes it, as one of this run; its annotation lacks it
    except MmmetaError as error:  # what failed before it is what a person has to see
        context.log.warning(f"The checks of {name} cannot be told: {error}")


def _made(metadir: MetadirConfig, job: JobConfig | None) -> dict[str, tuple[str, Look]]:
    """The checks of a job, or of the state db: name → what it says, and how it looks."""
    return _of_state_db(metadir) if job is None else _of_job(metadir, job)


def _of_state_db(metadir: MetadirConfig) -> dict[str, tuple[str, Look]]:
    several = metadir.checks.several_types
    return {
        keys.CHECK_REVISION: (
            "The state db has merged the latest that the remote has published.",
            looks.revision,
        ),
        keys.CHECK_TYPES: (
            f"Keys that hold numbers came with nothing else in the last {looks.LATELY_WORDS}: a filter such as "
            "pages >= 1 does not match text. Keys under checks: several_types are left out.",
            lambda m: looks.types(m, several),
        ),
    }


def _of_job(metadir: MetadirConfig, job: JobConfig) -> dict[str, tuple[str, Look]]:
    config, name = metadir.checks, job.name
    limit = format_duration(config.lag)
    made: dict[str, tuple[str, Look]] = {
        keys.CHECK_DEAD: (
            "No file is dead: has used up its attempts and waits for a person.",
            lambda m: looks.dead(m, name),
        ),
        keys.CHECK_FAILURES: (
            f"Of the files that were tried, at most {config.failures:.0%} are failed or dead.",
            lambda m: looks.failures(m, name, config.failures),
        ),
        keys.CHECK_LAG: (
            f"No file is pending for longer than {limit}.",
            lambda m: looks.lag(m, name, config.lag),
        ),
        keys.CHECK_LEFT: (
            f"In the last {looks.LATELY_WORDS} no change of the job's selection has set files aside that were "
            "never done.",
            lambda m: looks.left(m, name),
        ),
    }
    if (job.download is not None or job.load is not None) and config.sample != 0:
        what = "documents" if job.download is not None else "rows"
        # `mmmeta check` looks for the results of the project file's jobs; others it knows from the ledger only.
        see_more = "check" if metadir.project_file is not None else f"jobs history {name}"
        how_many = "all" if config.sample is None else f"{config.sample} of them, drawn anew each time"
        made[keys.CHECK_RESULTS] = (
            f"The {what} of files that are done are where the job has put them, in the right version. Looks for "
            f"{how_many}.",
            lambda m: looks.results(m, name, config.sample, see_more),
        )
    return made


@contextmanager
def _opened(
    context: dg.AssetCheckExecutionContext | dg.AssetExecutionContext, metadir: MetadirConfig
) -> Iterator[Metadir]:
    """The metadir of the resource; gives signs of life for a run that looks for long, but makes no folder for them."""
    resource: MetadirResource = getattr(context.resources, keys.resource(metadir.name))
    with resource.open(name=metadir.name, jobs=metadir.jobs) as m:
        if not m.layout.state.exists():
            yield m
            return
        with beating(m.layout, context.run.run_id):
            yield m


def _looked(metadir: MetadirConfig, m: Metadir, look: Look) -> dict[str, Any]:
    """What a check finds, in the words of Dagster's result and of its event."""
    found = _found(m, look)
    commands = {keys.META_SEE_MORE: found.command, keys.META_REMEDY: found.remedy}
    return {
        "passed": found.passed,
        "severity": dg.AssetCheckSeverity(metadir.checks.severity.upper()),
        "description": found.words,
        "metadata": {**found.numbers, **{name: metadir.command(words) for name, words in commands.items() if words}},
    }


def _found(m: Metadir, look: Look) -> Found:
    """What a check finds; one that cannot look has failed, and stops neither the others nor the run."""
    try:
        if not m.layout.state.exists():
            words = f"There is no state db at {m.layout.state}: nothing can be told. Update first."
            return Found(words, {}, "status", "update", passed=False)
        return look(m)
    except (MmmetaError, OSError) as error:
        return Found(f"Cannot be told: {' '.join(str(error).split())}", {}, "status", passed=False)
