"""Reads a YAML file that a person wrote and remembers the line of everything in it.

``yaml.safe_load`` forgets where things stood and lets a second key of the same name win silently; so the nodes are
composed by PyYAML, with the meaning ``SafeLoader`` gives them, and put together here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmmeta.errors import InvalidFileError
from mmmeta.layout import read_plain
from mmmeta.masking import visible

KeyPath = tuple[str | int, ...]
"""The keys (and positions in lists) from the top of the file down to a value."""

_MOST_VALUES = 100_000
"""Values in one file, those reached through aliases counted again: a few hundred bytes of aliases can mean billions."""

_MOST_BYTES = 10_000_000
"""Size of one file. Nobody writes more by hand."""

_LONGEST_NUMBER = 300
"""Characters of a number; Python cannot write out what a few more can mean, and 1:1:1… takes it minutes to add up."""

_SHOWN = 80
"""Characters of a value that a message repeats."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MAPPING, _SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_MERGE, _EQUALS = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"
_BARE_OPERATOR = re.compile(r"(?:^|[{,\s])([<>!]=?|<>)\s*:")
_BARE_PATTERN = re.compile(r"(?:^\s*-\s+|[\[,:]\s*)([*!][^\s,\]}]*)")
_PLAIN = re.compile(r"[\w$-]+")


@dataclass
class Document:
    """What a YAML file holds.

    Attributes:
        path: the file.
        value: mappings, lists, and scalars as ``yaml.safe_load`` gives them; None for an empty file.
        lines: line (from 1) of each key of a mapping and each entry of a list.
        error: the class of the errors about this file.
    """

    path: Path
    value: Any
    error: type[InvalidFileError]
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, key: KeyPath) -> int:
        """The line of a key; of the nearest one above it where the key itself is not there."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def problem(self, key: KeyPath, reason: str) -> InvalidFileError:
        """The error that names this file, the key's line, the key and the reason."""
        return self.error(_cut(reason), path=self.path, line=self.line(key), key=key_text(key) or None)

    def at(self, key: KeyPath) -> Any:
        """The value at a key path. Raises KeyError, IndexError or TypeError where there is none."""
        value = self.value
        for part in key:
            value = value[part]
        return value


def key_text(key: KeyPath) -> str:
    """A key path as people write it: ``metadirs.archive.owners[0]``, ``where["headers:content-type"]``."""
    text = ""
    for part in key:
        name = part if isinstance(part, int) or len(part) <= _SHOWN else f"{part[:_SHOWN]}…"
        if isinstance(name, str) and _PLAIN.fullmatch(name):
            text += f".{name}" if text else name
        else:
            text += f"[{name}]" if isinstance(name, int) else f'["{visible(name)}"]'
    return text


def read_yaml(path: Path, error: type[InvalidFileError]) -> Document:
    """Read one YAML file, which should be a mapping at its top or empty.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidFileError: (as the class that was handed in) it cannot be read, is not UTF-8, not YAML, has a key
            twice, a key that is not text, or more than one document.
    """
    try:
        data = read_plain(path, _MOST_BYTES)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise error(f"cannot be read: {problem.strerror or problem}", path=path) from problem
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise error("is not UTF-8 text. Save it in that encoding", path=path, line=line) from problem
    document = Document(path, None, error)
    try:
        _Builder(document, text).build()
    except yaml.reader.ReaderError as problem:
        line = text[: problem.position].count("\n") + 1
        raise error(
            f"has a character that YAML does not allow: {problem.character!r:.80}", path=path, line=line
        ) from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        what = f"{' '.join(part for part in (problem.context, problem.problem) if part):.300}"
        where = mark.line + 1 if mark else None
        raise error(f"is not valid YAML: {visible(what)}{_quoting_hint(text, where)}", path=path, line=where) from None
    except RecursionError:
        raise error("is nested too deeply", path=path) from None
    if document.value is not None and not isinstance(document.value, dict):
        raise error("needs keys at its top, one per line (key: value)", path=path, line=1)
    return document


class _Builder:
    """Puts nodes together and notes their lines."""

    def __init__(self, document: Document, text: str) -> None:
        self._document = document
        self._loader = yaml.SafeLoader(text)
        self._count = 0
        self._open: set[int] = set()

    def build(self) -> None:
        try:
            node = self._loader.get_single_node()
            if node is not None:
                self._document.value = self._value(node, ())
        finally:
            self._loader.dispose()

    def _fail(self, node: yaml.Node, key: KeyPath, reason: str) -> InvalidFileError:
        line = node.start_mark.line + 1
        return self._document.error(_cut(reason), path=self._document.path, line=line, key=key_text(key) or None)

    def _value(self, node: yaml.Node, key: KeyPath) -> Any:
        self._count += 1
        if self._count > _MOST_VALUES:
            raise self._fail(node, key, f"has more than {_MOST_VALUES:,} values, those of its aliases counted")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        if id(node) in self._open:
            raise self._fail(node, key, "an alias contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
                return self._mapping(node, key)
            if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
                return [self._entry(entry, (*key, index)) for index, entry in enumerate(node.value)]
        finally:
            self._open.discard(id(node))
        raise self._fail(node, key, _unknown_tag(node))

    def _entry(self, node: yaml.Node, key: KeyPath) -> Any:
        self._document.lines[key] = node.start_mark.line + 1
        return self._value(node, key)

    def _scalar(self, node: yaml.ScalarNode, key: KeyPath) -> Any:
        # A plain = is an old YAML type of its own; here it is an operator.
        if node.tag == _EQUALS:
            return node.value
        if len(node.value) > _LONGEST_NUMBER and node.tag in _NUMBERS:
            raise self._fail(node, key, f"has {len(node.value):,} characters as a number. Quote it if it is text")
        try:
            return self._loader.construct_object(node)
        except yaml.YAMLError:
            raise self._fail(node, key, _unknown_tag(node)) from None
        # What PyYAML's own constructors stumble over where a tag promises what the text is not: !!bool x, !!int "".
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            tag = node.tag.removeprefix("tag:yaml.org,2002:")
            raise self._fail(node, key, f"{_short(node.value)} is no {tag:.40}. Quote it if it is text") from None

    def _mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        # "<<: *defaults" first, so that the mapping's own entries win. Merged here and not by PyYAML, whose result
        # grows without bounds when defaults of defaults are merged many times.
        for name_node, value_node in node.value:
            if name_node.tag == _MERGE:
                result.update(self._merged(value_node, key))
        own: dict[str, int] = {}
        for name_node, value_node in node.value:
            if name_node.tag == _MERGE:
                continue
            name = self._name(name_node, key)
            below = (*key, name)
            line = name_node.start_mark.line + 1
            if name in own:
                first = f"It stands in line {own[name]} already; only one of them can count"
                raise self._fail(name_node, below, f"the key is there twice. {first}")
            own[name] = self._document.lines[below] = line
            result[name] = self._value(value_node, below)
        return result

    def _merged(self, node: yaml.Node, key: KeyPath) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Any] = {}
        for source in reversed(sources):
            value = self._value(source, key)
            if not isinstance(value, dict):
                raise self._fail(source, key, "<< merges mappings only: <<: *defaults")
            result.update(value)
        return result

    def _name(self, node: yaml.Node, key: KeyPath) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._fail(node, key, "a key has to be text, not a list or a mapping. Quote it if it has braces")
        name = self._scalar(node, key)
        if isinstance(name, str):
            return name
        kind = "true or false" if isinstance(name, bool) else "null" if name is None else f"a {type(name).__name__}"
        raise self._fail(node, key, f'YAML reads the key {node.value:.80} as {kind}. Quote it: "{node.value:.80}"')


def _cut(reason: str) -> str:
    """A reason that repeats no page of what was written: its beginning, and its end, where the remedy stands; and nothing that
    steers what shows it."""
    return visible(reason if len(reason) <= 800 else f"{reason[:500]} … {reason[-250:]}")


def _short(text: str) -> str:
    """A value in a message, which is to say something else."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def _unknown_tag(node: yaml.Node) -> str:
    return f"{node.tag:.80} is a YAML tag that is not supported here. Write a plain value, or quote it if it is text"


def _quoting_hint(text: str, line: int | None) -> str:
    """The usual mistakes: an operator of a filter, or a pattern, that means something else in YAML."""
    written = text.splitlines()[line - 1] if line and line <= len(text.splitlines()) else ""
    if (found := _BARE_OPERATOR.search(written)) is not None:
        return f'. Quote the operator: "{found[1]}"'
    if (found := _BARE_PATTERN.search(written)) is not None:
        return f'. Quote what begins with {found[1][0]}: "{visible(found[1][:_SHOWN])}"'
    return ""
