"""``@mmmeta_asset``: a function of one file, or of a batch of them, as an asset with the ledger behind it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints, overload
from weakref import WeakKeyDictionary

import dagster as dg

from mmmeta.errors import JobError
from mmmeta.project import JobConfig, MetadirConfig, job_config
from mmmeta_dagster import keys
from mmmeta_dagster.assets import step
from mmmeta_dagster.ending import Ending
from mmmeta_dagster.job_run import run_job
from mmmeta_dagster.options import JobOptions
from mmmeta_dagster.resources import MetadirResource
from mmmeta_dagster.translator import DEFAULT, DagsterMmmetaTranslator, MetadirAsset

ONE, MANY = "file", "files"
"""How the parameter is called that takes the file, or the batch."""

_RULES = [
    "rerun_on",
    "attempts",
    "backoff",
    "lease",
    "timeout",
    "on_delete",
    "batch_size",
    "workers",
    "limit",
    "order_by",
    "fail_run_above",
    "key",
    "group",
    "kinds",
    "tags",
    "owners",
    "partitions",
]
"""What a job has in the project file as well, by the same name."""

_made: WeakKeyDictionary[dg.OpDefinition, tuple[str, JobConfig]] = WeakKeyDictionary()

Function = Callable[..., object]


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
def mmmeta_asset(*, metadir: MetadirConfig, **options: Any) -> Callable[[Function], dg.AssetsDefinition]: ...


@overload
def mmmeta_asset(*, metadir: None = None, **options: Any) -> Callable[[Function], UnboundAsset]: ...


def mmmeta_asset(
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
    **rules: Any,
) -> Callable[[Function], Any]:
    """Make an asset of a function that works on one file (parameter ``file``) or on a batch of them (``files``).

    The ledger sees to it that the function gets each file once, and again when ``rerun_on`` says so; a file that it
    raises for comes again later and stops no other. Beside the file the function takes what any Dagster asset does:
    ``context``, a ``config`` (a subclass of ``JobOptions`` keeps limit and retry in the Launchpad), resources by
    annotation. Resources must be safe in threads where the job has ``workers``.

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
            ``group``, ``kinds``, ``tags``, ``owners`` of the asset, and its ``partitions``:
            ``{"by": "retrieved_at", "every": "day", "start": "2024-01-01"}`` or ``{"by": "publisher:name"}``.
        description: the function's docstring unless given.

    Raises:
        JobError: a rule is not possible, or the function takes no file.
    """

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
        _check(function, function.__name__ if name is None else name, rules)
        return UnboundAsset(function, options)

    return decorate


def _check(function: Function, job_name: str, rules: Mapping[str, Any]) -> str:
    """What can be said before the metadir is known; gives the parameter that takes the file."""
    unknown = sorted(set(rules) - set(_RULES))
    if unknown:
        raise JobError(
            f"job {job_name!r}: @mmmeta_asset does not take {unknown[0]!r}; its rules are {', '.join(_RULES)}"
        )
    takes = [parameter for parameter in inspect.signature(function).parameters if parameter in (ONE, MANY)]
    if len(takes) != 1 or inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise JobError(
            f"job {job_name!r}: {function.__name__} must be an ordinary function with a parameter called file, which gets "
            "one file at a time, or files, which gets a list of them"
        )
    return takes[0]


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
    job_name = function.__name__ if name is None else name
    _check(function, job_name, rules)
    job = job_config(job_name, where, **rules)
    if job_name in metadir.jobs:
        raise JobError(f"job {job_name!r}: metadir {metadir.name!r} has a job of this name in its project file")
    ours = with_jobs(metadir, [job])
    spec = translator.get_asset_spec(MetadirAsset(ours, job_name, job))
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
        ours,
        job_name,
        spec,
        required_resource_keys=None,  # resources are parameters here, and Dagster takes only one of both
        **step_options,
    )(_compute(function, ours, job_name))
    _made[asset.op] = (metadir.name, job)
    return asset


def with_jobs(metadir: MetadirConfig, jobs: Iterable[JobConfig]) -> MetadirConfig:
    """The same metadir with further jobs."""
    return metadir.model_copy(update={"jobs": {**metadir.jobs, **{job.name: job for job in jobs}}})


def job_of(asset: dg.AssetsDefinition) -> tuple[str, JobConfig] | None:
    """Metadir and job of an asset that ``@mmmeta_asset`` made; None for any other asset."""
    return _made.get(asset.op)


def _compute(
    function: Function,
    metadir: MetadirConfig,
    name: str,
) -> Callable[..., Ending]:
    """The step around a person's function, with the parameters of the function that Dagster is to fill."""
    parameters = inspect.signature(function).parameters
    taken = ONE if ONE in parameters else MANY
    hints = get_type_hints(function)
    passed = [parameter for parameter in parameters if parameter not in (ONE, MANY, "context")]
    if "config" not in passed:
        hints["config"] = JobOptions
    # What Dagster is to fill: no file, and a config in any case.
    first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_ONLY, annotation=dg.AssetExecutionContext)
    shown = [first, _parameter("config", hints["config"])]
    shown += [_parameter(one, hints.get(one, Any)) for one in passed if one != "config"]
    if keys.resource(metadir.name) not in passed:
        shown.append(_parameter(keys.resource(metadir.name), MetadirResource))

    def compute(context: dg.AssetExecutionContext, **arguments: Any) -> Ending:
        given = {parameter: arguments[parameter] for parameter in passed if parameter in arguments}
        if "context" in parameters:
            given["context"] = context
        config = arguments["config"]
        return run_job(
            context,
            metadir,
            name,
            config if isinstance(config, JobOptions) else JobOptions(),
            lambda work: function(**given, **{taken: work}),
            batch=taken == MANY,
        )

    compute.__name__ = function.__name__
    compute.__module__ = function.__module__
    compute.__doc__ = function.__doc__
    compute.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    compute.__annotations__ = {one.name: one.annotation for one in shown}
    return compute


def _parameter(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
