"""``{{ env.NAME }}`` in what people write: filled in from the environment, and hidden again from messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmmeta.config.yaml_file import KeyPath
from mmmeta.errors import near_misses

_SHORTEST_SECRET = 4
"""Characters. What is shorter is not hidden from messages: hiding a 1 would garble every line number."""

_VARIABLE = re.compile(
    r"""\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*(?:\|\s*default\(\s*(?:"([^"]*)"|'([^']*)')\s*\)\s*)?\}\}"""
)


class Variables:
    """Fills in environment variables and remembers what they held; also for those who read the schema of the project file
    from another file.

    Attributes:
        problems: what could not be filled in, and why.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._used: dict[str, str] = {}
        self.problems: list[tuple[KeyPath, str]] = []

    def fill(self, value: Any, key: KeyPath = ()) -> Any:
        """A copy of a value with every string filled."""
        if isinstance(value, dict):
            return {name: self.fill(entry, (*key, name)) for name, entry in value.items()}
        if isinstance(value, list):
            return [self.fill(entry, (*key, index)) for index, entry in enumerate(value)]
        return "".join(self._pieces(value, key)) if isinstance(value, str) and "{{" in value else value

    def _pieces(self, text: str, key: KeyPath) -> Iterator[str]:
        position = 0
        for match in _VARIABLE.finditer(text):
            yield self._literal(text[position : match.start()], key)
            position = match.end()
            name, *defaults = match.groups()
            default = next((entry for entry in defaults if entry is not None), None)
            found = self._environ.get(name, default)
            if found is None:
                hint = near_misses(name, self._environ)
                remedy = f'Set it, or write {{{{ env.{name} | default("…") }}}}'
                self.problems.append((key, f"the environment variable {name} is not set.{hint} {remedy}"))
                found = match.group()
            if name in self._environ:
                self._used[found] = f"{{{{ env.{name} }}}}"
            yield found
        yield self._literal(text[position:], key)

    def _literal(self, text: str, key: KeyPath) -> str:
        if "{{" in text:
            start = text.index("{{")
            known = '{{ env.NAME }} and {{ env.NAME | default("…") }}'
            self.problems.append((key, f"{text[start : start + 40]!r} is not known here. There are {known}"))
        return text

    def hide(self, message: str) -> str:
        """A message with the variables' names where it has what they held."""
        for secret in sorted(self._used, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                for text in {secret, repr(secret)[1:-1]}:
                    message = message.replace(text, self._used[secret])
        return message
