"""docs/guarantees.md names tests that there are, and each promise of the design has some."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


def test_the_tests_that_are_named_are_there() -> None:
    """A test that was renamed would leave a promise that nothing holds."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    for path, name in named:
        functions = {
            node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, f"{path} has no {name}"


def test_each_promise_has_tests() -> None:
    """Ten of them, numbered as they are in the design."""
    promises = re.split(r"^\*\*(\d+)\. ", PAGE, flags=re.MULTILINE)[1:]
    assert promises[::2] == [str(number) for number in range(1, 11)]
    assert all("::test_" in text for text in promises[1::2])
