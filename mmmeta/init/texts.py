"""config.yml and the project file as texts, with comments that say why. Whatever keys and paths are called, they are quoted
so that YAML reads just them."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import yaml

from mmmeta.init.findings import counted, identity_sentences, key_rows, read_text, rest_of_keys
from mmmeta.init.folder import FILE_NAME, Folder
from mmmeta.init.proposal import Proposal, Selection
from mmmeta.masking import shown, visible

WIDTH = 110
"""Characters of a line of comment."""

OTHERS = 4
"""Values named beside the one that a filter is proposed with."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z0-9_]+)*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}


@dataclass(frozen=True)
class Names:
    """What the project file names; paths as they stand in it.

    Attributes:
        metadir: the entry's name.
        path: of the folder that holds ``_mmmeta``.
        files_root: where it is another folder, else None.
        downloads: folder of the proposed download.
        database: SQLite file of the proposed load.
        ignore: patterns for config.yml, of what these write below the files root.
    """

    metadir: str
    path: str
    files_root: str | None
    downloads: str
    database: str
    ignore: tuple[str, ...] = ()


def config_text(folder: Folder, proposal: Proposal, names: Names, day: str) -> str:
    """config.yml: what counts as metadata in this folder."""
    lines = [
        *comment(
            f"What counts as metadata here. Proposed by `mmmeta init` on {day}: {counted(folder.metadata_files, 'metadata file')} and "
            f"{counted(folder.documents, 'other file')}, {read_text(folder)}. It is yours to change; the next generate follows it."
        )
    ]
    lines += ["", "metadata:"]
    for sentence in identity_sentences(folder, proposal):
        lines += comment(sentence, "  ")
    lines += [f"  unique: {scalar(proposal.unique)}", f"  content: {scalar(proposal.content)}"]
    if folder.file_name not in (None, FILE_NAME):
        lines.append(
            f"  file_name: {scalar(folder.file_name)}   # names the document, beside the metadata file or from here on"
        )
    lines += [*_keys(folder), *_dates(proposal)]
    if names.ignore:
        lines += ["", *comment("What the proposed jobs write; what desktops and browsers leave is ignored anyway.")]
        lines += ["ignore:", *(f"  - {scalar(pattern)}" for pattern in names.ignore)]
    lines += ["", *comment("Where a document can be had from, if it does not lie beside its metadata.")]
    lines += comment("remote:") + comment('  url: "https://example.org/files/{path}"')
    return "\n".join(lines) + "\n"


def project_text(folder: Folder, proposal: Proposal, names: Names, day: str) -> str:
    """mmmeta.yaml: one metadir, a download and a load."""
    lines = [
        *comment(f"Which metadirs there are and what is done with their files. Proposed by `mmmeta init` on {day}."),
        *comment("`mmmeta run` updates and runs the jobs; each reaches a file once, and again when it changed."),
        "version: 1",
        "metadirs:",
        f"  {scalar(names.metadir)}:",
        f"    path: {scalar(names.path)}",
    ]
    if names.files_root is not None:
        lines.append(f"    files_root: {scalar(names.files_root)}")
    lines += ["    generate: true   # the metadata is written here", "    jobs:"]
    if proposal.downloads:
        lines += list(_download(folder, proposal, names))
    else:
        lines += comment(_why_no_download(proposal), " " * 6)
        lines += [f"      # {line[6:]}" for line in _download(folder, proposal, names)]
    lines += [
        "      load_documents:",
        *_where(folder, proposal),
        "        load:",
        f"          to: {scalar(f'sqlite:///{names.database}')}",
        "          table: documents",
        "        # on_delete: action   # take the row out again when a file is deleted",
    ]
    return "\n".join(lines) + "\n"


def _keys(folder: Folder) -> Iterator[str]:
    rows = key_rows(folder)
    if not rows:
        return
    yield "  #"
    yield from comment("The keys, and how many records have them:", "  ")
    widths = [min(max(len(_line(row[place])) for row in rows), 40) for place in (0, 1)]
    for key, coverage, values in rows:
        yield f"  #   {_line(key):<{widths[0]}}  {coverage:>{widths[1]}}  {_line(values)}"
    if rest := rest_of_keys(folder):
        yield f"  #   … and {rest:,} more"
    yield "  # required: []   # what has none of these is set aside"
    yield "  # exclude: []    # what differs at each visit of a scraper, such as headers:date"


def _dates(proposal: Proposal) -> Iterator[str]:
    """``dates:``, and what a person has to decide."""
    if not proposal.dates and not proposal.unsure:
        return
    yield ""
    yield from comment(
        "Dates are kept in ISO form (2020-01-31), which filters compare; these are the forms they come in."
    )
    yield "dates:" if proposal.dates else "# dates:"
    for key, formats in proposal.dates.items():
        yield f"  {scalar(key)}: {flow(formats)}"
    for facts in proposal.unsure:
        dates = facts.dates
        assert dates is not None
        for (first, second), example in dates.ambiguous.items():
            yield from comment(f"{facts.key}: {example} may be {first} or {second}, and no value tells.", "  ")
        for first, second in dates.contradictory:
            yield from comment(f"{facts.key}: some values can only be {first}, some only {second}.", "  ")
        if dates.unread:
            reason = (
                f"{facts.key}: {dates.unread:,} values are no dates ({dates.unread_example:.40}), and will be named."
            )
            yield from comment(reason, "  ")
        formats = [*dates.proposed, *(pair[0] for pair in dates.ambiguous), *(pair[0] for pair in dates.contradictory)]
        if formats:
            yield f"  # {scalar(facts.key)}: {flow(formats)}"


def _download(folder: Folder, proposal: Proposal, names: Names) -> Iterator[str]:
    yield "      download_documents:"
    yield from _where(folder, proposal)
    yield f"        download: {{to: {scalar(names.downloads)}, name: {scalar(proposal.name)}}}"


def _why_no_download(proposal: Proposal) -> str:
    if proposal.addresses is None:
        return (
            "No document lies beside its metadata, and nothing says where else it can be had from. If you know, then:"
        )
    return (
        f"No document lies beside its metadata. Whole addresses are read from public_url alone, and {proposal.addresses} has "
        "some: let the writer of the metadata call it so, or write what they have in common to remote: url: of config.yml. Then:"
    )


def _where(folder: Folder, proposal: Proposal) -> Iterator[str]:
    """Every file, and what could be asked for instead."""
    yield "        where: {}   # every file; or one of these"
    for selection in proposal.selections:
        yield f"        # where: {{{where_key(selection.key)}: {scalar(selection.value)}}}   # {_line(_others(folder, selection))}"
    if proposal.since is not None:
        yield f'        # where: {{{where_key(proposal.since)}: {{">=": {{ago: 30d}}}}}}   # of the last 30 days'


def _others(folder: Folder, selection: Selection) -> str:
    others = ", ".join(f"{value} ({count:,})" for value, count in selection.others[:OTHERS])
    rest = f" and {len(selection.others) - OTHERS:,} more" if len(selection.others) > OTHERS else ""
    return f"{selection.count:,} of {folder.keys.records:,}; also {others}{rest}"


def where_key(key: str) -> str:
    """A key as it stands in a filter."""
    return scalar(f"$${key[1:]}" if key.startswith("$") else key)


def plain(text: str) -> bool:
    """Whether YAML reads a text as itself without quotes."""
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS


def scalar(text: str) -> str:
    """A text as YAML reads it, in one line."""
    if plain(text):
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize)
    return quoted.rstrip("\n")


def flow(texts: Iterable[str]) -> str:
    """A list in one line."""
    return f"[{', '.join(map(scalar, texts))}]"


def comment(sentence: str, indent: str = "") -> list[str]:
    """A sentence as lines of comment, nothing in it able to end them."""
    start = f"{indent}# "
    return textwrap.wrap(
        _line(sentence),
        WIDTH,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _line(text: str) -> str:
    """A text that may stand in a comment: without secrets, and without anything that ends a line or is no YAML."""
    return visible(shown(text))
