"""What must hold when workers that were killed and cut off have come to the end of the work.

It is judged by what plain SQL and plain reads have found (``facts``), not by mmmeta.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from publisher import JOBS, title

NAMED = 5
"""Of many that are wrong alike."""


@dataclass
class Facts:
    """What was found.

    Attributes:
        truth: file → version, of what there is.
        known: file → its last version; versions of a file are 1, 2, 3 …
        hurt: processes that were killed, or a connection of which was cut.
        rows: of the table with a row for each file: id, version, title.
        versions: of the table with a row for each version: id, version.
        effects: each write to these tables in the order in which it took effect: table, id, version (None for a row that
            went), process.
        calls: of the function: process, id, version.
        ledger: job, file, status.
        counts: job, status, files: as the ledger keeps them beside.
        done: job, file, attempts that ended as done, their tokens that differ.
        receipts: job, file.
        sessions: of mmmeta, at the server.
        disk: what is on the workers' disk.
    """

    truth: dict[str, int]
    known: dict[str, int]
    hurt: set[str]
    rows: list[tuple[str, int, str]] = field(default_factory=list)
    versions: list[tuple[str, int]] = field(default_factory=list)
    effects: list[tuple[str, str, int | None, str]] = field(default_factory=list)
    calls: list[tuple[str, str, int]] = field(default_factory=list)
    ledger: list[tuple[str, str, str]] = field(default_factory=list)
    counts: list[tuple[str, str, int]] = field(default_factory=list)
    done: list[tuple[str, str, int, int]] = field(default_factory=list)
    receipts: list[tuple[str, str]] = field(default_factory=list)
    sessions: int = 0
    disk: list[str] = field(default_factory=list)


def wrong(facts: Facts) -> Iterator[str]:
    """All of it, in sentences."""
    yield from _rows(facts)
    yield from _versions(facts)
    yield from _effects(facts)
    yield from _calls(facts)
    yield from _ledger(facts)
    yield from _history(facts)
    if facts.sessions:
        yield f"{facts.sessions} sessions of mmmeta are left at the server"
    if facts.disk != ["mmmeta.yaml"]:
        yield f"the workers' disk has {facts.disk}"


def calls_again(facts: Facts) -> int:
    """How often the function was called for what it had been called for already."""
    return len(facts.calls) - len({call[1:] for call in facts.calls})


def _rows(facts: Facts) -> Iterator[str]:
    """One row for each file that there is, and it is that of its last version."""
    found = [name for name, _, _ in facts.rows]
    yield from _some("rows: twice", _twice(found))
    yield from _unequal("rows", {name: version for name, version, _ in facts.rows}, facts.truth)
    gone = set(found) - facts.truth.keys()
    yield from _some("rows: not there any more, and has a row", gone)
    yield from _some("rows: not whole", {name for name, version, text in facts.rows if text != title(name, version)})


def _versions(facts: Facts) -> Iterator[str]:
    """No version has two rows, the last one has one, and each was published."""
    yield from _some("versions: twice", _twice(facts.versions))
    yield from _unequal("versions", _last(facts.versions), facts.truth)
    yield from _some(
        "versions: never published",
        {(name, version) for name, version in facts.versions if not 1 <= version <= facts.known.get(name, 0)},
    )


def _effects(facts: Facts) -> Iterator[str]:
    """Never an older version after a newer. A row for a version is added once. What a row has already is written once more
    only where who wrote it was hurt: nobody else can know that it had done so."""
    last: dict[tuple[str, str], tuple[int, str]] = {}
    gone: set[tuple[str, str]] = set()
    older, again, removed = set(), set(), set()
    for table, name, version, who in facts.effects:
        if version is None:
            gone.add((table, name))
            removed |= {name} if table != "rows" else set()
            continue
        before, writer = last.get((table, name), (0, ""))
        if version < before:
            older.add((table, name, version, before))
        elif version == before and (table != "rows" or ((table, name) not in gone and writer not in facts.hurt)):
            again.add((table, name, version, writer, who))
        last[table, name] = version, who
        gone.discard((table, name))
    yield from _some("an older version after a newer", older)
    yield from _some("written again, though who wrote it was not hurt", again)
    yield from _some("versions: removed", removed)


def _calls(facts: Facts) -> Iterator[str]:
    """Each last version was called, and a version again only where each one before was called by one who was hurt."""
    yield from _unequal("calls", _last(call[1:] for call in facts.calls), facts.truth)
    by: dict[tuple[str, int], list[str]] = defaultdict(list)
    for who, *call in facts.calls:
        by[call[0], call[1]].append(who)
    again = {
        (*call, *sorted(who)) for call, who in by.items() if len([one for one in who if one not in facts.hurt]) > 1
    }
    yield from _some("called again, though nobody was hurt", again)


def _ledger(facts: Facts) -> Iterator[str]:
    """All is done, nothing is in anybody's hands, and the counts are those of the rows."""
    counted = Counter((job, status) for job, _, status in facts.ledger)
    for (job, status), count in sorted(counted.items()):
        if status not in ("done", "skipped"):
            yield f"{job}: {count:,} files are {status}"
    done: dict[str, set[str]] = {job: set() for job in JOBS}
    for job, name, status in facts.ledger:
        if status == "done":
            done[job].add(name)
    for job, names in done.items():
        yield from _some(f"{job}: there, and not done in the ledger", facts.truth.keys() - names)
    yield from _some("rows: gone, and done in the ledger", done["rows"] - facts.truth.keys())
    kept = {(job, status): files for job, status, files in facts.counts if files}
    if kept != dict(counted):
        yield f"the ledger's counts say {kept}, its rows {dict(counted)}"


def _history(facts: Facts) -> Iterator[str]:
    """No claim ended twice as done, none was done more often than there were versions; the target's receipts are those of
    the rows."""
    yield from _some("done twice under one token", {one[:2] for one in facts.done if one[2] != one[3]})
    often = {one[:3] for one in facts.done if one[0] != "rows" and one[2] > facts.known.get(one[1], 0)}
    yield from _some("done more often than it has versions", often)
    has = {("rows", name) for name, _, _ in facts.rows} | {("versions", name) for name, _ in facts.versions}
    yield from _some("has a row, and no receipt", has - set(facts.receipts))


def _last(found: Iterable[tuple[str, int]]) -> dict[str, int]:
    last: dict[str, int] = {}
    for name, version in found:
        last[name] = max(version, last.get(name, 0))
    return last


def _twice(found: Iterable[Any]) -> set[Any]:
    return {one for one, times in Counter(found).items() if times > 1}


def _unequal(job: str, found: Mapping[str, int], truth: Mapping[str, int]) -> Iterator[str]:
    yield from _some(f"{job}: lost", truth.keys() - found.keys())
    yield from _some(
        f"{job}: in another version than the last (found, last)",
        {(name, found[name], last) for name, last in truth.items() if found.get(name, last) != last},
    )


def _some(what: str, of: Iterable[Any]) -> Iterator[str]:
    """How many, and the first of them; nothing where there are none."""
    all_of_them = sorted(of)
    if all_of_them:
        more = " …" if len(all_of_them) > NAMED else ""
        yield f"{what}: {len(all_of_them):,}: {all_of_them[:NAMED]}{more}"
