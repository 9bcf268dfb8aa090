"""The help: complete, true, and quick."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import pytest
from cli_support import Run

from mmmeta.cli import main
from mmmeta.cli.group import VerbGroup


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    context = click.Context(main)
    for name in main.list_commands(context):
        verb = main.get_command(context, name)
        assert verb is not None
        yield (name,), verb
        if isinstance(verb, click.Group):
            for sub in verb.list_commands(context):
                found = verb.get_command(context, sub)
                assert found is not None
                yield (name, sub), found


def test_help_lists_the_verbs_in_the_order_of_the_work(run: Run) -> None:
    """And does not import any of them."""
    lines = run("--help").output.splitlines()
    listed = [
        line.split()[0] for line in lines[lines.index("Commands:") + 1 :] if line.startswith("  ") and line[2] != " "
    ]
    verbs = [
        "init",
        "generate",
        "sync",
        "update",
        "run",
        "work",
        "status",
        "jobs",
        "why",
        "check",
        "inspect",
        "state",
        "migrate",
        "prune",
        "find",
        "dump",
        "store",
    ]
    assert listed[: len(verbs)] == verbs


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], run: Run) -> None:
    """A first line that stands alone, and an example that begins with the command itself."""
    output = run(*words, "--help").output
    found = dict(commands())[words]
    first = (found.help or "").strip().split("\n\n")[0]
    assert first.endswith(".")
    assert f"mmmeta {' '.join(words)}" in " ".join(output.split("Example", 1)[1].split())
    written = words[-1] in (
        *("init", "generate", "update", "run", "set", "touch", "delete"),
        *(
            "retry",
            "dismiss",
            "rename",
            "forget",
            "adopt",
            "backup",
            "restore",
            "moved",
            "rekey",
            "copy",
            "prune",
            "migrate",
        ),
        *("pull", "push"),
    )
    assert written is any(parameter.name == "dry_run" for parameter in found.params)
    assert any("--json" in parameter.opts for parameter in found.params)


def test_list_of_verbs_says_what_the_verbs_say() -> None:
    """A group keeps each first line to be quick; here it is held equal to the verb's own."""
    found = dict(commands())
    groups = [((), main), *((words, verb) for words, verb in found.items() if isinstance(verb, VerbGroup))]
    assert [words for words, _ in groups] == [(), ("jobs",)]
    for words, group in groups:
        for name, line in group.verbs.items():
            verb = found[(*words, name)]
            fresh = importlib.import_module(".".join(["mmmeta.cli", *words, name])).verb
            assert fresh is verb
            own = (verb.help or "").strip().split("\n\n")[0]
            assert line == " ".join(own.split())


def test_help_is_quick() -> None:
    """At most one and a half times importing click; the best of several, because other work disturbs both."""
    best: dict[tuple[str, ...], float] = {}
    asked, bare = ("-m", "mmmeta", "--help"), ("-c", "import click")
    for _ in range(40):
        for words in (asked, bare):
            started = time.perf_counter()
            subprocess.run([sys.executable, *words], capture_output=True, check=True)
            best[words] = min(best.get(words, 60.0), time.perf_counter() - started)
        if best[asked] <= 1.5 * best[bare]:
            return
    pytest.fail(f"--help takes {best[asked]:.3f} s, importing click {best[bare]:.3f} s")


def test_help_imports_nothing_heavy() -> None:
    """What makes it quick, checked without a clock."""
    code = (
        "import sys, contextlib, io\nfrom mmmeta.cli import main\nwith contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['--help'], standalone_mode=False)\n"
        "print([name for name in ('rich', 'pydantic', 'yaml', 'orjson', 'sqlalchemy', 'sqlite3', 'dataset') "
        "if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_a_mistyped_command_is_met_with_the_near_misses(run: Run) -> None:
    """In every group."""
    assert "Did you mean 'jobs'" in run("job", code=2).stderr
    assert "Did you mean 'plan'" in run("jobs", "plann", code=2).stderr
    assert "Did you mean 'delete'" in run("store", "delet", code=2).stderr
