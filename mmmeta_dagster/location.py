"""The whole code location of a project file: assets, Dagster jobs, schedules, sensors, resources."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from mmmeta.errors import JobError, ProjectError
from mmmeta.layout import FILES_ROOT_ENVIRONMENT, PATH_ENVIRONMENT, STATE_ENVIRONMENT
from mmmeta.project import JobConfig, MetadirConfig, Project, check_names, find_project, load_project
from mmmeta_dagster import keys
from mmmeta_dagster.assets.build import Execute, build_metadir_assets
from mmmeta_dagster.assets.decorator import UnboundAsset, job_of, with_jobs
from mmmeta_dagster.checks.build import build_checks
from mmmeta_dagster.files_seen import layout_of, why_not_there
from mmmeta_dagster.jobs import DagsterJob, build_jobs, imported, run_tags_of, specs
from mmmeta_dagster.resources import resource_of
from mmmeta_dagster.schedules import build_schedules
from mmmeta_dagster.sensor.build import build_remote_sensor
from mmmeta_dagster.syncing import pulls
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, key_of, spec_of

_log = logging.getLogger(__name__)

WITHOUT_PROJECT = "mmmeta"
"""Name of the one metadir where there is no project file."""


def build_definitions(
    *,
    metadirs: Mapping[str, MetadirConfig],
    assets: Iterable[dg.AssetsDefinition] = (),
    translator: DagsterMmmetaTranslator = DEFAULT,
    resources: Mapping[str, Any] | None = None,
    execute: Execute | None = None,
) -> dg.Definitions:
    """Everything for some metadirs, to be merged into a code location of one's own. Nothing is opened.

    ``assets`` are those that ``@mmmeta_asset`` made for these metadirs: each gets its Dagster job, and the sensor and
    the import take it in. ``resources`` are what these assets take; they may as well stand in other Definitions that are
    merged with these. ``execute`` is as for ``build_metadir_assets``. No executor is set: two Definitions that bring one do
    not merge.

    Example:
        >>> from mmmeta.project import MetadirConfig
        >>> archive = MetadirConfig(name="archive", path="/data/archive")
        >>> definitions = build_definitions(metadirs={"archive": archive})
        >>> definitions.resolve_job_def("archive_import").name
        'archive_import'

    Raises:
        JobError: one of the assets was not made by ``@mmmeta_asset``, or for another metadir, or with another translator.
    """
    own: dict[str, list[dg.AssetsDefinition]] = {metadir.name: [] for metadir in metadirs.values()}
    whole = {metadir.name: metadir for metadir in metadirs.values()}
    for asset in assets:
        name, job = _made(asset, whole)
        own[name].append(asset)
        whole[name] = with_jobs(whole[name], [job])
    try:
        check_names(whole)
    except ValueError as error:
        raise JobError(str(error)) from None
    for name, of_metadir in own.items():
        for asset in of_metadir:
            _check_translator(asset, whole[name], translator)
    return dg.Definitions.merge(
        *(_of_metadir(metadir, own[name], translator, execute) for name, metadir in whole.items()),
        dg.Definitions(resources=resources),
    )


def _made(asset: dg.AssetsDefinition, metadirs: Mapping[str, MetadirConfig]) -> tuple[str, JobConfig]:
    """Metadir and job of an asset.

    Raises:
        JobError: it is none of these metadirs', or the metadir has a job of this name already.
    """
    if isinstance(asset, UnboundAsset):
        called = asset.options["name"] or getattr(asset.function, "__name__", "")
        raise JobError(
            f"job {called!r}: @mmmeta_asset was given no metadir, so nobody knows whose job it is: bind it, {called}.bind("
            "metadir), or write @mmmeta_asset(metadir=...)"
        )
    made = job_of(asset)
    if made is None or made[0] not in metadirs:
        raise JobError(
            f"asset {asset.key.to_user_string()} was not made by @mmmeta_asset for one of {', '.join(metadirs)}; add "
            "other assets to your Definitions beside these"
        )
    if made[1].name in metadirs[made[0]].jobs:
        raise JobError(f"job {made[1].name!r}: metadir {made[0]!r} has two jobs of this name. Rename one of them")
    return made


def _check_translator(asset: dg.AssetsDefinition, metadir: MetadirConfig, translator: DagsterMmmetaTranslator) -> None:
    """Refuse an asset that stands, or hangs, elsewhere than where the other assets of its metadir are put.

    To move it here would leave behind what was said of its key before: dependencies in a person's own assets.
    """
    (spec,) = asset.specs
    made = job_of(asset)
    assert made is not None
    here = spec_of(translator, MetadirAsset(metadir, made[1].name, made[1]))
    if spec.key != here.key or not {dep.asset_key for dep in here.deps} <= {dep.asset_key for dep in spec.deps}:
        raise JobError(
            f"job {made[1].name!r}: its asset is {spec.key.to_user_string()} and would be {here.key.to_user_string()} by the "
            f"translator of these definitions, {type(translator).__name__}. Give both the same one: "
            f"@mmmeta_asset(metadir=..., translator={type(translator).__name__}())"
        )


def _of_metadir(
    metadir: MetadirConfig,
    own: list[dg.AssetsDefinition],
    translator: DagsterMmmetaTranslator,
    execute: Execute | None,
) -> dg.Definitions:
    assets = [*build_metadir_assets(metadir=metadir, translator=translator, execute=execute), *own]
    ours = {keys.resource(metadir.name): resource_of(metadir)}
    checks = build_checks(metadir=metadir, translator=translator)
    jobs = build_jobs(metadir=metadir, translator=translator, assets=assets, checks=checks)
    followed = imported(metadir, translator=translator, assets=assets)
    sensor = _sensor(followed, {job.name: job for job in jobs}, translator, assets)
    sensors: list[dg.SensorDefinition] = [sensor]
    # A condition of what only arrives here starts nothing.
    ours_to_run = [asset for asset in assets if not isinstance(asset, dg.AssetSpec)]
    sensors += _automation(
        metadir, [spec.key for spec in specs(ours_to_run) if spec.automation_condition is not None], translator
    )
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=jobs,
        schedules=build_schedules(metadir=followed, translator=translator),
        sensors=sensors,
        resources=ours,
    )


def _sensor(
    metadir: MetadirConfig,
    jobs: Mapping[str, DagsterJob],
    translator: DagsterMmmetaTranslator,
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec],
) -> dg.SensorDefinition:
    name = keys.import_job(metadir.name)
    if not metadir.is_sharded:
        # By name: Dagster would have to make a copy of what holds a job whose resources come later.
        return build_remote_sensor(metadir=metadir, job=name, translator=translator)
    work = jobs[keys.work_job(metadir.name)]
    return build_remote_sensor(metadir=metadir, job=jobs[name], work=work, translator=translator, assets=assets)


def _automation(
    metadir: MetadirConfig, automated: list[dg.AssetKey], translator: DagsterMmmetaTranslator
) -> list[dg.SensorDefinition]:
    """The sensors that evaluate automation conditions: one, and one for each job whose runs have tags of their own."""
    tagged = {
        key_of(translator, MetadirAsset(metadir, name, job)): job for name, job in metadir.jobs.items() if job.run_tags
    }
    common = [key for key in automated if key not in tagged]
    each = [(keys.automation_sensor(metadir.name), common, run_tags_of(metadir))] if common else []
    each += [
        (keys.automation_sensor_of(metadir.name, job.name), [key], run_tags_of(metadir, job.run_tags))
        for key, job in tagged.items()
        if key in automated
    ]
    return [
        dg.AutomationConditionSensorDefinition(
            name,
            target=dg.AssetSelection.assets(*assets),
            default_status=dg.DefaultSensorStatus.RUNNING,
            run_tags=run_tags,
            description="Runs the jobs that have an automation condition.",
        )
        for name, assets, run_tags in each
    ]


def warn_of_missing(metadirs: Mapping[str, MetadirConfig]) -> None:
    """Say in the log, which `dagster dev` shows, which archives are not there yet. They may come at any time;
    where runs pull, the first one brings them."""
    for metadir in metadirs.values():
        missing = None if metadir.generate or pulls(metadir) else why_not_there(layout_of(metadir))
        if missing is not None:
            _log.warning("%s: %s", metadir.name, missing)


def find_metadirs(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Mapping[str, MetadirConfig]:
    """The metadirs of the project file (``MMMETA_PROJECT``, else ``mmmeta.yaml`` here), else the one of ``MMMETA``.

    Raises:
        ProjectError: there is neither, or the project file is not valid. A file that was mounted in the wrong place
            must not look like a healthy empty archive.
    """
    environ = os.environ if environ is None else environ
    path = find_project(environ, cwd)
    if path is not None:
        project: Project = load_project(path)
        return project.metadirs
    base = environ.get(PATH_ENVIRONMENT)
    if base:
        files_root = environ.get(FILES_ROOT_ENVIRONMENT)
        return {
            WITHOUT_PROJECT: MetadirConfig(
                name=WITHOUT_PROJECT,
                path=Path(base),
                files_root=Path(files_root) if files_root else None,
                state=environ.get(STATE_ENVIRONMENT) or None,
            )
        }
    raise ProjectError(
        f"Nothing to load: MMMETA_PROJECT is not set, there is no mmmeta.yaml in {cwd or Path.cwd()}, and MMMETA is "
        f"not set. Name the project file with MMMETA_PROJECT, or the archive with MMMETA."
    )
