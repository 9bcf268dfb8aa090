"""The function under ``@mmmeta_asset``: what it may look like, and the Dagster step that calls it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import dagster as dg

from mmmeta.errors import JobError
from mmmeta.project import MetadirConfig
from mmmeta_dagster import keys
from mmmeta_dagster.assets.ending import Ending
from mmmeta_dagster.assets.job_run import run_job
from mmmeta_dagster.options import JobOptions
from mmmeta_dagster.resources import MetadirResource

Function = Callable[..., object]

ONE, MANY = "file", "files"
"""How the parameter is called that takes the file, or the batch."""

CONTEXT, CONFIG = "context", "config"


@dataclass(frozen=True)
class Parameters:
    """What a function takes.

    Attributes:
        work: the parameter that takes the file, or the batch.
        context: whether it wants Dagster's context.
        filled: name → annotation of those that Dagster fills: a config, resources.
    """

    work: str
    context: bool
    filled: Mapping[str, Any]


def read_parameters(function: Function, job_name: str) -> Parameters:
    """What a function takes, so that what cannot work is said where it is written and not in each run.

    What is no resource and has a default keeps it.

    Raises:
        JobError: the function takes no file, or something that nobody can give it.
    """
    if (
        not inspect.isfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
    ):
        raise _no_function(function, job_name)
    parameters = inspect.signature(function).parameters
    takes = [name for name in parameters if name in (ONE, MANY)]
    if len(takes) != 1:
        raise _no_function(function, job_name)
    try:
        hints = get_type_hints(function, include_extras=True)  # dg.ResourceParam is one of the extras
    except NameError as error:
        raise JobError(
            f"job {job_name!r}: an annotation of {function.__name__} cannot be read: {error}. Dagster needs it when the "
            "module is loaded, so import it outside of `if TYPE_CHECKING:`"
        ) from None
    asked = {
        name: hints.get(name, JobOptions if name == CONFIG else Any)
        for name, parameter in parameters.items()
        if name not in (ONE, MANY, CONTEXT)
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    }
    # Dagster takes what is neither context, config nor resource for the output of an op before this one.
    inputs = set(dg.op(name="parameters")(_shaped(function, lambda context, **filled: None, asked)).ins)
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise JobError(
                f"job {job_name!r}: {name} of {function.__name__} is given by name: leave out the / after it"
            )
        if name in inputs and parameter.default is inspect.Parameter.empty:
            raise JobError(
                f"job {job_name!r}: nobody can give {function.__name__} its parameter {name!r}, which is no resource. "
                f"Beside {takes[0]} it takes context, config and resources by their annotation "
                "(a ConfigurableResource, dg.ResourceParam[...]); a value belongs in the config, or needs a default"
            )
    filled = {name: hint for name, hint in asked.items() if name not in inputs}
    return Parameters(takes[0], CONTEXT in parameters, filled)


def compute_of(function: Function, parameters: Parameters, metadir: MetadirConfig, name: str) -> Callable[..., Ending]:
    """The step around the function, with the parameters that Dagster has to fill."""
    resource = keys.resource(metadir.name)
    # No file, and a config in any case: it has the limit, and what is retried.
    asked = {CONFIG: JobOptions, resource: MetadirResource, **parameters.filled}

    def compute(context: dg.AssetExecutionContext, **filled: Any) -> Ending:
        given = {name: filled[name] for name in parameters.filled}
        if parameters.context:
            given[CONTEXT] = context
        config, told = filled[CONFIG], False

        def call(work: Any) -> None:
            nonlocal told
            result = function(**given, **{parameters.work: work})
            if isinstance(result, (dg.MaterializeResult, dg.Output)) and not told:
                told = True
                context.log.warning(
                    f"What {function.__name__} returns is ignored, for an asset is materialized once and not for each file. "
                    "Metadata of its own it adds with context.add_output_metadata."
                )

        return run_job(
            context,
            metadir,
            name,
            config if isinstance(config, JobOptions) else JobOptions(),
            call,
            batch=parameters.work == MANY,
        )

    shaped: Callable[..., Ending] = _shaped(function, compute, asked)
    return shaped


def _shaped(function: Function, compute: Function, asked: Mapping[str, Any]) -> Any:
    """A function that looks to Dagster like the person's, with these parameters behind the context."""
    first = inspect.Parameter(CONTEXT, inspect.Parameter.POSITIONAL_ONLY, annotation=dg.AssetExecutionContext)
    shown = [
        first,
        *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint) for name, hint in asked.items()),
    ]
    compute.__name__ = function.__name__
    compute.__module__ = function.__module__
    compute.__doc__ = function.__doc__
    compute.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    compute.__annotations__ = {one.name: one.annotation for one in shown}
    return compute


def _no_function(function: Any, job_name: str) -> JobError:
    called = getattr(function, "__name__", type(function).__name__)
    return JobError(
        f"job {job_name!r}: {called} must be an ordinary function with a parameter called file, which gets one file at a "
        "time, or files, which gets a list of them"
    )
