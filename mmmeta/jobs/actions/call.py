"""The action ``call``: a Python function."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mmmeta.errors import JobError, near_misses
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import Action, claim_of, file_failed, undone_here
from mmmeta.jobs.actions.caught import Caught, end_process, ends_the_run
from mmmeta.state.ledger.outcomes import Outcome


class CallFunction(Action):
    """Calls a function with each file, or with the list of a batch's files; what it raises is the files' failure.

    What it returns is nobody's business, except a coroutine or a generator: then nothing was done yet, and that is a
    failure. ``sys.exit()`` in it ends neither the run nor the other files, and nor does a cancelled task; what the handler
    of a signal raises, and Ctrl-C, do end the run. A child that the function forks ends where the function does.

    Raises:
        JobError: it is no function of one argument, or a coroutine or generator function, which a call does not run.
    """

    keeps_time = False

    def __init__(self, function: Callable[[Any], object], *, batched: bool) -> None:
        self.batched = batched
        self._function = function
        if not callable(function):
            raise JobError(
                f"{function!r} is no function: give one that takes {'a list of files' if batched else 'a file'}"
            )
        kind = _unfit(function)
        if kind is not None:
            name = getattr(function, "__qualname__", repr(function))
            raise JobError(
                f"{name} is {kind} function: a call of it does nothing yet. Give a plain function, such as one that "
                f"{'ends with asyncio.run(…)' if kind.startswith('an') else 'goes through it'}"
            )
        reason = _wrong_arguments(function)
        if reason is not None:
            name = getattr(function, "__qualname__", repr(function))
            raise JobError(
                f"{name} cannot be called with one argument, {'the list of files' if batched else 'the file'}: {reason}"
            )

    def process(self, files: Sequence[File]) -> list[Outcome]:
        process = os.getpid()
        with Caught(lambda error: os.getpid() == process and ends_the_run(error)) as caught:
            if self.batched:
                self._call(list(files))
            else:
                for file in files:
                    self._call(file)
        error = caught.error
        if os.getpid() != process:
            end_process(error)
        if isinstance(error, SystemExit):
            message = f"the function ended with sys.exit({error.code!r})"
            error = RuntimeError(message).with_traceback(error.__traceback__)
        if error is not None:
            return [file_failed(claim_of(file), error) for file in files]
        return [Outcome(claim_of(file)) for file in files]

    def _call(self, files: File | list[File]) -> None:
        result = self._function(files)
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError("the function returned a coroutine, which nobody awaits: nothing was done")
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise TypeError("the function returned a generator, which nobody goes through: nothing was done")

    def retract(self, files: Sequence[File]) -> list[Outcome]:
        return undone_here(self.process(files))


def _unfit(function: Callable[[Any], object]) -> str | None:
    """What a function is that does nothing when it is called."""
    for one in (function, getattr(function, "__call__", None)):  # noqa: B004, an object may have an async one
        if inspect.iscoroutinefunction(one):
            return "an async"
        if inspect.isasyncgenfunction(one):
            return "an async generator"
        if inspect.isgeneratorfunction(one):
            return "a generator"
    return None


def _wrong_arguments(function: Callable[[Any], object]) -> str | None:
    """Why a function does not take exactly one argument; None where it does, or says nothing of what it takes."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C
        return None
    try:
        signature.bind(None)
    except TypeError as error:
        return str(error)
    return None


def import_function(name: str, job: str, beside: str | None = None) -> Callable[[Any], object]:
    """Import ``package.module:function``.

    Args:
        beside: a folder in which the module may stand as well, whoever runs the job: that of the project file.

    Raises:
        JobError: module or function is not there; the message names the near misses.
    """
    module_name, _, attribute = name.partition(":")
    if beside is not None and beside not in sys.path:
        sys.path.append(beside)  # last, so that it hides nothing installed
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise JobError(f"job {job!r}: {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    function = module
    for part in attribute.split("."):
        function = getattr(function, part, None)  # type: ignore[assignment]
    if function is not None and not callable(function):
        raise JobError(f"job {job!r}: {attribute!r} in {module_name!r} is no function but {type(function).__name__}")
    if function is None:
        raise JobError(
            f"job {job!r}: {module_name!r} has no function {attribute!r}.{near_misses(attribute, dir(module))}"
        )
    return function
