"""``automation`` of a job: which of Dagster's automation conditions start it, read and checked without Dagster.

What is written is an expression: names of conditions (``eager``), calls (``on_cron("0 3 * * *")``), and ``&``, ``|`` and
``~`` between them; a cron schedule by itself means ``on_cron`` of it. It is taken apart here and never run as Python.
Which conditions there are is Dagster's business, and changes with its version.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from mmmeta.project.dagster.cron import check_cron

AND, OR, NOT = "&", "|", "~"

EXAMPLES = 'eager, on_missing, on_cron("0 3 * * *"), eager | on_missing, or a schedule by itself: "0 3 * * *"'

_TAKE_CRON = ("on_cron", "cron_tick_passed")
_OPERATORS: dict[type[ast.AST], str] = {ast.BitAnd: AND, ast.BitOr: OR, ast.Invert: NOT}


@dataclass(frozen=True)
class Automation:
    """A condition by its name with what stands in its brackets, or ``&``, ``|``, ``~`` with what they combine."""

    name: str
    arguments: tuple[Automation | str | int | float | bool, ...] = ()
    options: tuple[tuple[str, Automation | str | int | float | bool], ...] = ()


def parse_automation(text: str) -> Automation:
    """Take an expression apart.

    Raises:
        ValueError: it is none, has something in it that is not allowed, or a schedule that is not valid.
    """
    if text.strip()[:1] in tuple("0123456789*@"):
        return Automation("on_cron", (check_cron(text),))
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _condition(tree.body, text)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no expression. Write {EXAMPLES}") from None


def _condition(node: ast.AST, text: str) -> Automation:
    if isinstance(node, ast.Name):
        return Automation(node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return Automation(_OPERATORS[type(node.op)], (_condition(node.left, text), _condition(node.right, text)))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return Automation(NOT, (_condition(node.operand, text),))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        arguments = tuple(_argument(argument, text) for argument in node.args)
        options = tuple((option.arg or "", _argument(option.value, text)) for option in node.keywords)
        name = node.func.id
        if name in _TAKE_CRON and arguments and isinstance(arguments[0], str):
            arguments = (check_cron(arguments[0]), *arguments[1:])
        return Automation(name, arguments, options)
    part = ast.unparse(node)
    raise ValueError(
        f"{part!r} cannot stand in an automation: names of Dagster's conditions, with brackets where they take "
        f"something, and &, | and ~ can. Write {EXAMPLES}"
    )


def _argument(node: ast.AST, text: str) -> Automation | str | int | float | bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool):
        return node.value
    return _condition(node, text)
