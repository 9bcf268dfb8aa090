"""The group of verbs: imports a verb when it is called, and turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

SETTINGS = ("metadir", "files_root", "project")
"""The options that choose a metadir; they may stand before the verb or behind it."""


class _Unloaded(click.Command):
    """Stands for a verb that was not imported yet: its name and its one line of help."""


class OrderedGroup(click.Group):
    """A group whose help lists commands in the order of the work, each with its whole first line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing those that were not."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(200)) for name, command in self.commands.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            from mmmeta.errors import near_misses

            raise click.UsageError(f"There is no command {name!r}.{near_misses(name, self.commands)}", ctx)
        return super().resolve_command(ctx, args)


class VerbGroup(OrderedGroup):
    """A group whose commands are modules below ``mmmeta.cli``, each with a command ``verb``.

    Args:
        verbs: name and one line of help of each, in the order of the help; a test holds them equal to the verbs' own.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        for name, line in verbs.items():
            self.add_command(_Unloaded(name, short_help=line))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = self.commands.get(cmd_name)
        if isinstance(command, _Unloaded):
            command = self.commands[cmd_name] = importlib.import_module(f"mmmeta.cli.{cmd_name}").verb
        return command

    def invoke(self, ctx: click.Context) -> Any:
        _open_closed_streams()
        try:
            with _readable_warnings():
                result = super().invoke(ctx)
            # Here a closed pipe is met quietly by click; at the interpreter's exit it would be a traceback.
            sys.stdout.flush()
            return result
        except Exception as error:
            message = one_line(error)
            if message is None:
                raise
            from mmmeta.cli.output import visible

            raise click.ClickException("\n".join(map(visible, message.split("\n")))) from error


def _open_closed_streams() -> None:
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


def one_line(error: Exception) -> str | None:
    """What to tell a person about an error, or None where it is no such error (a bug, click's own, a closed pipe).

    One line, but for a file that people write: of its mistakes each has one.
    """
    from mmmeta.errors import InvalidFileError, MmmetaError

    if isinstance(error, InvalidFileError):
        return "\n".join(" ".join(line.split()) for line in str(error).splitlines())
    if isinstance(error, MmmetaError) or (isinstance(error, OSError) and error.errno not in (None, errno.EPIPE)):
        return " ".join(str(error).split()) or type(error).__name__
    return None


@contextmanager
def _readable_warnings() -> Iterator[None]:
    """Warnings of mmmeta as one line on stderr, without the path and line of code that Python adds."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        from mmmeta.cli.output import note

        note(f"Warning: {message}")

    before = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def keep_settings(ctx: click.Context, **settings: str | None) -> None:
    """Remember the options that choose a metadir for the verb."""
    ctx.ensure_object(dict).update({name: value for name, value in settings.items() if value is not None})


def settings_options(command: Decorated) -> Decorated:
    """``--metadir``, ``--files-root`` and ``--project`` behind the verb as well, where people type them too."""

    def keep(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        keep_settings(ctx, **{str(parameter.name): value})

    for name in SETTINGS:
        command = click.option(f"--{name.replace('_', '-')}", hidden=True, expose_value=False, callback=keep)(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, and nothing else.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would happen; write nothing.")
