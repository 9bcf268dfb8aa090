"""What was found in a folder and why this is proposed, in sentences: for the terminal and for the comments of config.yml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mmmeta.documents.source import PATH
from mmmeta.init.folder import FILE_NAME, NAMED, Folder
from mmmeta.init.keys import KeyFacts
from mmmeta.init.proposal import CONTENT_HASH, Proposal
from mmmeta.metadata.generate.derive import METADATA_PATH
from mmmeta.reports import FirstFew

KEYS = 60
"""Keys that are described one by one; all are counted."""

SHOWN = 40
"""Characters of a value that is shown as an example."""


@dataclass(frozen=True)
class Finding:
    """A sentence, and the first of what it is about.

    Attributes:
        count: how many it is about, those that are not named included.
    """

    sentence: str
    examples: tuple[str, ...] = ()
    count: int = 0


def findings(folder: Folder) -> Iterator[Finding]:
    """What lies there, and what is the matter with it."""
    files = f"{counted(folder.metadata_files, 'metadata file')}, {counted(folder.documents, 'other file')}"
    yield Finding(f"{files}; {read_text(folder)}.")
    if folder.lines_files:
        yield Finding(f"Metadata files with a record a line (.jsonl): {folder.lines_files:,}.")
    if folder.ignored:
        yield Finding(f"Ignored, as litter of desktops and browsers: {folder.ignored:,}.")
    yield from _listed("Could not be looked at", folder.unseen)
    yield from _listed("Metadata that cannot be read and will be set aside", folder.set_aside)
    if folder.keys.records and folder.metadata_files:
        beside = folder.keys.records - folder.orphans.count
        sentence = f"{beside:,} of {folder.keys.records:,} records have their document in the folder"
        named = f", which {folder.file_name} names" if folder.file_name not in (None, FILE_NAME) else ""
        yield Finding(
            f"{sentence}{named}: its hash, size, media type and path are derived." if beside else f"{sentence}."
        )
        if beside:
            yield from _listed("Document not found", folder.orphans)
    title = "JSON without a document that would fit, which `generate --no-meta` takes for a document itself"
    yield from _listed(title, folder.json_documents)
    if folder.bare:
        about = "about " if folder.is_sample else ""
        sentence = f"Documents without metadata: {about}{folder.bare:,}. `generate --no-meta` describes them:"
        yield Finding(sentence, tuple(folder.bare_examples), folder.bare)
    yield from _listed("Documents with several metadata files, of which the newest counts", folder.several)
    yield from _listed("Documents with the content of another one", folder.copies)
    own = sorted({key for record in folder.records for key in record.own})
    if own:
        yield Finding(
            f"The metadata has keys of its own under names that are derived otherwise, and they count: {', '.join(own)}."
        )
    if not folder.compared:
        yield Finding("There are too many documents to compare them all; there may be more copies.")
    mixed = [facts.key for facts in folder.keys.facts.values() if facts.is_mixed]
    if mixed:
        keys = ", ".join(mixed[:NAMED]) + ("" if len(mixed) <= NAMED else f" and {len(mixed) - NAMED:,} more")
        yield Finding(f"Values of several types, of which a filter meets those of its own type: {keys}.")


def counted(number: int, noun: str) -> str:
    """``1 file``, ``1,200 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def read_text(folder: Folder) -> str:
    """How much of it was read."""
    return f"a sample of {folder.read:,} was read" if folder.is_sample else "all metadata was read"


def _listed(title: str, few: FirstFew[Any]) -> Iterator[Finding]:
    if few.count:
        yield Finding(f"{title}: {few.count:,}.", tuple(map(str, few.named)), few.count)


def identity_sentences(folder: Folder, proposal: Proposal) -> Iterator[str]:
    """What identifies a file and why, what that costs, and the question that decides."""
    unique = proposal.unique
    usual, chosen = proposal.candidates[CONTENT_HASH], proposal.candidates.get(unique)
    if proposal.is_given:
        yield f"A file is identified by {unique}, as it was decided here before."
    elif unique == CONTENT_HASH:
        derived = "the SHA-1 of its document, unless the metadata has one of its own"
        yield f"A file is identified by its content: {CONTENT_HASH}, {derived}. A changed document is a new file."
    elif unique == PATH:
        yield "A file is identified by the path of its document. A changed document is the same file with new content."
    elif unique == METADATA_PATH:
        yield "A file is identified by the path of its metadata file: nothing else is there for all of them."
    else:
        yield f"A file is identified by {unique}, which each record has a value of its own for."
    if proposal.set_aside:
        yield (
            f"{proposal.set_aside:,} of {len(folder.records):,} have none and will be set aside"
            + (" (their document is missing)." if unique in (CONTENT_HASH, PATH) else ".")
        )
    if proposal.lost:
        example = f": {_short(chosen.example)}" if chosen is not None and chosen.example else ""
        yield f"{proposal.lost:,} share it with another one, and the newest counts{example}."
    other = proposal.candidates[PATH] if unique == CONTENT_HASH else usual
    if not proposal.is_given and chosen is not None and other.count and other.files != chosen.files:
        yield from _question(proposal, other.files)
    also = [key for key in proposal.candidates if key not in (unique, CONTENT_HASH, PATH, METADATA_PATH)]
    if also:
        yield f"Also different for each record: {', '.join(also[:NAMED])}."


def _question(proposal: Proposal, others: int) -> Iterator[str]:
    chosen = proposal.candidates[proposal.unique]
    if proposal.unique == CONTENT_HASH or chosen.files < others:
        return
    yield (
        "The question that decides: is a document that lies there twice one file or two? "
        f"Two ({chosen.files:,} files): leave it so, and a job may still take one of each content with "
        f"`once_per: {CONTENT_HASH}`. One ({others:,} files, the newest metadata counts): `unique: {CONTENT_HASH}`."
    )


def key_rows(folder: Folder) -> list[tuple[str, str, str]]:
    """Each key: its name, how many have it, and what its values are like."""
    facts = sorted(folder.keys.facts.values(), key=lambda one: -one.count)
    return [(one.key, f"{one.count:,} of {folder.keys.records:,}", describe(one)) for one in facts[:KEYS]]


def rest_of_keys(folder: Folder) -> int:
    """How many keys ``key_rows`` leaves out."""
    return max(0, len(folder.keys.facts) - KEYS) + len(folder.keys.further)


def describe(facts: KeyFacts) -> str:
    """The types of a key's values, the dates among them, and whether they repeat."""
    if len(facts.types) == 1:
        parts = [next(iter(facts.types))]
    else:
        parts = [_each(facts.types.most_common())]
        if facts.is_mixed:
            parts[0] = f"mixed: {parts[0]}"
    dates = facts.dates
    if dates is not None:
        if dates.counts:
            parts.append(f"dates: {_each(dates.counts.items())}")
        for (first, second), example in dates.ambiguous.items():
            parts.append(f"{example} may be {first} or {second}")
        for first, second in dates.contradictory:
            parts.append(f"some dates are {first}, some {second}")
        if dates.unread:
            parts.append(f"{dates.unread:,} no dates: {_short(dates.unread_example)}")
        return ", ".join(parts)
    repeated, different = facts.repeated, len(facts.texts.keys() | facts.others.keys())
    if repeated is None and different > 1:
        parts.append("each another")
    elif repeated is not None:
        value, count = _short(repeated[0]), f"{repeated[1]:,} times"
        parts.append(f'always "{value}"' if different == 1 else f'{different:,} different, "{value}" {count}')
    return ", ".join(parts)


def _each(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in pairs)


def _short(text: str | None) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
