"""How output is written: results on stdout, all else on stderr; JSON lines for programs, sentences for people."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click

from mmmeta.clock import utcnow
from mmmeta.masking import visible

if TYPE_CHECKING:
    from mmmeta.cli.targets import Target
    from mmmeta.state.ledger.view import Waiting

UNENCODABLE = "backslashreplace"
"""What becomes of characters that an encoding has not: ``\\u0434``."""

SHOWN = 20
"""Problems and failures printed one by one before the rest is only counted; ``--json`` has all that the report kept."""


def echo_json(value: Any) -> None:
    """One JSON value as one line on stdout, in UTF-8 whatever the terminal has: a program reads it."""
    click.echo(to_utf8(to_line(value)))


def echo_report(target: Target, report: object, **more: Any) -> None:
    """The result of a verb on one metadir as one line of JSON: which one it is, then the fields of the report."""
    echo_json({"metadir": target.name, "path": target.path, **plain(report), **more})


def to_line(value: Any) -> str:
    """One JSON value without line breaks; integers of any size stay exact, text stays readable."""
    return harmless(json.dumps(value, default=plain, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")))


def harmless(line: str) -> str:
    """A line of JSON that means the same and cannot steer a terminal: what is not printable as JSON's escape for it."""
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() or "\ud800" <= sign <= "\udfff" else _escape(sign) for sign in line)


def _escape(sign: str) -> str:
    return json.dumps(sign)[1:-1]


def to_utf8(text: str) -> bytes:
    """A text for programs; half of a surrogate pair, out of a file name that is not UTF-8, as JSON's escape for it."""
    return text.encode("utf-8", UNENCODABLE)


def plain(value: Any) -> Any:
    """What JSON has no form for: results become objects, times ISO texts, paths and the rest texts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # One level only: what lies below comes back here by itself.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def say(message: object = "") -> None:
    """A line of the result, for people."""
    click.echo(visible(str(message)))


def note(message: object) -> None:
    """A line for people, beside the result."""
    click.echo(visible(str(message)), err=True)


def listing(title: str, lines: Sequence[object], count: int | None = None) -> None:
    """Problems or failures on stderr: the first ones, and how many there are in all."""
    count = len(lines) if count is None else count
    if not count:
        return
    note(title)
    for line in lines[:SHOWN]:
        note(f"  {line}")
    if rest := rest_text(len(lines[:SHOWN]), count):
        note(f"  {rest}")


def rest_text(shown: int, count: int) -> str:
    """``… and 1,200 more`` where not all are shown; an empty text where they are."""
    return f"… and {count - shown:,} more" if count > shown else ""


def first_shown(sentence: str, shown: int, count: int) -> str:
    """``1,200 files, the first 50 shown`` where not all are shown; the sentence alone where they are."""
    return f"{sentence}, the first {shown:,} shown" if count > shown else sentence


def counts_text(numbers: Mapping[str, int | None]) -> str:
    """``12 added, 3 changed``: what is zero or unknown is left out, and the text is empty where all of it is."""
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number)


def count_text(number: int, noun: str) -> str:
    """``1 problem``, ``1,200 problems``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def waiting_text(waiting: Waiting) -> str:
    """``12 files waiting for example.org, which answered 429 Too Many Requests, until 2026-05-01 12:00:00``."""
    return f"{files_text(waiting.files)} {waiting.reason}, until {moment_text(waiting.until)}"


def files_text(number: int) -> str:
    """``1 file``, ``1,200 files``."""
    return count_text(number, "file")


def age_text(moment: datetime | None) -> str:
    """How long ago, in one unit, or nothing."""
    if moment is None:
        return ""
    seconds = max(0.0, (utcnow() - moment).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return count_text(int(seconds // length), unit)
    return count_text(int(seconds), "second")


def moment_text(moment: datetime | None) -> str:
    """A moment in local time: today's with seconds, others with the date, both to the minute at least."""
    if moment is None:
        return ""
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == date.today() else f"{local:%Y-%m-%d %H:%M}"


def escape_unencodable() -> None:
    """Let stdout and stderr write what their encoding has not (a Cyrillic name in a Latin-1 locale) as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=UNENCODABLE)


def open_closed_streams() -> None:
    """Give a standard stream that the caller closed (``>&-``) the null device: else the next file that is opened, a
    database, would be what this process and its children know as their stdout."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.fstat(number)
                continue
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115
