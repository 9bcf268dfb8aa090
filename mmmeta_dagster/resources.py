"""The metadir as a Dagster resource, for the assets that ship here and for one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from mmmeta import JobConfig, Metadir
from mmmeta.layout import METADIR, is_shared
from mmmeta.project import MetadirConfig


class MetadirResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens a metadir, in the assets that ship here and in one's own: `with archive_metadir.open() as m: ...`"""

    path: str = Field(description="Base path of the archive: the folder that holds _mmmeta.")
    files_root: str | None = Field(
        default=None,
        description="Folder with the metadata files and documents (at a server). The base path unless given.",
    )
    state: str | None = Field(
        default=None, description="Where the state db lies, at a client. _mmmeta/local/state.db unless given."
    )
    server: bool = Field(
        default=False, description="Write metadata here, also where the metadir looks like a client's copy."
    )

    @contextmanager
    def open(
        self, *, name: str = "mmmeta", jobs: Mapping[str, JobConfig] | None = None, worker: bool = False
    ) -> Iterator[Metadir]:
        """The metadir, closed at the end of the block. Creates nothing by being opened.

        What is not given has the defaults above; ``MMMETA_FILES_ROOT`` and ``MMMETA_STATE`` are not read (use
        ``EnvVar`` for that).

        Example:
            >>> @dg.asset
            ... def number_of_contracts(archive_metadir: MetadirResource) -> int:
            ...     with archive_metadir.open() as m:
            ...         return m.files.count(document_type="contract")

        Args:
            name: of the metadir in the project file.
            jobs: the project file's jobs, to be had as ``m.job(name)``.
            worker: where machines share the state, have no files here: see ``Metadir``.

        Raises:
            StateDbError: ``state`` is a URL of a database that cannot keep it.
        """
        base = os.path.abspath(os.path.expanduser(self.path))
        state = self._state() or os.path.join(base, METADIR, "local", "state.db")
        root = self.files_root or base
        with Metadir(base, root, state=state, server=self.server, worker=worker, name=name, jobs=jobs) as metadir:
            yield metadir

    def _state(self) -> str | None:
        return self.state


def resource_of(metadir: MetadirConfig) -> MetadirResource:
    """The resource of a metadir of the project file.

    Dagster shows what a resource is configured with, and the URL of a state that machines share may hold a password: it is
    not in the configuration.
    """
    url = metadir.state if is_shared(metadir.state) else None

    class SharedMetadirResource(MetadirResource):
        __doc__ = MetadirResource.__doc__

        def _state(self) -> str | None:
            return url

    kind = MetadirResource if url is None else SharedMetadirResource
    return kind(
        path=str(metadir.path),
        files_root=None if metadir.files_root is None else str(metadir.files_root),
        state=None if url is not None else metadir.state,
        server=metadir.generate,
    )
