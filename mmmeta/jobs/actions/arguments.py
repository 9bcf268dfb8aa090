"""Fills in the arguments of a command. The values come from the remote, so nothing in them is believed.

A value stays within its argument, whatever it contains, for no shell reads it. It cannot become an option, lead to
another folder, or begin a path of its own. Where it may stand is checked when the job is defined
(``project.code_arguments``); should a program make a shell line of its arguments all the same, there is nothing in the
value that a shell would run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from mmmeta.documents.rendering import template_text
from mmmeta.documents.templates import Placeholder, parse_template
from mmmeta.errors import CommandError
from mmmeta.project.actions import DOCUMENT
from mmmeta.project.code_arguments import behind_script

_SHELL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029;&|<>$`\\]")
"""What ends a command or begins another in a shell."""


def fill_arguments(
    run: Sequence[str], get: Callable[[str], Any], document: Callable[[], str], *, unsafe: bool = False
) -> list[str]:
    """The arguments with every ``{key}`` filled in.

    Args:
        run: program and arguments.
        get: gives the value of a metadata key, None where it is absent.
        document: gives the local path of the document, for ``{__path}``; asked only where that is used.
        unsafe: characters that a shell would act upon may stand everywhere, not only behind the script of a shell.

    Raises:
        RemoteTemplateError: a key is missing or empty, or neither text nor a number.
        CommandError: a value cannot stand there.
        DownloadError: there is no such document.
    """
    free = 0 if unsafe else behind_script(run)
    return [_fill(argument, get, document, plain=free is None or index < free) for index, argument in enumerate(run)]


def check_defaults(run: Sequence[str], *, unsafe: bool = False) -> None:
    """Try the defaults, which are treated as values are, before there is a file.

    Raises:
        CommandError: one cannot stand where it does.
    """
    templates = [parse_template(argument) for argument in run]
    placeholders = [part for template in templates for part in template.parts if isinstance(part, Placeholder)]
    needed = {placeholder.key for placeholder in placeholders if placeholder.default is None}
    fill_arguments(run, lambda key: "x" if key in needed else None, lambda: "x", unsafe=unsafe)


def is_plain(text: str) -> bool:
    """Whether there is nothing in a text that a shell would act upon."""
    return _SHELL.search(text) is None


def _fill(argument: str, get: Callable[[str], Any], document: Callable[[], str], *, plain: bool) -> str:
    def value(placeholder: Placeholder, before: str) -> str:
        if placeholder.key == DOCUMENT:
            return document()
        text = template_text(argument, placeholder, get)
        reason = _why_not(text, before, plain=plain)
        if reason is not None:
            raise CommandError(
                f"argument {argument!r}: the value of {placeholder.key!r}, {_short(text)}, cannot stand here: {reason}"
            )
        return text

    return parse_template(argument).fill(value)


def _why_not(text: str, before: str, *, plain: bool) -> str | None:
    """Why a value cannot stand after what comes before it in its argument; None where it can."""
    if "\0" in text:
        return "it has a NUL in it"
    if not before and text.startswith("-"):
        return "the program would take it for an option. Write something before it, such as ./{key} or --name={key}"
    if text.startswith("/"):
        return "it is an absolute path"
    if ".." in text.split("/") or (text.split("/")[0] == "." and before.endswith(".")):
        return "it leads to another folder"
    if plain and not is_plain(text):
        return (
            "it has characters in it that a shell would act upon. Give it in the environment, environment: [key], or by a "
            "key without them, such as {content_hash}"
        )
    return None


def _short(text: str) -> str:
    return repr(text) if len(text) <= 120 else f"{text[:120]!r}…"
