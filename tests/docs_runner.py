"""Runs the code blocks of a Markdown document, in order, in a sandbox folder. CONTRIBUTING.md says how to write them.

One document is one story: its Python blocks share a namespace, its shell blocks share variables and the current folder,
and everything that a block writes is there for the next one.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from docs_blocks import ROOT, Block, DocumentError, blocks, file_name, same

from mmmeta.config.model import load_config
from mmmeta.project import load_project
from mmmeta.project.reading import PROJECT_FILE

SECONDS = 120
"""How long one command may take."""

READ_ONLY = {"text", "", "mermaid", "sql", "toml", "diff", "html", "make"}
"""Languages that are only shown."""

EXPECTED = re.compile(r"#\s*(?:→|->)\s?(.*)$")


@dataclass
class Runner:
    """Runs blocks in ``folder``.

    Attributes:
        name: the document, for messages.
        folder: the sandbox.
        clone: gives a folder with a copy of the repository; only made when a command needs it.
        printed: what the last Python block printed.
        servers: variables by which the servers are reached that blocks with ``needs=servers`` talk to; without, those do not run.
    """

    name: str
    folder: Path
    clone: Callable[[], Path]
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    environment: dict[str, str] = field(default_factory=dict)
    printed: str = ""
    servers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SSL_CERT_FILE") if name in os.environ}
        (self.folder / ".home").mkdir(exist_ok=True)
        self.environment = kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.folder / ".home"),
            "LANG": "C.UTF-8",
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "PWD": str(self.folder),
        }
        self.environment |= self.servers

    def run(self, text: str) -> int:
        """Run all blocks of a document; gives how many were run.

        Raises:
            DocumentError: the first block that fails.
        """
        count = 0
        for block in blocks(text):
            if "skip" in block.directives:
                if not block.directives["skip"]:
                    raise self._error(block, "skip needs a reason: <!-- test: skip=why -->")
                continue
            if "needs" in block.directives and not self.servers:
                continue
            if "output" in block.directives:
                self._compare(block, self.printed, block.text)
                continue
            handler = {
                "python": self._python,
                "py": self._python,
                "pycon": self._pycon,
                "yaml": self._yaml,
                "yml": self._yaml,
                "json": self._json,
                "console": self._console,
                "bash": self._bash,
                "sh": self._bash,
                "shell": self._bash,
            }.get(block.language)
            if handler is None:
                if block.language not in READ_ONLY:
                    raise self._error(block, f"the language {block.language!r} is not known to the tests")
                continue
            with _inside(self.folder), _warnings(block.directives.get("warns")):
                handler(block)
            count += 1
        return count

    # --- Python -----------------------------------------------------------------------------------------------------

    def _python(self, block: Block) -> None:
        if name := file_name(block):
            self._write(name, block.text)
            return
        if block.text.lstrip().startswith(">>>"):
            self._pycon(block)
            return
        # Empty lines before it, so that a traceback shows the document's line numbers.
        source = "\n" * (block.line - 1) + block.text
        lines = source.splitlines()
        output = io.StringIO()
        try:
            for statement in ast.parse(source, self.name).body:
                end = lines[(statement.end_lineno or 1) - 1]
                expected = EXPECTED.search(end)
                before = output.tell()
                value = self._statement(statement, output)
                if expected:
                    shown = output.getvalue()[before:].strip() if value is None else repr(value)
                    self._compare(block, shown or repr(value), expected[1].strip(), line=statement.end_lineno)
        except DocumentError:
            raise
        except Exception as error:
            raise self._error(block, f"{type(error).__name__}: {error}", line=_line_of(error, self.name)) from error
        self.printed = output.getvalue()

    def _statement(self, statement: ast.stmt, output: io.StringIO) -> Any:
        """Run one statement; the value if it is an expression."""
        with contextlib.redirect_stdout(output):
            if isinstance(statement, ast.Expr):
                return eval(compile(ast.Expression(statement.value), self.name, "eval"), self.namespace)
            exec(compile(ast.Module([statement], []), self.name, "exec"), self.namespace)
        return None

    def _pycon(self, block: Block) -> None:
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        text = block.text.replace("…", "...") + "\n"
        test = doctest.DocTestParser().get_doctest(text, self.namespace, self.name, self.name, block.line - 1)
        test.globs = self.namespace
        report: list[str] = []
        doctest.DocTestRunner(optionflags=options, verbose=False).run(test, out=report.append, clear_globs=False)
        if report:
            raise self._error(block, "".join(report))

    # --- files ------------------------------------------------------------------------------------------------------

    def _yaml(self, block: Block) -> None:
        """Write it where its first line says so, and check what it is: a project file, a config.yml, or just YAML.

        A whole project file is written in any case, for the commands that follow.
        """
        data = yaml.safe_load(block.text)
        keys = set(data) if isinstance(data, dict) else set()
        name = file_name(block) or (PROJECT_FILE if {"version", "metadirs"} <= keys else None)
        text = block.text
        if "metadirs" not in keys and "jobs" in keys:
            # A part of a project file, shown without what is around it.
            indented = "".join(f"    {line}\n" for line in text.splitlines())
            text = f"version: 1\nmetadirs:\n  archive:\n    path: .\n{indented}"
            keys = {"metadirs"}
        path = self._write(name or ".checked.yaml", text)
        try:
            with _environment_for(text):
                if "metadirs" in keys:
                    load_project(path)
                elif keys & {"metadata", "remote"}:
                    load_config(path)
        except Exception as error:
            raise self._error(block, f"{type(error).__name__}: {error}") from error

    def _json(self, block: Block) -> None:
        try:
            json.loads(block.text)
        except ValueError as error:
            raise self._error(block, str(error)) from error

    def _write(self, name: str, text: str) -> Path:
        path = (self.folder / name).resolve()
        assert path.is_relative_to(self.folder.resolve()), name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
        return path

    # --- the shell --------------------------------------------------------------------------------------------------

    def _console(self, block: Block) -> None:
        """Commands after ``$ ``, each with the output that follows it; no output shown means not compared."""
        command, shown, at = "", list[str](), block.line
        for number, text in enumerate([*block.text.splitlines(), "$ "], block.line):
            if text.startswith("$ "):
                self._command(block, command, "\n".join(shown), at)
                command, shown, at = text[2:], [], number
            elif not shown and (command.endswith("\\") or text.startswith("> ")):
                command += "\n" + text.removeprefix("> ")
            else:
                shown.append(text)

    def _bash(self, block: Block) -> None:
        """Commands without a prompt, one after the other; nothing is compared."""
        if any(line.startswith("$ ") for line in block.text.splitlines()):
            self._console(block)
            return
        command = ""
        for number, line in enumerate(block.text.splitlines(), block.line):
            command += line + "\n"
            if not line.endswith("\\") and _complete(command):
                self._command(block, command, "", number)
                command = ""
        if command.strip():
            raise self._error(block, f"the command does not end: {command}")

    def _command(self, block: Block, command: str, shown: str, line: int) -> None:
        command = command.strip().replace(".venv/bin/", "")
        if not command or command.startswith("#"):
            return
        runnable = self._instead(block, command, shown, line)
        if runnable is None:
            return
        state = shlex.quote(str(self.folder / ".home" / "state"))
        keep = f'code=$?; {{ declare -px; printf "cd %q\\n" "$PWD"; }} > {state}; exit $code'
        if "cwd" in block.directives:
            runnable = f"(cd {shlex.quote(str(self.folder / block.directives['cwd']))} && {runnable})"
        process = subprocess.run(
            ["bash", "-c", f"trap {shlex.quote(keep)} EXIT\n[ -f {state} ] && . {state}\n{runnable}\n"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        expected = int(block.directives.get("exit", "0"))
        if process.returncode != expected:
            raise self._error(
                block, f"$ {command}\nended with {process.returncode}, not {expected}:\n{process.stdout}", line=line
            )
        if shown.strip():
            self._compare(block, process.stdout, shown, line=line, what=f"$ {command}\n")

    def _instead(self, block: Block, command: str, shown: str, line: int) -> str | None:
        """What to run for a command, or None where it sets up a machine and looking at it is enough."""
        words = shlex.split(command, comments=True)
        while words and re.fullmatch(r"[A-Za-z_]+=.*", words[0]):
            words.pop(0)
        if words[:1] == ["make"]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            for target in (word for word in words[1:] if "=" not in word):
                if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE):
                    raise self._error(block, f"the Makefile has no target {target!r}", line=line)
            return self._in_clone("python -m examples.demo") if words[1:] == ["demo"] and shown else None
        if words == ["pip", "install", "-e", "."]:
            return 'export PYTHONPATH="$PWD/src"'
        if words[:2] == ["create-dagster", "project"]:
            return _in_tests(f"from dagster_projects import lay_out; lay_out(Path({words[2]!r}), {words[2]!r})")
        if words[:2] == ["pip", "install"] or words[1:4] == ["-m", "pip", "install"]:
            project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            for extra in (name for names in re.findall(r"mmmeta\[([\w,-]+)\]", command) for name in names.split(",")):
                if not re.search(rf"^{re.escape(extra)} = \[", project, re.MULTILINE):
                    raise self._error(block, f"pyproject.toml has no extra {extra!r}", line=line)
            return None
        if words[:2] in (["git", "clone"], ["cd", "mmmeta"], ["dagster", "dev"]):
            return None
        if (words[:1] == ["datasette"] and shutil.which("datasette", path=self.environment["PATH"]) is None) or (
            "parquet" in words and importlib.util.find_spec("pyarrow") is None
        ):
            return None  # of extras that are not installed; other tests say what they do
        if words[:1] == ["rsync"] and shutil.which("rsync") is None:
            source, target = (repr(word) for word in words if not word.startswith("-") and word != "rsync")
            copy = f"copytree({source}, {target}, ignore=ignore_patterns('local'), dirs_exist_ok=True)"
            return f"python -c {shlex.quote(f'from shutil import copytree, ignore_patterns; {copy}')}"
        return self._in_clone(command) if "examples.demo" in words else command

    def _in_clone(self, command: str) -> str:
        return f"(cd {shlex.quote(str(self.clone()))} && {command})"

    # --- comparing --------------------------------------------------------------------------------------------------

    def _compare(self, block: Block, got: str, shown: str, *, line: int | None = None, what: str = "") -> None:
        if not same(got, shown):
            raise self._error(block, f"{what}shown:\n{shown}\ngot:\n{got}", line=line)

    def _error(self, block: Block, message: str, *, line: int | None = None) -> DocumentError:
        return DocumentError(f"{self.name}:{line or block.line}: {message}")


def _in_tests(code: str) -> str:
    """A command that runs Python with what the tests have."""
    path = f"import sys; from pathlib import Path; sys.path.append({str(ROOT / 'tests')!r})"
    return f"python -c {shlex.quote(f'{path}; {code}')}"


def _complete(command: str) -> bool:
    """Whether the shell would not ask for another line: no open quote, loop or here-document."""
    check = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
    return check.returncode == 0 and "here-document" not in check.stderr


def _line_of(error: BaseException, name: str) -> int | None:
    """The line of the document where an exception came from."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """In this folder, and with its modules importable, as for a script in it."""
    before = Path.cwd()
    known = set(sys.modules)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


@contextlib.contextmanager
def _warnings(expected: str | None) -> Iterator[None]:
    """Let warnings of one category pass, which have to come; all others are errors as everywhere in the tests."""
    if expected is None:
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    names = {warning.category.__name__ for warning in caught}
    assert names == {expected}, f"expected the warning {expected}, got {names or 'none'}"


@contextlib.contextmanager
def _environment_for(text: str) -> Iterator[None]:
    """Give the variables that a project file names some value, unless they have one."""
    names = [name for name in re.findall(r"env\.([A-Za-z_]\w*)", text) if name not in os.environ]
    os.environ.update(dict.fromkeys(names, "sqlite:///example.db"))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
