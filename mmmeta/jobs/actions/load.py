"""The action ``load``: metadata rows, and the documents' content if asked for, into an SQL table, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmmeta.config.model import Config
from mmmeta.errors import JobError, MmmetaError, TargetError
from mmmeta.files.claim import FileClaim, version_of
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import Item, failed
from mmmeta.layout import Layout
from mmmeta.project.actions import LoadAction
from mmmeta.project.job import JobConfig
from mmmeta.state.ledger.sqlite import Outcome

if TYPE_CHECKING:
    from mmmeta.target.columns import WantedColumns
    from mmmeta.target.target import TargetRow, Written

CONTENT_AT_ONCE = 32_000_000
"""Bytes of documents that are held in memory for one statement; a single larger one is written alone."""

Write = Callable[[Sequence["TargetRow"]], "Written"]


class Load:
    """Writes rows into an SQL table with receipts in the same transaction: exactly once."""

    batched = True
    keeps_time = True

    def __init__(self, action: LoadAction, config: Config, layout: Layout, job: JobConfig, state_id: str) -> None:
        from mmmeta.target.target import SqlTarget

        self._action = action
        self._config = config
        self._layout = layout
        self._job = job
        self._state_id = state_id
        self._wanted, self._keys, self._content = _wanted(action, config.metadata.unique, job.name)
        self._target = SqlTarget(action.to, action.table, self._wanted)

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for part, sizes in self._parts(items, outcomes):
            outcomes += self._carry_out(self._target.write, part, sizes)
        return outcomes

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        """Remove the files' rows, all of them where each version has its own."""
        return self._carry_out(self._target.remove, [(item, {}) for item in items], {})

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        from mmmeta.target.present import Sought, missing

        content = self._config.metadata.content
        version = [version_of(self._job.rerun_on, content, file, file.fingerprint) for file in files]
        sought = [Sought(file.unique_value, name, file.get(content)) for file, name in zip(files, version, strict=True)]
        column = next((name for name, key in self._keys.items() if key == content), content)
        return missing(self._target, sought, content=column, state_id=self._state_id, job=self._job.name)

    def close(self) -> None:
        self._target.close()

    def _parts(
        self, items: Sequence[Item], outcomes: list[Outcome]
    ) -> Iterator[tuple[list[tuple[Item, dict[str, Any]]], dict[str, int]]]:
        """The batch, cut up where its documents would fill the memory; those that cannot be read are outcomes."""
        part: list[tuple[Item, dict[str, Any]]] = []
        sizes: dict[str, int] = {}
        for item in items:
            values = self._values(item.file)
            if self._content is not None:
                try:
                    document = self._read(item.file)
                except (MmmetaError, OSError) as error:
                    outcomes.append(failed(item.claim, error))
                    continue
                values[self._content] = document
                sizes[item.claim.file] = len(document if isinstance(document, bytes) else document.encode())
                if len(part) and sum(sizes.values()) > CONTENT_AT_ONCE:
                    yield part, sizes
                    part, sizes = [], {item.claim.file: sizes[item.claim.file]}
            part.append((item, values))
        if part:
            yield part, sizes

    def _values(self, file: File) -> dict[str, Any]:
        """Key of a column → value: what the remote sent, or the chosen keys, the client's own among them."""
        if self._wanted.only is None:
            return dict(file.meta)
        return {column: file.get(key) for column, key in self._keys.items()}

    def _read(self, file: File) -> str | bytes:
        from mmmeta.documents.source import document_source
        from mmmeta.jobs.actions.document import read_content

        assert self._action.content is not None
        name = file.get(self._config.metadata.file_name)
        source = document_source(
            file.get,
            remote_url=file.remote.url if "url" in self._config.remote else None,
            file_name=name if isinstance(name, str) else None,
            source=file.source,
            files_root=self._layout.files_root,
        )
        return read_content(
            source,
            self._action.content,
            files_root=self._layout.files_root,
            expected_digest=file.get(self._config.metadata.content),
        )

    def _carry_out(
        self, write: Callable[..., Written], part: Sequence[tuple[Item, dict[str, Any]]], sizes: dict[str, int]
    ) -> list[Outcome]:
        from mmmeta.target.target import TargetRow

        rows = []
        for item, values in part:
            claim = item.file.claim
            assert isinstance(claim, FileClaim)
            rows.append(TargetRow(item.file.unique_value, values, claim.stamp))
        try:
            written = write(rows, state_id=self._state_id, job=self._job.name)
        except TargetError:
            raise  # no file is to blame: the run ends, and nobody's attempts are used up
        except MmmetaError as error:
            return [failed(item.claim, error) for item, _ in part]
        outcomes = []
        for item, _ in part:
            name = item.file.unique_value
            if name in written.failed:
                message = f"{self._target.url}, table {self._target.table!r}: {written.failed[name]}"
                outcomes.append(Outcome(item.claim, "LoadError", message))
            elif name in written.refused:
                outcomes.append(Outcome(item.claim, "LoadError", "another worker has taken this file over since"))
            else:
                outcomes.append(Outcome(item.claim, bytes=sizes.get(item.claim.file)))
        return outcomes


def _wanted(action: LoadAction, unique: str, job: str) -> tuple[WantedColumns, dict[str, str], str | None]:
    """Which columns the job writes; key of a column → metadata key, where they were chosen; key of the content's.

    Raises:
        JobError: what was chosen does not go together with the unique key, which always has a column.
    """
    from mmmeta.target.columns import WantedColumns, own_key

    keys: dict[str, str] = {}
    names: dict[str, str] = {}
    unique_column = unique
    for column, key in (action.columns or {}).items():
        own = column if column == key else own_key(column, key)
        if key == unique and unique not in keys.values():
            unique_column = own
        keys[own], names[own] = key, column
    if action.columns is not None:
        taken = {column.lower(): key for column, key in action.columns.items()}
        if unique not in keys.values() and taken.get(unique.lower()) is not None:
            raise JobError(
                f"job {job!r}: load.columns: the column {unique!r} would hold {taken[unique.lower()]!r} and the unique key "
                f"{unique!r}, which always has a column. Give one of them another name"
            )
        keys = {unique_column: unique, **keys}
    kinds: dict[str, str] = {}
    content = None
    if action.content is not None:
        content = own_key(action.content.column, "")
        if action.content.column.lower() == names.get(unique_column, unique_column).lower():
            raise JobError(f"job {job!r}: load.content.column: {action.content.column!r} is the unique key's column")
        names[content] = action.content.column
        kinds[content] = action.content.as_
    only = None if action.columns is None else (*keys, *([content] if content is not None else []))
    return WantedColumns(unique_column, action.mode == "append", names, kinds, only), keys, content
