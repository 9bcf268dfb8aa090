"""The action ``command`` with real programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from commands import failures, publish, python, run

from mmmeta.errors import JobError, MmmetaError
from mmmeta.jobs.actions.arguments import fill_arguments

WRITE = "import json, os, sys; json.dump([sys.argv[1:], dict(os.environ), os.getcwd()], open(os.environ['MMMETA_FILE'], 'w'))"
"""A program that writes what it was given into a file named after the document."""


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_program_runs_once_for_each_file(archive: Archive, tmp_path: Path) -> None:
    """Placeholders are filled in; the environment says which file, job and run; the folder is the one given."""
    publish(archive, "a", "b", title="x; rm -rf / $(id) 'q\"\n*", publisher={"id": 7}, public=True)
    report = run(archive, tmp_path, python(WRITE, "{title}", "--id={publisher:id}", "{public}{content_hash}", "-x"))
    assert (report.done, report.failed) == (2, 0)
    arguments, environment, folder = json.loads((tmp_path / "a").read_text())
    assert arguments == ["x; rm -rf / $(id) 'q\"\n*", "--id=7", "truea", "-x"]
    assert (environment["MMMETA_FILE"], environment["MMMETA_JOB"], environment["MMMETA_RUN_ID"]) == ("a", "j", "r1")
    assert "MMMETA_DELETED" not in environment
    assert folder == str(tmp_path)


def test_a_shell_that_speaks_another_language(tmp_path: Path) -> None:
    """Names and values are UTF-8 for the program too, where Python takes the locale's letters for names of files."""
    code = (
        "import sys; from threading import Event; from mmmeta.program import run_program; "
        "from pathlib import Path; out = sys.argv[1]; "
        "ended = run_program(['/bin/sh', '-c', 'printf %s \"$1$V\" > out', 'sh', 'дело'], folder=out, "
        "environment={'V': 'ä', 'PATH': '/usr/bin:/bin'}, timeout=None, stopped=Event()); assert ended.code == 0"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    latin = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for language in ({}, latin):
        script = tmp_path / "script.py"
        script.write_text(code, encoding="utf-8")
        subprocess.run([sys.executable, str(script), str(tmp_path)], env={**environment, **language}, check=True)
        assert (tmp_path / "out").read_bytes() == "делоä".encode()


def test_the_document_is_named_by_its_path(archive: Archive, tmp_path: Path) -> None:
    """Only one that is here and below the files root."""
    archive.client_path.mkdir()
    (archive.client_path / "a.pdf").write_bytes(b"a")
    archive.write("a", _file_name="a.pdf")
    archive.write("gone", _file_name="gone.pdf")
    archive.write("outside", public_url="/etc/passwd")
    archive.write("web", public_url="https://user:secret@example.org/x")
    archive.deliver()
    report = run(archive, tmp_path, python(WRITE, "{__path}"))
    found = failures(report)
    assert json.loads((tmp_path / "a").read_text())[0] == [str(archive.client_path / "a.pdf")]
    assert found["gone"] == f"DownloadError: {archive.client_path}/gone.pdf: is not there, or no file"
    assert "lies outside the folders that may be read" in found["outside"]
    assert "name the folder as files_root" in found["outside"]
    assert "is not on this machine" in found["web"]
    assert "secret" not in found["web"]


@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("{x}", "-rf", "take it for an option"),
        ("{x}", -5, "take it for an option"),
        ("{x}", "a\0b", "NUL"),
        ("{x}", "/etc/passwd", "absolute path"),
        ("--out={x}", "/etc/passwd", "absolute path"),
        ("./text/{x}.txt", "../../etc/x", "another folder"),
        ("./text/{x}", "..", "another folder"),
        ("./text/.{x}", "./x", "another folder"),
        ("{x}", None, "the key 'x' is missing"),
        ("{x}", "", "the key 'x' is empty"),
        ("{x}", [1], "holds list"),
    ],
)
def test_a_value_that_cannot_stand_there(argument: str, value: Any, reason: str) -> None:
    """It is refused before anything is started."""
    with pytest.raises(MmmetaError, match=reason):
        fill_arguments(["program", argument], {"x": value}.get, lambda: "/document", unsafe=True)


@pytest.mark.parametrize(
    ("argument", "value", "filled"),
    [
        ("./{x}", "-rf", "./-rf"),
        ("--title={x}", "-rf", "--title=-rf"),
        ("{x}", "a b", "a b"),
        ("{x}", "..a/b..", "..a/b.."),
        ("{x}{x}", "$(id)", "$(id)$(id)"),
        ("{x}", "https://example.org/a", "https://example.org/a"),
        ("in={__path}", "", "in=/document"),
        ("{x}", "{y}", "{y}"),
    ],
)
def test_a_value_that_can(argument: str, value: Any, filled: str) -> None:
    """One argument stays one argument, and what is filled in is not looked at again."""
    assert fill_arguments(["program", argument], {"x": value}.get, lambda: "/document", unsafe=True) == [
        "program",
        filled,
    ]


def test_a_program_that_fails(archive: Archive, tmp_path: Path) -> None:
    """Its exit code and the last line of stderr are the message, the end of stderr the lines; the others go on."""
    publish(archive, *"abcd")
    code = (
        "import os, signal, sys; file = os.environ['MMMETA_FILE']\n"
        "print('not kept')\n"
        "if file == 'a': sys.stderr.write('x' * 9000 + '\\nlast \\xff words\\n\\n'); sys.exit(3)\n"
        "if file == 'b': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "if file == 'c': sys.exit(4)\n"
    )
    report = run(archive, tmp_path, python(code))
    assert report.done == 1
    assert failures(report) == {
        "a": "CommandFailed: exit code 3: last ÿ words",
        "b": "CommandFailed: ended by signal SIGSEGV, and nothing on stderr",
        "c": "CommandFailed: exit code 4, and nothing on stderr",
    }
    lines = {entry.file: entry.error_lines for entry in archive.client.job("j").files("failed")}
    assert len(lines["a"] or "") == 4000
    assert (lines["a"] or "").endswith("x\nlast ÿ words\n\n")


def test_a_program_that_talks_without_end(archive: Archive, tmp_path: Path) -> None:
    """Only the end of it is kept, and it never waits for a reader."""
    publish(archive, "a")
    code = "import sys\nfor _ in range(20000): sys.stderr.write('x' * 1000 + '\\n'); sys.stdout.write('y' * 1000)\nsys.exit(1)"
    assert failures(run(archive, tmp_path, python(code)))["a"].startswith("CommandFailed: exit code 1: xxx")


def test_stdin_is_empty(archive: Archive, tmp_path: Path) -> None:
    """Nothing waits for a person."""
    publish(archive, "a")
    assert run(archive, tmp_path, python("import sys; sys.exit(len(sys.stdin.read()))")).done == 1


FAMILY = (
    "import os, signal, subprocess, sys, time\n"
    "if {deaf}: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal, time\\n'\n"
    "    'if {deaf}: signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n'\n"
    "    'print(1, flush=True); time.sleep(600)'], stdout=subprocess.PIPE)\n"
    "child.stdout.readline()\n"
    "open('pids.part', 'w').write('%d %d' % (os.getpid(), child.pid)); os.rename('pids.part', 'pids')\n"
    "{end}"
)
"""A program with a child of its own; both ignore being asked to end where ``deaf``."""


def pids(folder: Path) -> list[int]:
    return [int(word) for word in (folder / "pids").read_text().split()]


@pytest.mark.parametrize("deaf", [False, True])
def test_the_whole_group_ends_when_the_time_is_over(
    deaf: bool, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked first, made to after."""
    monkeypatch.setattr("mmmeta.program.GRACE", 0.3)
    publish(archive, "a")
    report = run(archive, tmp_path, python(FAMILY.format(deaf=deaf, end="time.sleep(600)")), timeout=3)
    assert failures(report) == {"a": "TimeoutError: took longer than 3 seconds, the job's timeout, and was ended"}
    assert len(pids(tmp_path)) == 2
    wait_for(lambda: not any(is_alive(pid) for pid in pids(tmp_path)))


def test_what_a_program_leaves_running_ends_with_it(archive: Archive, tmp_path: Path) -> None:
    """Otherwise every attempt would leave one more, and stderr would stay open."""
    publish(archive, "a")
    assert run(archive, tmp_path, python(FAMILY.format(deaf=True, end=""))).done == 1
    wait_for(lambda: not any(is_alive(pid) for pid in pids(tmp_path)))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_ends_its_programs(workers: int, archive: Archive, tmp_path: Path) -> None:
    """Ctrl-C: in this thread or in others, the group ends and the file counts as untried."""
    publish(archive, "a")

    def interrupt() -> None:
        wait_for((tmp_path / "pids").exists)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run(archive, tmp_path, python(FAMILY.format(deaf=False, end="time.sleep(600)")), workers=workers)
    watcher.join()
    wait_for(lambda: not any(is_alive(pid) for pid in pids(tmp_path)))
    status = archive.client.job("j").status()
    assert (status.pending, status.claimed, status.failed) == (1, 0, 0)


def test_an_interrupt_while_a_program_starts_ends_it(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, and whoever has started it does not know its number yet, as on a busy machine."""
    publish(archive, "a")
    start = subprocess.Popen

    def slowly(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*arguments, **options)
        wait_for((tmp_path / "pids").exists)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        return process

    monkeypatch.setattr(subprocess, "Popen", slowly)
    with pytest.raises(KeyboardInterrupt):
        run(archive, tmp_path, python(FAMILY.format(deaf=False, end="time.sleep(600)")))
    monkeypatch.undo()
    wait_for(lambda: not any(is_alive(pid) for pid in pids(tmp_path)))
    assert archive.client.job("j").status().pending == 1


def test_programs_at_the_same_time(archive: Archive, tmp_path: Path) -> None:
    """As many as the job has workers."""
    publish(archive, *(f"{number:02}" for number in range(12)))
    assert run(archive, tmp_path, python(WRITE), workers=4).done == 12
    assert len(list(tmp_path.glob("[01]*"))) == 12


def test_a_missing_program_uses_up_no_attempts(archive: Archive, tmp_path: Path) -> None:
    """It is the definition's fault, not the files'; a relative program lies in the folder."""
    publish(archive, "a")
    (tmp_path / "data").write_text("no program")
    for name, reason in {
        "no-such-program": "'no-such-program' was not found in PATH",
        "./no-such-program": f"'./no-such-program' was not found as an executable in {tmp_path}",
        "./data": "was not found as an executable",
    }.items():
        with pytest.raises(JobError, match=reason):
            run(archive, tmp_path, [name])
    with pytest.raises(JobError, match="there is no folder"):
        run(archive, tmp_path / "nowhere", ["true"])
    assert archive.client.job("j").status().pending == 1
    script = tmp_path / "bin" / "script"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\nexit 5\n")
    script.chmod(0o755)
    assert "exit code 5" in failures(run(archive, tmp_path, ["bin/script"]))["a"]


def test_a_program_that_cannot_start(archive: Archive, tmp_path: Path) -> None:
    """Such as with an argument that is too long for the system: the file's failure."""
    publish(archive, "a", text="x" * 300_000)
    found = failures(run(archive, tmp_path, ["true", "./{text}"]))["a"]
    assert found.startswith("CommandError: ")
    assert "Argument list too long" in found


def test_a_deleted_file_is_handed_over_to_be_undone(archive: Archive, tmp_path: Path) -> None:
    """With MMMETA_DELETED=1, and a document that need not be there any more."""
    archive.client_path.mkdir()
    (archive.client_path / "a.pdf").write_bytes(b"a")
    publish(archive, "a", _file_name="a.pdf")
    rules: dict[str, Any] = {"on_delete": "action"}
    assert run(archive, tmp_path, python(WRITE, "{__path}"), **rules).done == 1
    (archive.client_path / "a.pdf").unlink()
    archive.server.files.delete(content_hash="a")
    archive.sync()
    archive.client.update()
    assert run(archive, tmp_path, python(WRITE, "{__path}"), **rules).retracted == 1
    arguments, environment, _ = json.loads((tmp_path / "a").read_text())
    assert arguments == [str(archive.client_path / "a.pdf")]
    assert environment["MMMETA_DELETED"] == "1"


def test_nobody_knows_where_results_are(archive: Archive, tmp_path: Path) -> None:
    """So they can be adopted by name only."""
    publish(archive, "a")
    with pytest.raises(JobError, match="nobody knows where its results are"):
        archive.client.job("j", command={"run": ["true"]}).adopt_present()
