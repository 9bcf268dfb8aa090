"""What jobs do with files: download documents, load metadata into an SQL table, call a function.

An action gets claimed files and says of each how it ended; it never touches the ledger. One bad file is one failed
outcome, the others go on.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mmmeta.config import Config
from mmmeta.errors import JobError, MmmetaError, near_misses
from mmmeta.file import File
from mmmeta.layout import Layout
from mmmeta.ledger import ERROR_LINES, Claim, Outcome
from mmmeta.project_models import CallAction, DownloadAction, JobConfig, LoadAction


@dataclass(frozen=True)
class Item:
    """One claimed file."""

    file: File
    claim: Claim


class Action(Protocol):
    """Works on claimed files.

    Attributes:
        batched: whether ``process`` wants all files at once; otherwise it gets one at a time, from several threads
            where the job has workers.
        keeps_time: whether it ends by itself when the job's ``timeout`` is over.
    """

    batched: bool
    keeps_time: bool

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        """Undo what ``process`` did with files that were deleted since."""

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        """Work on files and say of each how it ended; raises nothing for a file's own failure."""

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        """Which of these files are not, in their present version, where the action puts them: unique value → why, in
        words that follow "but". None where that cannot be known."""

    def close(self) -> None:
        """Let go of connections."""


class CallFunction:
    """Calls a function with each file, or with the list of a batch's files; what it raises is the files' failure."""

    keeps_time = False

    def __init__(self, function: Callable[[Any], object], *, batched: bool) -> None:
        self.batched = batched
        self._function = function

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        try:
            if self.batched:
                self._function([item.file for item in items])
            else:
                for item in items:
                    self._function(item.file)
        except Exception as error:
            return [failed(item.claim, error) for item in items]
        return [Outcome(item.claim) for item in items]

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        return self.process(items)

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        return None

    def close(self) -> None:
        """Nothing to let go of."""


class Download:
    """Fetches documents into a folder; checked against the content digest where that is a known one."""

    batched = False
    keeps_time = True

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        raise NotImplementedError

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        raise NotImplementedError

    def __init__(self, action: DownloadAction, config: Config, layout: Layout) -> None:
        self._root = Path(action.to)
        self._name = action.name
        self._config = config
        self._layout = layout

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        return [self._download(item) for item in items]

    def _download(self, item: Item) -> Outcome:
        from mmmeta.remote import render_name
        from mmmeta.transfer import document_source, download_into

        file = item.file
        try:
            file_name = file.get(self._config.metadata.file_name)
            source = document_source(
                file.get,
                remote_url=file.remote.url if "url" in self._config.remote else None,
                file_name=file_name if isinstance(file_name, str) else None,
                source=file.source,
                files_root=self._layout.files_root,
            )
            result = download_into(
                self._root,
                render_name(self._name, file.get),
                source,
                allowed_roots=[self._layout.files_root],
                expected_digest=file.get(self._config.metadata.content),
            )
        except (MmmetaError, OSError) as error:
            return failed(item.claim, error)
        return Outcome(item.claim, bytes=result.bytes)

    def close(self) -> None:
        """Nothing to let go of."""


class Load:
    """Writes metadata rows into an SQL table with receipts in the same transaction: exactly once."""

    batched = True
    keeps_time = True

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        raise NotImplementedError

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        raise NotImplementedError

    def __init__(self, action: LoadAction, config: Config, job: str, state_id: str) -> None:
        from mmmeta.load import SqlTarget

        self._target = SqlTarget(action.to, action.table, config.metadata.unique)
        self._job = job
        self._state_id = state_id

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        from mmmeta.load import Row

        rows = [Row(item.file.unique_value, dict(item.file.meta), item.claim.token) for item in items]
        try:
            written = self._target.write(rows, state_id=self._state_id, job=self._job)
        except MmmetaError as error:
            return [failed(item.claim, error) for item in items]
        outcomes = []
        for item in items:
            name = item.file.unique_value
            if name in written.failed:
                outcomes.append(Outcome(item.claim, "LoadError", str(written.failed[name])))
            elif name in written.refused:
                outcomes.append(Outcome(item.claim, "LoadError", "another worker has taken this file over since"))
            else:
                outcomes.append(Outcome(item.claim))
        return outcomes

    def close(self) -> None:
        self._target.close()


def failed(claim: Claim, error: Exception) -> Outcome:
    """The outcome of a file whose processing raised: type, message and the last lines of the traceback."""
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return Outcome(claim, type(error).__name__, str(error) or repr(error), lines[-ERROR_LINES:])


def make_action(job: JobConfig, config: Config, layout: Layout, state_id: str) -> Action:
    """The action that a job's definition names.

    Raises:
        JobError: it names none, or a function that cannot be imported.
    """
    action = job.action
    if isinstance(action, DownloadAction):
        return Download(action, config, layout)
    if isinstance(action, LoadAction):
        return Load(action, config, job.name, state_id)
    if isinstance(action, CallAction):
        return CallFunction(import_function(action.function, job.name), batched=action.batch)
    raise JobError(f"job {job.name!r} has no action; give it download, load or call, or pass a function to run()")


def import_function(name: str, job: str) -> Callable[[Any], object]:
    """Import ``package.module:function``.

    Raises:
        JobError: module or function is not there; the message names the near misses.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise JobError(f"job {job!r}: {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    function = module
    for part in attribute.split("."):
        function = getattr(function, part, None)  # type: ignore[assignment]
    if not callable(function):
        raise JobError(
            f"job {job!r}: {module_name!r} has no function {attribute!r}.{near_misses(attribute, dir(module))}"
        )
    return function
