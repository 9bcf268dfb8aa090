"""The groups of verbs: their help is there at once, a verb is imported when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from mmmeta.cli.problems import in_words


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


class _Unloaded(click.Command):
    """Stands for a verb that was not imported yet: its name and its one line of help."""


class VerbGroup(OrderedGroup):
    """A group whose commands are modules of one package, each with a command ``verb``.

    Args:
        package: where the modules are, which are named as the verbs.
        verbs: name and one line of help of each, in the order of the help; a test holds them equal to the verbs' own.
    """

    def __init__(self, *args: Any, package: str, verbs: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.package = package
        self.verbs = verbs
        for name, line in verbs.items():
            self.add_command(_Unloaded(name, short_help=line))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = self.commands.get(cmd_name)
        if isinstance(command, _Unloaded):
            command = self.commands[cmd_name] = importlib.import_module(f"{self.package}.{cmd_name}").verb
        return command


class MainGroup(VerbGroup):
    """The command ``mmmeta`` itself: whatever a verb meets is told in words, and its output is out when it ends."""

    def invoke(self, ctx: click.Context) -> Any:
        from mmmeta.cli.output import escape_unencodable, open_closed_streams

        open_closed_streams()
        escape_unencodable()
        with in_words():
            result = super().invoke(ctx)
            # Here a closed pipe is met quietly by click; at the interpreter's exit it would be a traceback.
            sys.stdout.flush()
        return result
