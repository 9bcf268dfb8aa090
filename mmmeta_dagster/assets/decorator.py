"""``@mmmeta_asset``: a function of one file, or of a batch of them, as an asset with the ledger behind it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload
from weakref import WeakKeyDictionary

import dagster as dg

from mmmeta.errors import JobError
from mmmeta.project import RESERVED_JOBS, JobConfig, MetadirConfig, job_config
from mmmeta_dagster.assets.function import Function, Parameters, compute_of, read_parameters
from mmmeta_dagster.assets.function_options import check_options
from mmmeta_dagster.assets.step import step
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset, spec_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mmmeta.project.rules import FunctionRules
    from mmmeta_dagster.assets.function_options import AssetOptions

_made: WeakKeyDictionary[dg.OpDefinition, tuple[str, JobConfig]] = WeakKeyDictionary()


@dataclass(frozen=True)
class UnboundAsset:
    """What ``@mmmeta_asset`` makes where it is given no metadir: a component in YAML, or ``bind``, says which.

    Attributes:
        function: what works on a file, or on a batch of them.
        options: what ``@mmmeta_asset`` was given.
    """

    function: Function
    options: Mapping[str, Any]

    def bind(self, metadir: MetadirConfig, translator: DagsterMmmetaTranslator = DEFAULT) -> dg.AssetsDefinition:
        """The asset of this metadir; one function may serve several. A translator of its own comes first."""
        options = dict(self.options)
        own = options.pop("translator")
        return _decorate(self.function, metadir, translator=translator if own is DEFAULT else own, **options)


@overload
def mmmeta_asset(function: Function, /) -> UnboundAsset: ...


@overload
def mmmeta_asset(
    *, metadir: MetadirConfig, **options: Unpack[AssetOptions]
) -> Callable[[Function], dg.AssetsDefinition]: ...


@overload
def mmmeta_asset(*, metadir: None = None, **options: Unpack[AssetOptions]) -> Callable[[Function], UnboundAsset]: ...


def mmmeta_asset(
    function: Function | None = None,
    /,
    *,
    metadir: MetadirConfig | None = None,
    name: str | None = None,
    where: Mapping[str, Any] | None = None,
    deps: Iterable[Any] = (),
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    automation_condition: Any = None,
    translator: DagsterMmmetaTranslator = DEFAULT,
    retry_policy: dg.RetryPolicy | None = None,
    pool: str | None = None,
    op_tags: Mapping[str, Any] | None = None,
    code_version: str | None = None,
    **rules: Unpack[FunctionRules],
) -> Any:
    """Make an asset of a function that works on one file (parameter ``file``) or on a batch of them (``files``).

    The ledger sees to it that the function gets each file once, and again when ``rerun_on`` says so; a file that it
    raises for comes again later and stops no other. Beside the file the function takes what any Dagster asset does:
    ``context``, a ``config`` (a subclass of ``JobOptions`` keeps limit and retry in the Launchpad), resources by
    annotation; any other parameter needs a default, and keeps it. Resources must be safe in threads where the job has
    ``workers``. What the function returns is ignored; ``context.add_output_metadata`` adds to the materialization.

    Example:
        >>> from mmmeta import File
        >>> archive = MetadirConfig(name="archive", path="/data/archive")
        >>> @mmmeta_asset(metadir=archive, where={"extension": "pdf"}, attempts=3, kinds=["python"])
        ... def extract(file: File) -> None:
        ...     '''Text of every PDF.'''
        >>> extract.key.to_user_string()
        'archive/extract'

    Args:
        metadir: as in the project file: ``load_project("mmmeta.yaml").metadirs["archive"]``, or made here. Without one
            the result is an ``UnboundAsset`` for the ``assets`` of a ``MetadirComponent``.
        name: of the job; the function's name unless given.
        where: which files, as in the project file; all unless given.
        rules: what a job of the project file can have: ``rerun_on``, ``attempts``, ``backoff``, ``lease``, ``timeout``,
            ``on_delete``, ``batch_size``, ``workers``, ``limit``, ``order_by``, ``fail_run_above``, and ``key``,
            ``group``, ``kinds``, ``tags``, ``owners`` of the asset, ``run_tags`` of its runs, and its ``partitions``:
            ``{"by": "retrieved_at", "every": "day", "start": "2024-01-01"}`` or ``{"by": "publisher:name"}``.
        description: the function's docstring unless given.

    Raises:
        JobError: a rule is not possible, or the function takes no file.
    """

    if isinstance(deps, str):
        raise JobError(f"deps: {deps!r} is one text, and a list of assets or their keys is needed: deps=[{deps!r}]")
    options: dict[str, Any] = {
        "name": name,
        "where": where,
        "deps": tuple(deps),
        "description": description,
        "metadata": metadata,
        "automation_condition": automation_condition,
        "translator": translator,
        "retry_policy": retry_policy,
        "pool": pool,
        "op_tags": op_tags,
        "code_version": code_version,
        "rules": rules,
    }

    def decorate(function: Function) -> dg.AssetsDefinition | UnboundAsset:
        if metadir is not None:
            return _decorate(function, metadir, **options)
        _check(function, name, where, rules)
        return UnboundAsset(function, options)

    return decorate if function is None else decorate(function)


def _check(
    function: Function, name: str | None, where: Mapping[str, Any] | None, rules: Mapping[str, Any]
) -> tuple[JobConfig, Parameters]:
    """What can be said before the metadir is known: the job, and what its function takes."""
    job_name = getattr(function, "__name__", "") if name is None else name
    check_options(job_name, rules)
    parameters = read_parameters(function, job_name)
    if job_name in RESERVED_JOBS:
        raise JobError(f"the name {job_name!r} is taken by mmmeta itself. Choose another: @mmmeta_asset(name=...)")
    return job_config(job_name, where, **rules), parameters


def _decorate(
    function: Function,
    metadir: MetadirConfig,
    *,
    name: str | None,
    where: Mapping[str, Any] | None,
    deps: Iterable[Any],
    description: str | None,
    metadata: Mapping[str, Any] | None,
    automation_condition: Any,
    translator: DagsterMmmetaTranslator,
    pool: str | None,
    code_version: str | None,
    rules: Mapping[str, Any],
    **step_options: Any,
) -> dg.AssetsDefinition:
    job, parameters = _check(function, name, where, rules)
    job_name = job.name
    if job_name in metadir.jobs:
        raise JobError(f"job {job_name!r}: metadir {metadir.name!r} has a job of this name in its project file")
    ours = with_jobs(metadir, [job])
    ours_as_asset = MetadirAsset(ours, job_name, job)
    spec = spec_of(translator, ours_as_asset)
    spec = spec.replace_attributes(
        description=description or inspect.getdoc(function) or spec.description,
        deps=[*spec.deps, *deps],
        metadata={**spec.metadata, **(metadata or {})},
        code_version=code_version or spec.code_version,
        automation_condition=automation_condition or spec.automation_condition,
    )
    if pool is not None:
        step_options["pool"] = pool
    asset: dg.AssetsDefinition = step(
        ours_as_asset,
        translator,
        spec,
        required_resource_keys=None,  # resources are parameters here, and Dagster takes only one of both
        **step_options,
    )(compute_of(function, parameters, ours, job_name))
    _made[asset.op] = (metadir.name, job)
    return asset


def with_jobs(metadir: MetadirConfig, jobs: Iterable[JobConfig]) -> MetadirConfig:
    """The same metadir with further jobs."""
    return metadir.model_copy(update={"jobs": {**metadir.jobs, **{job.name: job for job in jobs}}})


def job_of(asset: dg.AssetsDefinition) -> tuple[str, JobConfig] | None:
    """Metadir and job of an asset that ``@mmmeta_asset`` made; None for any other asset."""
    return _made.get(asset.op)
