"""Where in a command a value of the metadata may stand, so that no program takes it for an option or for code.

No shell reads a command, so a value stays within its argument. That helps nobody where the program takes the argument for
a script, and which programs do so nobody can list. So it is said where values may stand: behind literal text that makes a
path or an address of them, or behind the script of an interpreter that is known to hand them over as they are. The list of
interpreters below only says more clearly what is wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class _Interpreter(NamedTuple):
    """One kind of interpreter.

    Attributes:
        name: what its programs are called.
        code: an option that takes code: what stands behind the match, or else the next argument.
        valued: options that take the next argument.
    """

    name: re.Pattern[str]
    code: re.Pattern[str]
    valued: frozenset[str]


def _kind(name: str, code: str, valued: str = "") -> _Interpreter:
    return _Interpreter(re.compile(name), re.compile(code), frozenset(valued.split()))


_PATH_BEFORE = re.compile(
    r"(--?[A-Za-z][A-Za-z0-9_-]*=|[A-Za-z_][A-Za-z0-9_-]*=)?(\.{1,2}/|[a-z][a-z0-9+.-]*://[^/{}]+/)"
)
"""Text before a value behind which it is a path or an address: ``./``, ``--out=./``, ``https://example.org/``."""

_NAME_BEFORE = re.compile(r"(--?[A-Za-z][A-Za-z0-9_-]*=|[A-Za-z_][A-Za-z0-9_-]*=)?")
"""Text before the document's own path, which begins with a slash."""

_TAKES_CODE = frozenset(
    [
        "-c",
        "-e",
        "-E",
        "-exec",
        "-execdir",
        "-ok",
        "-okdir",
        "--command",
        "--eval",
        "--exec",
        "--execute",
        "--expression",
        "--init-command",
        "--init-file",
        "--rcfile",
        "--eval-command",
        "--extra-expression",
        "--source",
    ]
)
"""Options behind which many programs expect code."""

_SCRIPT_FIRST = re.compile(
    r"(g|m|n|one-true-|busybox-)?awk|g?sed|jq|gojq|yq|m4|bc|dc|expect|make|gmake|ssh|su|watch|eval|xargs|parallel"
)
"""Programs whose first operand is code, or is run."""

_HANDS_OVER = {
    re.compile(r"(ba|da|a|k|mk|pdk|z)?sh"): re.compile(r"-[eux]+"),
    re.compile(r"(python|pypy)[\d.]*"): re.compile(r"-[uBsSEOI]+"),
    re.compile(r"perl[\d.]*"): re.compile(r"-[wTt]+"),
    re.compile(r"node(js)?|Rscript|ruby[\d.]*|php[\d.]*"): re.compile(r"(?!)"),
}
"""Interpreters that hand what stands behind a script over to it, each with the options that may stand before it. Under others,
such as perl's -n, a value could be opened as a pipe."""

_WRAPPER = re.compile(r"env|nice|ionice|timeout|nohup|setsid|stdbuf|chrt|taskset|time|xvfb-run")
"""Programs that do nothing but run the one behind them."""

_CODE_OPTION = re.compile(r"-[a-zA-Z]{0,4}c|-m")
"""The option with which a shell or Python takes its script from the command line."""

_INTERPRETERS = (
    _kind(r"(ba|da|a|k|mk|pdk|z|fi|c|tc|rba|ya)?sh", r"-[A-Za-z]*c[A-Za-z]*$|--command(=|$)", "-o +o -O +O --rcfile"),
    _kind(r"(python|pypy)[\d.]*", r"-[bBdEhiIOPqsSuvVx]*c", "-W -X --check-hash-based-pycs"),
    _kind(r"perl[\d.]*", r"-[acflnpsStTuUvwWX0-9]*[eE]", "-I"),
    _kind(r"j?ruby[\d.]*", r"-[aceflnpsSvwW0-9]*e", "-I -r -C -E"),
    _kind(r"node(js)?|bun", r"-(e|p|pe)$|--(eval|print)(=|$)", "-r --require --import -C --conditions"),
    _kind(r"php[\d.]*", r"-[rRBE]", "-d -c"),
    _kind(r"lua(jit)?[\d.]*", r"-e", "-l"),
    _kind(r"Rscript|R|osascript|julia", r"-[eE]$|--(eval|print)(=|$)"),
    _kind(r"env", r"-[iv0]*S|--split-string(=|$)", "-u --unset -C --chdir"),
)


class Misplaced(NamedTuple):
    """An argument in which a value cannot stand.

    Attributes:
        argument: its number, counted from 0.
        reason: why not, and what to do.
    """

    argument: int
    reason: str


_CODE = (
    "this argument is code, and what the metadata puts into it would be run. Give it as a further argument and take it "
    'from there: [sh, -c, \'echo "$1"\', sh, "{title}"]; sys.argv[1] in Python'
)
_BARE = (
    "a program may take a value of the metadata for an option or for a script. Write a path before it, as ./{key}, or give "
    "it in the environment, environment: [key]; unsafe: true allows it all the same"
)


def misplaced(run: Sequence[str], placeholders: Sequence[Sequence[str]], document: str) -> Iterator[Misplaced]:
    """The arguments of a command in which values of the metadata cannot stand.

    Args:
        placeholders: for each argument the names in it.
        document: the name that stands for the document's path.
    """
    code = set(code_arguments(run))
    free = behind_script(run)
    for index, names in enumerate(placeholders):
        if not names:
            continue
        before = run[index].partition("{")[0]
        if index in code or (run[index - 1] in _TAKES_CODE and not (free is not None and index >= free)):
            yield Misplaced(index, _CODE)
        elif free is not None and index >= free:
            continue
        elif not (_PATH_BEFORE.match(before) or (names[0] == document and _NAME_BEFORE.fullmatch(before))):
            yield Misplaced(index, _BARE)


def behind_script(run: Sequence[str]) -> int | None:
    """The first argument that an interpreter hands over to a script, which itself is literal; None where there is none."""
    for at, word in enumerate(run):
        if at and not _WRAPPER.fullmatch(os.path.basename(run[0])):
            return None
        flags = next((flags for name, flags in _HANDS_OVER.items() if name.fullmatch(os.path.basename(word))), None)
        if flags is None:
            continue
        while flags.fullmatch(run[at + 1] if at + 1 < len(run) else ""):
            at += 1
        rest = [*run[at + 1 : at + 3], "", ""]
        if _CODE_OPTION.fullmatch(rest[0]) and rest[1] and "{" not in rest[1] and not rest[1].startswith(("-", "+")):
            return at + 3
        if rest[0] and rest[0][0] not in "-+" and "{" not in rest[0]:
            return at + 2
    return None


def code_arguments(run: Sequence[str]) -> Iterator[int]:
    """The arguments, counted from 0, that are code for an interpreter in the command, behind ``env`` or ``nice`` too."""
    free = behind_script(run)
    for at, word in enumerate(run if free is None else run[:free]):
        name = os.path.basename(word)
        if "{" in name:
            continue
        for interpreter in _INTERPRETERS:
            if interpreter.name.fullmatch(name):
                yield from _code(run, at, interpreter)
        if _SCRIPT_FIRST.fullmatch(name):
            yield from _script(run, at)


def _code(run: Sequence[str], at: int, interpreter: _Interpreter) -> Iterator[int]:
    index = at + 1
    has_code = False
    while index < len(run) and run[index][:1] in ("-", "+"):
        option = run[index]
        found = interpreter.code.match(option)
        if found is not None:
            has_code = True
            yield index
            if found.end() == len(option):
                # Options may come between: sh -c -e code.
                index += 1
                while index < len(run) - 1 and run[index][:1] in ("-", "+"):
                    index += 1
                yield index
        index += 2 if option in interpreter.valued else 1
    if not has_code and index < len(run):
        yield index  # the script itself


def _script(run: Sequence[str], at: int) -> Iterator[int]:
    """The first operand, and everything that looks like the value of an option before it."""
    for index in range(at + 1, len(run)):
        yield index
        if not run[index].startswith("-") and not run[index - 1].startswith("-"):
            return
