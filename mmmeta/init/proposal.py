"""From what was found in a folder to what config.yml and the project file should say, and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mmmeta.config.model import Config
from mmmeta.documents.source import PATH, PUBLIC_URL, protocol_of
from mmmeta.init.folder import FILE_NAME, Folder, Record, usable
from mmmeta.init.keys import KeyFacts, Keys, is_key
from mmmeta.metadata.generate.derive import DIR, METADATA_PATH, NAME

CONTENT_HASH = "content_hash"

FEW = 12
"""Different values of a key that sorts files into kinds; one with more is no selection to propose."""

_SAFE_NAME = re.compile(r"\w[\w .,()+-]{0,150}")
"""Values that name a download: no folder, no sign that a file system may refuse."""

_WEB = ("http", "https")
_KINDS = ("type", "kind", "category", "class", "art", "language", "status", "extension")


@dataclass(frozen=True)
class Candidate:
    """A key that could identify files.

    Attributes:
        key: of the metadata, or one that is derived.
        count: records that have it.
        files: different values of it: so many files there would be.
        example: a value that several records have, as it is shown; None where each has its own.
    """

    key: str
    count: int
    files: int
    example: str | None = None


@dataclass(frozen=True)
class Selection:
    """A filter to propose.

    Attributes:
        key: of the metadata.
        value: its most frequent one.
        count: records that have it.
        others: the other values, the most frequent first, with how many have each.
    """

    key: str
    value: str
    count: int
    others: tuple[tuple[str, int], ...]


@dataclass
class Proposal:
    """What is proposed.

    Attributes:
        unique: the key that identifies a file, and with it ``content``.
        candidates: the keys that could, by name.
        is_given: whether config.yml, or a metadata db that is there, has decided that already.
        set_aside: records of the sample that have no such value.
        lost: records of the sample that another one with the same value replaces.
        dates: key → formats to name in ``dates:``.
        unsure: keys whose dates are not read without a person's word.
        addresses: a key other than ``public_url`` that holds addresses of the web.
        downloads: whether there is a place where documents can be had from.
        name: template of the names of downloads.
        no_meta: whether ``--no-meta`` is needed for the documents that have no metadata.
        selections: proposed filters, the best first.
        since: a key with dates that "the last 30 days" can be asked of.
    """

    unique: str
    content: str
    candidates: dict[str, Candidate]
    is_given: bool = False
    set_aside: int = 0
    lost: int = 0
    dates: dict[str, list[str]] = field(default_factory=dict)
    unsure: list[KeyFacts] = field(default_factory=list)
    addresses: str | None = None
    downloads: bool = True
    name: str = "{path}"
    no_meta: bool = False
    selections: list[Selection] = field(default_factory=list)
    since: str | None = None


def propose(folder: Folder, given: Config | None = None) -> Proposal:
    """What fits a folder.

    Args:
        given: what config.yml says already, or what a metadata db was made with.
    """
    candidates = _candidates(folder)
    unique = given.metadata.unique if given is not None else _best(folder, candidates)
    chosen = candidates.get(unique) or _own(folder, unique)
    records = len(folder.records)
    proposal = Proposal(
        unique=unique,
        content=given.metadata.content if given is not None else CONTENT_HASH,
        candidates=candidates,
        is_given=given is not None,
        set_aside=records - chosen.count,
        lost=chosen.count - chosen.files,
        no_meta=folder.bare > 0,
    )
    for facts in folder.keys.facts.values():
        if facts.dates is None or not is_key(facts.key) or facts.key in (proposal.unique, proposal.content):
            continue
        if facts.dates.is_complete and facts.dates.proposed:
            proposal.dates[facts.key] = facts.dates.proposed
        elif not facts.dates.is_complete:
            proposal.unsure.append(facts)
    _find_documents(folder, proposal)
    proposal.selections = _selections(folder.keys)
    proposal.since = _since(folder.keys, proposal)
    return proposal


def _candidates(folder: Folder) -> dict[str, Candidate]:
    """What can be derived, and the keys of the metadata that identify each record."""
    derived: dict[str, Callable[[Record], str | None]] = {
        CONTENT_HASH: folder.content_of,
        PATH: lambda record: usable(record.own.get(PATH, record.document)),
        METADATA_PATH: lambda record: usable(record.own.get(METADATA_PATH, record.source)),
    }
    result = {key: _count(key, folder, value_of) for key, value_of in derived.items()}
    # Documents without metadata have no key of their own.
    if folder.metadata_files and not folder.bare:
        for key in folder.keys.identifying():
            result.setdefault(key, Candidate(key, folder.keys.records, folder.keys.records))
    return result


def _count(key: str, folder: Folder, value_of: Callable[[Record], str | None]) -> Candidate:
    seen: Counter[str] = Counter()
    named: dict[str, str] = {}
    example = None
    for record in folder.records:
        value = value_of(record)
        if value is None:
            continue
        seen[value] += 1
        place = record.document or record.source or value
        if example is None and seen[value] > 1 and named[value] != place:
            example = f"{named[value]} and {place}"
        elif example is None and seen[value] > 1:
            example = place
        named.setdefault(value, place)
    return Candidate(key, seen.total(), len(seen), example)


def _own(folder: Folder, key: str) -> Candidate:
    """A key of the metadata that somebody else has chosen."""
    facts = folder.keys.facts.get(key)
    if facts is None:
        return Candidate(key, 0, 0)
    return Candidate(key, facts.usable, len(facts.texts) + len(facts.others), (facts.repeated or (None, 0))[0])


def _best(folder: Folder, candidates: dict[str, Candidate]) -> str:
    """The key that most records have and that keeps apart what is apart; of equal ones the usual one."""
    usual, path, metadata_path = (candidates[key] for key in (CONTENT_HASH, PATH, METADATA_PATH))
    own = next((one for key, one in candidates.items() if key not in (CONTENT_HASH, PATH, METADATA_PATH)), None)
    best = usual
    # Several sidecars of one document are one file under its hash and its path alike; copies are one under the hash only.
    if path.files > best.files and path.count >= best.count:
        best = path
    if own is not None and own.files > best.files and best.count < own.count:
        best = own
    if best.count < len(folder.records) and metadata_path.count > best.count and not _is_identified(best, folder):
        best = metadata_path
    return best.key


def _is_identified(best: Candidate, folder: Folder) -> bool:
    """Whether a key is the right one although some lack it: metadata whose document is missing, among much that has one."""
    return best.count >= 0.5 * len(folder.records)


def _find_documents(folder: Folder, proposal: Proposal) -> None:
    """Where downloads come from, and what they are called."""
    if any(record.document is not None for record in folder.records):
        proposal.name = _name_of_downloads(folder)
        return
    keys = folder.keys
    named = [key for key in (FILE_NAME, *keys.identifying()) if _names_downloads(keys, key)]
    proposal.name = f"{{{named[0] if named else FILE_NAME}}}"
    urls = [facts.key for facts in keys.facts.values() if _holds_urls(facts)]
    proposal.addresses = next((key for key in urls if key != PUBLIC_URL), None)
    proposal.downloads = bool(named) and PUBLIC_URL in urls


def _name_of_downloads(folder: Folder) -> str:
    """Where a document lies, by keys that say so also where the metadata has keys of its own under these names."""
    if all(record.own.get(PATH, record.document) == record.document for record in folder.records):
        return f"{{{PATH}}}"
    if not any(record.own.keys() & {DIR, NAME} for record in folder.records):
        return f"{{{DIR}}}/{{{NAME}}}"
    return f"{{{CONTENT_HASH}}}-{{{folder.file_name or FILE_NAME}}}"


def _names_downloads(keys: Keys, key: str) -> bool:
    """Whether each record has a value of its own under a key that can be the name of a file."""
    facts = keys.facts.get(key)
    if facts is None or not facts.identifies(keys.records) or not fits_template(key):
        return False
    return all(_SAFE_NAME.fullmatch(value) for value in (*facts.texts, *facts.others))


def fits_template(key: str) -> bool:
    """Whether a key can stand in a template."""
    return key == key.strip() and not set("{}|") & set(key)


def _holds_urls(facts: KeyFacts) -> bool:
    return bool(facts.texts) and not facts.others and all(protocol_of(text) in _WEB for text in facts.texts)


def _selections(keys: Keys) -> list[Selection]:
    """Keys that sort files into a few kinds."""
    found = []
    for facts in keys.facts.values():
        values = facts.texts.most_common()
        kinds = 2 <= len(values) <= FEW and values[0][1] > 1 and 2 * facts.texts.total() >= keys.records
        if kinds and not facts.others and facts.dates is None and all(value.strip() for value, _ in values):
            found.append(Selection(facts.key, values[0][0], values[0][1], tuple(values[1:])))
    return sorted(found, key=lambda one: (not one.key.lower().endswith(_KINDS), len(one.others)))[:2]


def _since(keys: Keys, proposal: Proposal) -> str | None:
    """The key with dates that most have."""
    readable = [
        facts
        for facts in keys.facts.values()
        if facts.dates is not None
        and facts.dates.is_complete
        and (facts.key in proposal.dates or not facts.dates.proposed)
    ]
    best = max(readable, key=lambda facts: facts.count, default=None)
    return None if best is None else best.key
