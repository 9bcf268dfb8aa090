"""How ``command`` may be written: which words are code, what a placeholder stands for, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from commands import publish, run

from mmmeta import load_project
from mmmeta.errors import CommandError, JobError, MmmetaError, ProjectError
from mmmeta.jobs.actions.arguments import fill_arguments
from mmmeta.project import job_config
from mmmeta.project.actions import CommandAction


def project(folder: Path, command: str) -> Any:
    (folder / "mmmeta.yaml").write_text(
        f"version: 1\nmetadirs:\n  archive:\n    path: ./client\n    jobs:\n      text:\n        command: {command}\n"
    )
    return load_project(folder / "mmmeta.yaml", {"TOOL": "pdftotext"}).metadirs["archive"].jobs["text"]


def test_a_command_in_the_project_file(tmp_path: Path) -> None:
    """Runs in the project file's folder; the fingerprint follows the arguments."""
    job = project(tmp_path, """{run: ["{{ env.TOOL }}", "{__path}", "./text/{a:b}.txt"]}""")
    assert job.command.run == ["pdftotext", "{__path}", "./text/{a:b}.txt"]
    assert job.command.folder == str(tmp_path)
    assert job.action is job.command
    other = project(tmp_path, "{run: [pdftotext], folder: ./work}")
    assert other.command.folder == str(tmp_path / "work")
    assert other.fingerprint() != job.fingerprint()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("\"pdftotext {__path} -o 'a b'\"", 'for no shell reads it: {run: [pdftotext, "{__path}", -o, "a b"]}'),
        ('{run: "pdftotext {__path}"}', 'needs a list of arguments, for no shell reads it: [pdftotext, "{__path}"]'),
        ("[pdftotext, x]", "the list stands below run:"),
        ("{run: []}", "Name a program"),
        ('{run: ["{x}"]}', "metadata cannot decide which program runs"),
        ('{run: [awk, "{print}}"]}', "Put what needs braces into a script"),
        ('{run: [a, "{__x}"]}', "There is {__path}"),
        ("{run: [head, -n, 5]}", "needs text. Quote it"),
        ("{run: [a], fodler: x}", "Did you mean 'folder'?"),
        ("{run: [a]}\n        call: {function: 'a:b'}", "2 actions, call and command"),
    ],
)
def test_a_wrong_command_is_named(command: str, message: str, tmp_path: Path) -> None:
    """With the line, and with the list where somebody wrote a shell line."""
    with pytest.raises(ProjectError) as caught:
        project(tmp_path, command)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/mmmeta.yaml:")
    assert "\n" not in str(caught.value)


def test_a_job_made_in_python() -> None:
    """A tuple does as well; the folder is the current one."""
    job = job_config("j", command={"run": ("true", "./{x}")})
    assert job.command is not None
    assert (job.command.run, job.command.folder) == (["true", "./{x}"], str(Path.cwd()))
    with pytest.raises(JobError, match="no shell reads it"):
        job_config("j", command={"run": "true"})
    assert issubclass(CommandError, MmmetaError)


@pytest.mark.parametrize(
    "run",
    [
        ["sh", "-c", "echo {title}"],
        ["/bin/bash", "-ec", "echo {title}"],
        ["bash", "-o", "pipefail", "-c", "-e", "echo {title}", "sh"],
        ["env", "A=1", "zsh", "-lc", "echo {title}"],
        ["env", "-S", "sh -c {title}"],
        ["nice", "python3.12", "-W", "ignore", "-Ic", "print('{title}')"],
        ["python", "-cprint('{title}')"],
        ["perl", "-ne", "print {title}"],
        ["ruby", "-e", "puts {title}"],
        ["node", "--eval=console.log('{title}')"],
        ["node", "-p", "{title}"],
        ["php", "-r", "echo {title};"],
    ],
    ids=lambda run: " ".join(run),
)
def test_metadata_is_no_code(run: list[str]) -> None:
    """Neither for a shell nor for another interpreter; the error says how it goes."""
    with pytest.raises(JobError, match=r"run\[\d+\]: this argument is code, .* Give it as a further argument"):
        job_config("j", command={"run": run})


@pytest.mark.parametrize(
    "run",
    [
        ["sh", "-c", 'echo "$1"', "sh", "{title}"],
        ["bash", "script.sh", "-c", "./{title}"],
        ["python", "-m", "tool", "-c", "{n}"],
        ["python", "script.py", "-c", "{title}"],
        ["perl", "-w", "script.pl", "{title}"],
        ["python", "-u", "script.py", "{title}"],
        ["nice", "sh", "-eu", "script.sh", "{title}"],
    ],
    ids=lambda run: " ".join(run),
)
def test_arguments_of_a_script_are_none(run: list[str]) -> None:
    """They stay what they are."""
    assert job_config("j", command={"run": run}).command is not None


def test_defaults_in_arguments() -> None:
    """They stand for what is missing, and go through what values go through."""
    run = ["program", "./{dir}/{x|no title}.txt", "a{x|}"]
    assert fill_arguments(run, {"dir": ""}.get, lambda: "/document") == ["program", "./no title.txt", "a"]
    with pytest.raises(CommandError, match="absolute path"):
        fill_arguments(["program", "--out={x|/etc}"], {}.get, lambda: "/document", unsafe=True)


@pytest.mark.parametrize("argument", ["./{x|../..}", "./{x|a;b}", "./{x|$(id)}"])
def test_a_default_that_cannot_stand_in_an_argument(argument: str, tmp_path: Path, archive: Archive) -> None:
    """It is said before any file is tried."""
    publish(archive, "a")
    with pytest.raises(JobError, match="cannot stand here"):
        run(archive, tmp_path, ["true", argument])


def test_the_documents_path_has_no_default() -> None:
    """A file without its document fails; nothing else could be handed over."""
    with pytest.raises(ValueError, match="no default"):
        CommandAction(run=["cat", "{__path|x}"])
