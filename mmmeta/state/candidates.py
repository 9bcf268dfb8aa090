"""What a job's selection means, read from the files; the ledger is told of it, and reads no files itself.

A candidate is a file with the version of it that counts for the job. Which files are read depends on what may have become
different: all that the selection means, those that changed since a state revision, those that time alone has brought into a
selection such as "the last 7 days", or some by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.catalog.compiler import Compiler
from mmmeta.catalog.indexes import make_missing
from mmmeta.chunks import PER_STATEMENT, in_chunks
from mmmeta.filters import All, Compare, Condition, Not, kinds_in_words, kinds_taken, walk
from mmmeta.state.database import StateDatabase
from mmmeta.state.file_teller import FileTeller
from mmmeta.state.ledger.outcomes import Candidate
from mmmeta.state.ledger.rules import METADATA, NEVER, JobRules

_log = logging.getLogger(__name__)

SIZE_KEYS = ("size", "file_size", "_file_size", "content_length", "headers:content-length")
"""Where metadata tells how many bytes a document has; the first that a file has counts."""

NAMED = 3
"""Files of one mismatch that are named; all are counted."""


class Candidates:
    """The files of a state db as one job sees them.

    Every method reads a connection of its own, so what another transaction has not committed does not show.

    Args:
        teller: tells what is in the files, too, as of one moment with what is read here.
    """

    def __init__(
        self, database: StateDatabase, catalog: Catalog, rules: JobRules, teller: FileTeller | None = None
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._rules = rules
        self.teller = teller

    def under(self, rules: JobRules) -> Candidates:
        """The same files as other rules see them."""
        return Candidates(self._database, self._catalog, rules, self.teller)

    def everything(self) -> Iterator[Candidate]:
        """All files that the selection means, in the order in which they were first published."""
        where, parameters = self._catalog.where(self._rules.condition)
        return self._read("1", [], f"files WHERE {where}", parameters)

    def since(self, revision: int) -> Iterator[Candidate]:
        """All files that changed after a state revision, meant or not."""
        meant, parameters = self._meant()
        # SQLite would rather take an index over a key that the job selects on, and look at all files that it means.
        return self._read(meant, parameters, "files INDEXED BY files_state_rev WHERE files.__state_rev > ?", [revision])

    def entered(self, then: datetime) -> Iterator[Candidate]:
        """The files that the selection means now and did not mean at an earlier moment (aware UTC), by time alone."""
        where, parameters = self._catalog.where(self._rules.condition)
        catalog = self._catalog
        before = Compiler(catalog.owners, catalog.system, then).compile(self._rules.condition)
        source = f"files WHERE {where} AND NOT ifnull(({before.sql}), 0)"
        return self._read("1", [], source, [*parameters, *before.parameters])

    def named(self, names: Sequence[str]) -> Iterator[Candidate]:
        """These files, meant or not; what there is none of comes as deleted."""
        meant, parameters = self._meant()
        for chunk in in_chunks(names, PER_STATEMENT):
            marks = ", ".join("?" * len(chunk))
            source = f"files INDEXED BY sqlite_autoindex_files_1 WHERE {self._catalog.unique_sql} IN ({marks})"
            found = {candidate.file: candidate for candidate in self._read(meant, parameters, source, chunk)}
            for name in chunk:
                yield found.get(name) or Candidate(name, None, "", None, None, True, False)

    def index(self) -> tuple[str, ...]:
        """Make the indexes that the selection is in need of; the keys that got one."""
        rules = self._rules
        if not rules.index:
            return ()
        with self._database.atomic() as connection:
            made = make_missing(connection, self._catalog, rules.condition)
        if made:
            _log.info("job %s: made an index over %s", rules.name, ", ".join(made))
        return made

    def _meant(self) -> tuple[str, list[object]]:
        where, parameters = self._catalog.where(self._rules.condition)
        return f"CASE WHEN {where} THEN 1 ELSE 0 END", parameters

    def _read(
        self, meant: str, meant_parameters: Sequence[object], source: str, parameters: Sequence[object]
    ) -> Iterator[Candidate]:
        content = f"CAST({self._catalog.compiler.value(self._rules.content_key)} AS TEXT)"
        sql = (
            f"SELECT {self._catalog.unique_sql}, {self._priority}, {self._version}, {content}, files.__rev, "
            f"files.__deleted, {meant}, {self._once} FROM {source}"
        )
        with self._database.reading() if self.teller is None else nullcontext(self.teller.connection) as connection:
            yield from map(Candidate._make, connection.execute(sql, (*meant_parameters, *parameters)))

    @property
    def _version(self) -> str:
        """What ``rerun_on`` compares, as SQL over ``files``."""
        rules = self._rules
        metadata = "hex(files.__fingerprint)"
        if rules.rerun_on == METADATA:
            return metadata
        if rules.rerun_on == NEVER:
            return "''"
        compiler = self._catalog.compiler
        version = (
            f"json_array({', '.join(f'{compiler.value(key)}, {compiler.kind(key)}' for key in rules.version_keys)})"
        )
        if not rules.falls_back:
            return version
        return f"CASE WHEN {compiler.value(rules.content_key)} IS NULL THEN {metadata} ELSE {version} END"

    @property
    def _once(self) -> str:
        """What ``once_per`` compares, by kind and value, as SQL over ``files``; an empty text is no value."""
        key = self._rules.once_per
        if key is None:
            return "NULL"
        value, kind = self._catalog.compiler.value(key), self._catalog.compiler.kind(key)
        return f"CASE WHEN {value} IS NULL OR {value} = '' THEN NULL ELSE json_array({value}, {kind}) END"

    @property
    def _priority(self) -> str:
        """What ``order_by`` compares, as SQL over ``files``; without it the files come as they were first published.

        That is also how the rows of the ledger lie, so a batch is a few pages of it and not one for each file.
        """
        order_by = self._rules.order_by
        return "files.rowid" if order_by is None else self._catalog.compiler.value(order_by.removeprefix("-"))


def told_size(get: Callable[[str], object]) -> int:
    """The bytes of a file's document as its metadata tells them, 0 where it does not; ``get`` gives a key's value.

    As ``Catalog.total`` adds them up.
    """
    value = next((value for key in SIZE_KEYS if (value := get(key)) is not None), None)
    try:
        return max(int(value), 0) if isinstance(value, int | float | str) else 0
    except (ValueError, OverflowError):
        return 0


def lacking_keys(catalog: Catalog, condition: Condition) -> dict[str, int]:
    """Key → how many files a condition does not mean and do not have it, for the keys that it asks for; those that all
    files have are left out, and so are those compared with true and false, for which absent counts as false."""
    keys = {
        comparison.key
        for comparison in walk(condition)
        if comparison.value is not None and not isinstance(comparison.value, bool)
    }
    counts = {key: catalog.count(All((Compare(key, "=", None), Not(condition)))) for key in sorted(keys)}
    return {key: count for key, count in counts.items() if count}


@dataclass(frozen=True)
class Mismatch:
    """Files that a selection does not mean and that have under a key what one of its comparisons can never be true of.

    Attributes:
        what: in words: ``is no date``.
        files: how many.
        such_as: unique value → what the file has, of the first few.
    """

    key: str
    what: str
    files: int
    such_as: dict[str, Any]


def mismatches(catalog: Catalog, condition: Condition) -> tuple[Mismatch, ...]:
    """What a condition cannot be compared with, by key and kind of value."""
    asked = {(comparison.key, kinds_taken(comparison)): comparison for comparison in walk(condition)}
    found = []
    for (key, kinds), comparison in asked.items():
        files, such_as = catalog.mismatched(comparison, condition, NAMED)
        if files:
            found.append(Mismatch(key, kinds_in_words(kinds), files, such_as))
    return tuple(found)
