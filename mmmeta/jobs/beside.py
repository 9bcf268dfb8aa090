"""What stands beside a file's metadata where files are written out for other programs: where its document is on this
machine, and how far each job is with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from mmmeta.chunks import in_chunks
from mmmeta.clock import utcnow
from mmmeta.config.model import Config
from mmmeta.documents.local import allowed_path
from mmmeta.documents.source import is_local
from mmmeta.errors import DownloadError, RemoteTemplateError
from mmmeta.files.file import File
from mmmeta.jobs.actions.document import source_of
from mmmeta.layout import Layout
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import merged_of
from mmmeta.state.open import open_ledger

PATH = "__path"
"""Name for the absolute path of the document; no metadata key begins with two underscores."""

JOB = "__job:"
"""What the name for a job's status begins with; the job's name follows."""

AT_ONCE = 500
"""Files that are looked up in the ledger at once."""


class Beside:
    """What is known of the files of one metadir beside their metadata; reads only.

    Args:
        jobs: jobs that have a column also before their first run; those of the ledger come after them.
    """

    def __init__(self, layout: Layout, config: Config, jobs: Iterable[str] = ()) -> None:
        self._layout = layout
        self._config = config
        self._database = StateDatabase(layout.state)
        self._ledger = open_ledger(layout, self._database, utcnow)
        self._given = tuple(jobs)

    @cached_property
    def _known(self) -> list[str]:
        """The jobs of the ledger, which may be out of reach: it is asked only by those who ask for something of it."""
        if merged_of(self._database) is None:
            return []
        with self._ledger.looking() as view:
            return view.jobs()

    @property
    def _jobs(self) -> list[str]:
        return list(dict.fromkeys((*self._given, *self._known)))

    @property
    def columns(self) -> list[str]:
        """The names, that of the path first."""
        return [PATH, *(JOB + job for job in self._jobs)]

    def rows(self, files: Iterable[File]) -> Iterator[tuple[File, dict[str, str | None]]]:
        """Each file with what is beside it, by the names in ``columns``: None for a document that is not here, and for a
        job that does not have the file."""
        for chunk in in_chunks(files, AT_ONCE):
            yield from zip(chunk, self._of(chunk), strict=True)

    def close(self) -> None:
        """Let go of the databases."""
        self._ledger.close()
        self._database.close()

    def _of(self, files: Sequence[File]) -> list[dict[str, str | None]]:
        names = [file.unique_value for file in files]
        statuses: dict[str, dict[str, str]] = {}
        documents: dict[str, str] = {}
        if self._known:
            with self._ledger.looking() as view:
                statuses = {job: view.statuses(job, names) for job in self._known}
                documents = view.documents(names)
        return [
            {PATH: self._path(file, documents)}
            | {JOB + job: statuses.get(job, {}).get(file.unique_value) for job in self._jobs}
            for file in files
        ]

    def _path(self, file: File, documents: dict[str, str]) -> str | None:
        """Where a job has put the document, else where it lies below the files root."""
        if (put := documents.get(file.unique_value)) is not None:
            return put
        try:
            source = source_of(file, self._config, self._layout)
            if not is_local(source):
                return None
            path = allowed_path(source, [self._layout.files_root])
        except (DownloadError, RemoteTemplateError):
            return None
        return str(path) if os.path.isfile(path) else None
