"""Which arguments of a command an interpreter reads as code: ``sh -c …``, ``python -c …``, ``perl -e …``.

No shell reads a command, so a value of the metadata stays within its argument. That helps nobody where the argument
is code: there a value would be run.
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


def code_arguments(run: Sequence[str]) -> Iterator[int]:
    """The arguments, counted from 0, that are code for an interpreter in the command, behind ``env`` or ``nice`` too."""
    for at, word in enumerate(run):
        for interpreter in _INTERPRETERS:
            if interpreter.name.fullmatch(os.path.basename(word)):
                yield from _code(run, at, interpreter)


def _code(run: Sequence[str], at: int, interpreter: _Interpreter) -> Iterator[int]:
    index = at + 1
    while index < len(run) and run[index][:1] in ("-", "+"):
        option = run[index]
        found = interpreter.code.match(option)
        if found is not None:
            yield index
            if found.end() == len(option):
                # Options may come between: sh -c -e code.
                index += 1
                while index < len(run) - 1 and run[index][:1] in ("-", "+"):
                    index += 1
                yield index
        index += 2 if option in interpreter.valued else 1
