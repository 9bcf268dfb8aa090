"""Generate with a second process: what comes of it is what comes of one, whatever becomes of the second."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, SettableClock

from mmmeta import GenerateReport, Metadir
from mmmeta.metadata.generate import ahead, hashing, second

CONFIGS = [
    "",
    "metadata: {unique: path}\nignore: ['*.skip.json']\n",
    "metadata: {derive: false, include: [title, publisher], required: [title]}\ndates: {title: ['%d.%m.%Y']}\n",
]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The second processes that were started, which is done for a few files, also where there is one core."""
    found: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            found.append(self)

    monkeypatch.setattr(second, "CORES", 2)
    monkeypatch.setattr(second, "PATIENCE", 60_000)
    monkeypatch.setattr(ahead, "FROM", 3)
    monkeypatch.setattr(ahead, "_TOGETHER", 4)
    monkeypatch.setattr(ahead, "_SIZE", 20_000)
    monkeypatch.setattr(hashing, "FROM", 5)
    monkeypatch.setattr(hashing, "_TOGETHER", 3)
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", Noted)
        yield found
    assert [process.pid for process in found if process.poll() is None] == []


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    plain = [
        None,
        True,
        False,
        0,
        -0.0,
        1e16,
        1.5e300,
        2**70,
        -(2**63),
        "",
        "00123",
        "Ä\u0308 台北",
        "x" * 300,
        [],
        {},
        0.1,
    ]
    if depth < 3 and rng.random() < 0.4:
        if rng.random() < 0.5:
            return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
        return {rng.choice(["a", "b", "a:b", "Größe", "x.y"]): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return rng.choice(plain)


def messy(root: Path, count: int = 90) -> None:
    """Metadata files of all sorts, good and bad, with documents and without, the same for each call."""
    rng = random.Random("two processes")
    bad = [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe{\x00",
        b'{"content_hash": NaN}',
        b'{"a": 1}\n{"a": 2}',
        b"null",
        b'{"a": "\\ud800"}',
    ]
    for number in range(count):
        folder = root / rng.choice(["", "a", "a/b", "a/b/c", "é", "only/json"])
        folder.mkdir(parents=True, exist_ok=True)
        record: dict[str, Any] = {rng.choice(["title", "n", "__x", "e"]): value(rng) for _ in range(3)}
        record |= {"title": f"0{number % 9 + 1}.03.2026", "publisher": {"name": value(rng), "id": number}}
        if rng.random() < 0.5:
            record["content_hash"] = f"{rng.randrange(60)}"
        if rng.random() < 0.2:
            record["text"] = "long " * 5_000
        data = rng.choice(bad) if rng.random() < 0.15 else json.dumps(record).encode()
        name = f"{number}{rng.choice(['.pdf', '', '.skip', '.json'])}"
        (folder / f"{name}.json").write_bytes(b"\xef\xbb\xbf" + data if rng.random() < 0.1 else data)
        if rng.random() < 0.6 and folder.name != "json":
            (folder / (f"{number}.pdf" if rng.random() < 0.7 else name or "x")).write_bytes(rng.randbytes(number * 500))
    (root / "lines.jsonl").write_text("\n".join(json.dumps({"content_hash": f"l{n % 20}", "n": n}) for n in range(30)))
    (root / "a" / "broken.json").symlink_to("nowhere")
    (root / "a" / "folder.json").mkdir()
    (root / "sparse.json").write_bytes(b"")
    os.truncate(root / "sparse.json", 70_000_000)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            stamp = 1_700_000_000 + rng.randrange(1_000)
            os.utime(path, (stamp, stamp))


def published(m: Metadir, report: GenerateReport) -> tuple[GenerateReport, dict[str, list[dict[str, Any]]]]:
    """The report and all that the metadata db holds, its id left out."""
    found = {}
    connection = sqlite3.connect(m.layout.meta_db)
    connection.row_factory = sqlite3.Row
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
        found[table] = [row for row in rows if row.get("name") not in ("id", "replaces")]
    connection.close()
    return replace(report, duration=0.0), found


def generated(root: Path, config: str, *, no_meta: bool) -> list[Any]:
    """What a first generate, one with changes and one with nothing new publish; the folder is left as it was."""
    found = []
    metadir = root / "_mmmeta"
    with Metadir(root) as m:
        metadir.mkdir(exist_ok=True)
        m.layout.config.write_text(config)
    with Metadir(root, clock=SettableClock()) as m:
        found.append(published(m, m.generate(no_meta=no_meta)))
        found.append(published(m, m.generate(no_meta=no_meta)))
        found.append(published(m, m.generate(no_meta=no_meta, replace=True)))
    for path in sorted(metadir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    metadir.rmdir()
    return found


@pytest.mark.parametrize("no_meta", [False, True], ids=["metadata", "no_meta"])
@pytest.mark.parametrize("config", CONFIGS, ids=["default", "path", "narrow"])
def test_two_processes_publish_what_one_does(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, config: str, no_meta: bool
) -> None:
    """The same rows in the same order, the same problems, notes, duplicates and set-aside files."""
    messy(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(second, "CORES", 1)
        one = generated(tmp_path, config, no_meta=no_meta)
    assert started == []
    two = generated(tmp_path, config, no_meta=no_meta)
    assert len(started) >= 2
    assert two == one
    assert one[0][0].problem_count > 5
    assert one[0][0].added > 20


def write(archive: Archive, count: int = 60) -> None:
    """Metadata files with documents whose digests are computed."""
    for number in range(count):
        archive.write(f"{number // 10}/{number}.pdf", json.dumps({"n": number}).encode())
        (archive.server_path / f"{number // 10}/{number}.pdf").write_bytes(b"%d" % number * 1_000)


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9])
def test_a_second_process_that_is_killed_costs_nothing(
    archive: Archive, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """No file is lost or comes twice, whenever it happens: what it does not answer is read here."""
    write(archive)
    real = second.SecondProcess.answer
    asked = []

    def killed(process: second.SecondProcess, number: int) -> Any:
        asked.append(number)
        if len(asked) == after + 1:
            started[0].kill()
            time.sleep(0.05)
        return real(process, number)

    monkeypatch.setattr(second.SecondProcess, "answer", killed)
    report = archive.server.generate()
    assert len(asked) > after
    assert (report.added, report.problem_count, report.duplicates) == (60, 0, 0)
    assert sorted(file["n"] for file in archive.server.files) == list(range(60))
    assert len(started) == 1


@pytest.mark.parametrize("program", ["nowhere", "python3-silent", "python3-talks", "uwsgi"])
def test_what_is_no_python_is_done_without(
    archive: Archive,
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    program: str,
) -> None:
    """A program that embeds Python may be called anything, and do anything when it is started again."""
    fake = tmp_path / program
    if program != "nowhere":
        fake.write_text(
            "#!/bin/sh\necho 'Welcome to the interpreter of this program'\n" if "talks" in program else "#!/bin/sh\n"
        )
        fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    write(archive, 20)
    assert archive.server.generate().added == 20
    assert len(started) == program.startswith("python")


def test_few_files_start_no_process(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do many of which few are new."""
    monkeypatch.setattr(second, "CORES", 2)
    monkeypatch.setattr(subprocess, "Popen", None)
    write(archive)
    assert archive.server.generate().added == 60
    monkeypatch.setattr(ahead, "FROM", 10)
    monkeypatch.setattr(hashing, "FROM", 10)
    time.sleep(0.02)
    archive.write("new")
    assert archive.server.generate().added == 1


def test_an_interrupt_ends_it(archive: Archive, started: list[subprocess.Popen[bytes]]) -> None:
    """At once, and the next generate has everything."""
    write(archive)

    def interrupt(text: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with Metadir(archive.server_path) as m, pytest.raises(KeyboardInterrupt):
        m.generate(progress=interrupt)
    assert len(started) == 1
    assert started[0].poll() is not None
    assert archive.server.generate().added == 60


SCRIPT = """
import multiprocessing, os, sys, time
print("begins", flush=True)
from mmmeta import Metadir
from mmmeta.metadata.generate import ahead, hashing, second
second.CORES, second.PATIENCE, ahead.FROM, hashing.FROM = 2, 60_000, 3, 5

def generate():
    real = second.SecondProcess.answer
    def answer(self, number):
        print("child", self._process.pid, flush=True)
        if sys.argv[2] == "waits":
            if os.fork() == 0:
                time.sleep(20)  # holds a copy of every pipe
                os._exit(0)
            time.sleep(60)
        return real(self, number)
    second.SecondProcess.answer = answer
    with Metadir(sys.argv[1]) as server:
        print("added", server.generate().added, flush=True)

if sys.argv[2] == "daemon":
    process = multiprocessing.get_context("fork").Process(target=generate, daemon=True)
    process.start()
    process.join()
else:
    generate()
"""


@pytest.mark.parametrize("how", ["plain", "daemon"])
def test_it_is_started_from_anywhere(archive: Archive, tmp_path: Path, how: str) -> None:
    """From a script that does not ask for ``__main__``, and from a process that may have no children of its own."""
    write(archive)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, script, archive.server_path, how], capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stdout.startswith("begins\nchild ")
    assert ran.stdout.endswith("added 60\n")
    assert ran.stdout.count("begins") == 1


def test_it_ends_when_the_first_process_is_killed(archive: Archive, tmp_path: Path) -> None:
    """Also where a fork of that lives on, for which the pipes are open."""
    write(archive)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script, archive.server_path, "waits"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        child = int(process.stdout.readline().split()[1])
        time.sleep(0.5)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and alive(child):
            time.sleep(0.1)
        assert not alive(child)
        os.killpg(process.pid, signal.SIGKILL)  # the fork
    assert archive.server.generate().added == 60


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody waits for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
