"""The action ``load``: metadata rows, and the documents' content if asked for, into an SQL table, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmmeta.config.model import Config
from mmmeta.errors import JobError, LoadError, MmmetaError, TargetError
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import Action, Done, claim_of, file_failed
from mmmeta.jobs.versions import rules_of, version_name
from mmmeta.layout import Layout
from mmmeta.project.actions import LoadAction
from mmmeta.project.job import JobConfig
from mmmeta.state.ledger.outcomes import Outcome, Place

if TYPE_CHECKING:
    from mmmeta.target.columns import WantedColumns
    from mmmeta.target.target import TargetRow, Written

CONTENT_AT_ONCE = 32_000_000
"""Bytes of documents that are held in memory for one statement; a single larger one is written alone."""

Write = Callable[[Sequence["TargetRow"]], "Written"]


class Load(Action):
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

    def process(self, files: Sequence[File]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for part, sizes in self._parts(files, outcomes):
            outcomes += self._carry_out(self._target.write, part, sizes)
        return outcomes

    def retract(self, files: Sequence[File]) -> list[Outcome]:
        """Remove the files' rows, all of them where each version has its own."""
        outcomes: list[Outcome] = []
        here = []
        away = None
        if self._target.is_missing:  # rows may be with it, and to connect would make an empty one
            away = "the database is not there; bring it back, or make an empty one if it is really gone"
        for file in files:
            elsewhere = self._elsewhere(claim_of(file).place)
            trouble = f"{elsewhere}. Point the job there, or remove it by hand" if elsewhere is not None else away
            if trouble is None:
                here.append(file)
            else:
                error = LoadError(f"{self._target.name}: the row cannot be taken out: {trouble}")
                outcomes.append(file_failed(claim_of(file), error))
        return outcomes + (self._carry_out(self._target.remove, [(file, {}) for file in here], {}) if here else [])

    def place(self, file: File) -> Place:
        return Place(self._target.name, file.unique_value)

    def _elsewhere(self, place: Place | None) -> str | None:
        """That a result is in another table than the job's, in a sentence; None where it is not."""
        if place is None or place.target == self._target.name:
            return None
        return f"it was loaded into {place.target}, and the job loads into {self._target.name} now"

    def missing(self, done: Sequence[Done]) -> dict[str, str] | None:
        from mmmeta.target.present import Sought, missing

        content = self._config.metadata.content
        elsewhere = {file.unique_value: self._elsewhere(place) for file, place in done}
        files = [file for file, _ in done if elsewhere[file.unique_value] is None]
        rules = rules_of(self._job, content)
        version = [version_name(rules, file, file.fingerprint) for file in files]
        sought = [Sought(file.unique_value, name, file.get(content)) for file, name in zip(files, version, strict=True)]
        column = next((name for name, key in self._keys.items() if key == content), content)
        found = missing(self._target, sought, content=column, state_id=self._state_id, job=self._job.name)
        return {**{name: trouble for name, trouble in elsewhere.items() if trouble is not None}, **found}

    def close(self) -> None:
        self._target.close()

    def _parts(
        self, files: Sequence[File], outcomes: list[Outcome]
    ) -> Iterator[tuple[list[tuple[File, dict[str, Any]]], dict[str, int]]]:
        """The batch, cut up where its documents would fill the memory; those that cannot be read are outcomes."""
        part: list[tuple[File, dict[str, Any]]] = []
        sizes: dict[str, int] = {}
        for file in files:
            values = self._values(file)
            if self._content is not None:
                try:
                    document = self._read(file)
                except (MmmetaError, OSError) as error:
                    outcomes.append(file_failed(claim_of(file), error))
                    continue
                values[self._content] = document
                name = file.unique_value
                sizes[name] = len(document if isinstance(document, bytes) else document.encode())
                if len(part) and sum(sizes.values()) > CONTENT_AT_ONCE:
                    yield part, sizes
                    part, sizes = [], {name: sizes[name]}
            part.append((file, values))
        if part:
            yield part, sizes

    def _values(self, file: File) -> dict[str, Any]:
        """Key of a column → value: what the remote sent, or the chosen keys, the client's own among them."""
        if self._wanted.only is None:
            return dict(file.meta)
        return {column: file.get(key) for column, key in self._keys.items()}

    def _read(self, file: File) -> str | bytes:
        from mmmeta.jobs.actions.document import digest_in, read_content, source_of

        assert self._action.content is not None
        return read_content(
            source_of(file, self._config, self._layout),
            self._action.content,
            files_root=self._layout.files_root,
            expected_digest=digest_in(file, self._config),
        )

    def _carry_out(
        self, write: Callable[..., Written], part: Sequence[tuple[File, dict[str, Any]]], sizes: dict[str, int]
    ) -> list[Outcome]:
        from mmmeta.target.target import TargetRow

        rows = []
        for file, values in part:
            rows.append(TargetRow(file.unique_value, values, claim_of(file).stamp))
        try:
            written = write(rows, state_id=self._state_id, job=self._job.name)
        except TargetError:
            raise  # no file is to blame: the run ends, and nobody's attempts are used up
        except MmmetaError as error:
            return [file_failed(claim_of(file), error) for file, _ in part]
        outcomes = []
        for file, _ in part:
            name, claim = file.unique_value, claim_of(file)
            if name in written.failed:
                message = f"{self._target.name}: {written.failed[name]}"
                outcomes.append(Outcome(claim, "LoadError", message))
            elif name in written.refused:
                message = "another worker has taken this file over since"
                ahead = claim.ahead(written.receipts[name])
                outcomes.append(Outcome(claim, "LoadError", message, place=self.place(file), ahead=ahead))
            else:
                outcomes.append(Outcome(claim, bytes=sizes.get(name), place=self.place(file)))
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
