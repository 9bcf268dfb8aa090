"""The function under ``@mmmeta_asset``: what it may look like, and the Dagster step that calls it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

import dagster as dg

from mmmeta import File
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

STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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
    if not inspect.isfunction(function) or any(
        test(function)
        for test in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        raise _no_function(function, job_name)
    parameters = inspect.signature(function).parameters
    takes = [name for name in parameters if name in (ONE, MANY)]
    if len(takes) != 1:
        raise _no_function(function, job_name)
    (work,) = takes
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise JobError(
                f"job {job_name!r}: {name} of {function.__name__} is given by name: leave out the / after it"
            )
        if parameter.kind in STARRED and name in (work, CONTEXT, CONFIG):
            raise JobError(
                f"job {job_name!r}: {name} of {function.__name__} is given by name, and once: leave out the star before it"
            )
    hints = _hints(function, job_name)
    _check_work(function, work, hints.get(work), job_name)
    filled: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.kind in STARRED or name in (work, CONTEXT):
            continue
        if name == CONFIG:
            filled[name] = _config_class(function, parameter, hints.get(name, JobOptions), job_name)
        elif _is_resource(function, name, hints.get(name, Any)):
            filled[name] = hints[name]
        elif parameter.default is inspect.Parameter.empty:
            raise JobError(
                f"job {job_name!r}: nobody can give {function.__name__} its parameter {name!r}, which is no resource. "
                f"Beside {work} it takes context, config and resources by their annotation "
                "(a ConfigurableResource, dg.ResourceParam[...]); a value belongs in the config, or needs a default"
            )
    given = [work, *filled, *([CONTEXT] if CONTEXT in parameters else [])]
    try:
        # A decorator in between may take less than the function that it shows.
        inspect.signature(function, follow_wrapped=False).bind(**dict.fromkeys(given))
    except TypeError as error:
        raise JobError(
            f"job {job_name!r}: {function.__name__} cannot be called with {', '.join(given)}: {error}. Let what "
            "decorates it hand on *args and **kwargs"
        ) from None
    return Parameters(work, CONTEXT in parameters, filled)


def _hints(function: Any, job_name: str) -> Mapping[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)  # dg.ResourceParam is one of the extras
    # A name or an attribute that is not there, no type, no Python.
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise JobError(
            f"job {job_name!r}: an annotation of {function.__name__} cannot be read: {error}. Dagster needs it when the "
            "module is loaded, so import it outside of `if TYPE_CHECKING:`"
        ) from None


def _check_work(function: Any, work: str, hint: Any, job_name: str) -> None:
    """Raise JobError where the annotation of the file says that it is a list, or that of the files that it is one."""
    origin = get_origin(hint)
    a_list = isinstance(origin, type) and issubclass(origin, Iterable) and File in get_args(hint)
    if work == ONE and a_list:
        raise JobError(
            f"job {job_name!r}: file of {function.__name__} gets one file at a time; call it files for a list"
        )
    if work == MANY and hint is File:
        raise JobError(f"job {job_name!r}: files of {function.__name__} gets a list of files; call it file for one")


def _config_class(function: Any, parameter: inspect.Parameter, hint: Any, job_name: str) -> type[dg.Config]:
    """The class of the config, which every run can make: nobody gives one to those of a sensor, a schedule, a condition.

    Raises:
        JobError: it is none of Dagster's configs, or a run could not make one.
    """
    whose = f"job {job_name!r}: config of {function.__name__}"
    if not (isinstance(hint, type) and issubclass(hint, dg.Config)):
        raise JobError(
            f"{whose} is annotated with {_shown(hint)}, and must be a subclass of JobOptions or dg.Config: a class with a "
            "field, and its default, for each value"
        )
    if parameter.default is not inspect.Parameter.empty:
        raise JobError(f"{whose} has a default, which no run would get: write it to the fields of {hint.__name__}")
    try:
        schema = _step_of(function, {CONFIG: hint}).config_schema.as_field()
    # Dagster raises errors of many types for fields that it does not take.
    except Exception as error:
        raise JobError(f"{whose} is a {hint.__name__} that Dagster refuses: {' '.join(str(error).split())}") from None
    if schema is not None and schema.is_required:
        needed = ", ".join(name for name, field in hint.model_fields.items() if field.is_required())
        raise JobError(
            f"{whose}: {hint.__name__} needs a value for {needed}, and nobody gives one to the runs of a sensor, a schedule "
            "or a condition: give it a default, which the Launchpad can replace"
        )
    return hint


def _is_resource(function: Any, name: str, hint: Any) -> bool:
    """Whether Dagster fills a parameter. What is no resource it takes for the output of an op before this one."""
    try:
        return name not in _step_of(function, {name: hint}).ins
    # Dagster raises errors of many types for annotations that it does not take.
    except Exception:
        return False


def _step_of(function: Any, asked: Mapping[str, Any]) -> dg.OpDefinition:
    """Dagster's reading of some parameters."""
    return dg.op(name="parameters")(_shaped(function, lambda context, **filled: None, asked))


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


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

        def call(work: Any) -> object:
            nonlocal told
            result = function(**given, **{parameters.work: work})
            if isinstance(result, (dg.MaterializeResult, dg.Output)) and not told:
                told = True
                context.log.warning(
                    f"What {function.__name__} returns is ignored, for an asset is materialized once and not for each file. "
                    "Metadata of its own it adds with context.add_output_metadata."
                )
            return result  # a coroutine or a generator is the file's failure: nothing was done yet

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
        f"job {job_name!r}: {called} must be an ordinary function, no async one and no generator, with a parameter called "
        "file, which gets one file at a time, or files, which gets a list of them"
    )
