"""The asset checks of a metadir: the op that runs them. Which there are, and what each looks at, is the subject of
``mmmeta.health``, from where `mmmeta status --check` has the same.

Each asset's checks are one op, after the asset's. It is skipped where the asset's step fails, which is when it matters,
or has brought nothing new: then that step says itself what the checks find (``tell_checks``). What costs is not the ops
but the checks, 40 ms each, for Dagster writes three events for one. They only read, and create nothing.

No ``from __future__ import annotations`` here: Dagster reads the annotations of the check functions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from mmmeta import Metadir
from mmmeta.errors import MmmetaError
from mmmeta.health.checks import Check, checks_of_job, checks_of_state_db, look
from mmmeta.health.looks import Found, Rows, Seen
from mmmeta.project import JobConfig, MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.heartbeat import beating
from mmmeta_dagster.resources import MetadirResource
from mmmeta_dagster.shown.files_done import links_of
from mmmeta_dagster.shown.markdown import command, table
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, key_of

NUMBERS = {
    "dead": keys.META_DEAD,
    "done": keys.META_DONE_IN_ALL,
    "due_later": keys.META_DUE_LATER,
    "keys": keys.META_KEYS,
    "left": keys.META_LEFT_LATELY,
    "left_out": keys.META_LEFT_OUT,
    "limit": keys.META_LIMIT,
    "looked": keys.META_LOOKED,
    "missing": keys.META_MISSING,
    "oldest_pending": keys.META_OLDEST_PENDING,
    "pending": keys.META_PENDING,
    "published_revision": keys.META_PUBLISHED_REVISION,
    "revision": keys.META_REVISION,
    "set_aside": keys.META_SET_ASIDE_IN_ALL,
    "share": keys.META_SHARE,
}
"""What the numbers of a check are called in Dagster."""

TABLES = {keys.CHECK_RESULTS: keys.META_MISSING_TABLE, keys.CHECK_TYPES: keys.META_KEY_TABLE}
"""What the tables of a check are called there."""


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
        specs=[dg.AssetCheckSpec(check.name, asset=key, description=check.about) for check in made],
        required_resource_keys={keys.resource(metadir.name)},
        can_subset=True,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = {key.name for key in context.selected_asset_check_keys}
        with _opened(context, metadir) as m:
            seen = Seen(m)
            for check in made:
                if check.name in wanted:
                    yield dg.AssetCheckResult(asset_key=key, check_name=check.name, **_looked(metadir, seen, check))

    return checks


def tell_checks(context: dg.AssetExecutionContext, metadir: MetadirConfig, name: str) -> None:
    """Say what the checks of an asset find, from the asset's own step."""
    try:
        with _opened(context, metadir) as m:
            seen = Seen(m)
            for check in _made(metadir, metadir.jobs.get(name)):
                evaluation: Any = dg.AssetCheckEvaluation(
                    asset_key=context.asset_key, check_name=check.name, **_looked(metadir, seen, check)
                )
                context.log_event(evaluation)  # Dagster takes it, as one of this run; its annotation lacks it
    except MmmetaError as error:  # what failed before it is what a person has to see
        context.log.warning(f"The checks of {name} cannot be told: {error}")


def _made(metadir: MetadirConfig, job: JobConfig | None) -> list[Check]:
    """The checks of a job, or of the state db."""
    if job is None:
        return checks_of_state_db(metadir.checks)
    # `mmmeta check` looks for the results of the project file's jobs; others it knows from the ledger only.
    see_more = "check" if metadir.project_file is not None else f"jobs history {job.name}"
    made = checks_of_job(metadir.checks, job.name, job, see_more=see_more)
    return [check for check in made if check.name != keys.CHECK_RESULTS or metadir.checks.sample != 0]


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


def _looked(metadir: MetadirConfig, seen: Seen, check: Check) -> dict[str, Any]:
    """What a check finds, in the words of Dagster's result and of its event. One that passed says nothing but that."""
    found = _found(seen, check)
    severity = dg.AssetCheckSeverity(metadir.checks.severity.upper())
    if found.passed:
        return {"passed": True, "severity": severity}
    commands = {keys.META_SEE_MORE: found.command, keys.META_REMEDY: found.remedy}
    metadata: dict[str, Any] = {NUMBERS[name]: number for name, number in found.numbers.items() if number}
    if found.rows is not None:
        metadata[TABLES[check.name]] = table(found.rows.columns, _named(seen.metadir, found.rows), found.rows.total)
    return {
        "passed": False,
        "severity": severity,
        "description": found.words,
        "metadata": {**{name: command(metadir, words) for name, words in commands.items() if words}, **metadata},
    }


def _named(metadir: Metadir, rows: Rows) -> Sequence[Sequence[object]]:
    """The rows of a table with what a person calls the files in it, where there is a column of them."""
    if "file" not in rows.columns:
        return rows.rows
    place = rows.columns.index("file")
    links = links_of(metadir, (str(row[place]) for row in rows.rows))
    return [(*row[:place], links.get(str(row[place]), row[place]), *row[place + 1 :]) for row in rows.rows]


def _found(seen: Seen, check: Check) -> Found:
    """What a check finds; one that cannot look has failed, and stops neither the others nor the run."""
    layout = seen.metadir.layout
    if not layout.state.exists():
        words = f"There is no state db at {layout.state}: nothing can be told. Update first."
        return Found(words, {}, "status", "update", passed=False)
    return look(check, seen)
