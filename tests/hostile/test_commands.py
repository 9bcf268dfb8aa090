"""Values that a hostile remote chooses, in the arguments of programs: no option, no code, no other file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.errors import JobError
from mmmeta.project import job_config

CODE = [
    ["awk", "{title}"],
    ["gawk", "-f", "{__path}"],
    ["sed", "{title}"],
    ["sed", "-n", "./{title}"],
    ["sed", "-e", "./{title}"],
    ["sed", "{__path}"],
    ["jq", "{title}", "./x"],
    ["flock", "l", "-c", "{title}"],
    ["flock", "l", "-c", "./{title}"],
    ["bash", "--init-file", "x", "-c", "{title}"],
    ["bash", "--init-file", "x", "-c", "./{title}"],
    ["bash", "--rcfile", "./{title}", "-i"],
    ["bash", "--norc", "x", "{title}"],
    ["bash", "{__path}"],
    ["sh", "./{title}"],
    ["python3", "{__path}"],
    ["python", "-c", "print('{title}')"],
    ["perl", "-ne", "print", "{title}"],
    ["env", "sh", "-c", "{title}"],
    ["nice", "-n", "5", "{title}"],
    ["xargs", "./{title}"],
    ["find", ".", "-exec", "./{title}", ";"],
    ["ssh", "host", "{title}"],
    ["tar", "xf", "x", "{title}"],
    ["grep", "-c", "-e", "x{title}", "{__path}"],
    ["env", "A={title}", "tool"],
    ["any-program", "{title}"],
    ["any-program", "x{title}"],
    ["any-program", "-x{title}"],
    ["any-program", "--name={title}"],
    ["any-program", "--eval", "./{title}"],
    ["any-program", "-e", "{__path}"],
    ["any-program", "s/{title}/x/"],
    ["any-program", "/{title}/"],
    ["any-program", "{content_hash}/{title}"],
    ["any-program", "https://{title}"],
]

ARGUMENTS = [
    (["any-program", "./{title}"], "./a b"),
    (["any-program", "../x/{title}.txt"], "../x/a b.txt"),
    (["any-program", "--out=./{title}"], "--out=./a b"),
    (["any-program", "https://example.org/{title}"], "https://example.org/a b"),
    (["sh", "-c", 'echo "$1"', "sh", "{title}"], "a b"),
    (["sh", "-euc", 'echo "$1"', "sh", "{title}"], "a b"),
    (["timeout", "5", "sh", "-c", 'echo "$1"', "sh", "{title}"], "a b"),
    (["sh", "./extract.sh", "{title}"], "a b"),
    (["python3", "extract.py", "{title}"], "a b"),
    (["python3", "-m", "extract", "{title}"], "a b"),
]


@pytest.mark.parametrize("run", CODE, ids=" ".join)
def test_a_place_where_a_value_may_be_code_is_refused(run: list[str]) -> None:
    """When the job is loaded, with a remedy; who knows better says so."""
    with pytest.raises(JobError, match=r"environment|further argument") as caught:
        job_config("j", command={"run": run})
    assert "command.run" in str(caught.value)
    assert job_config("j", command={"run": run, "unsafe": True}).command


@pytest.mark.parametrize(("run", "last"), ARGUMENTS, ids=[" ".join(run) for run, _ in ARGUMENTS])
def test_a_place_where_a_value_cannot_be_code(run: list[str], last: str) -> None:
    """Behind a path or an address, or behind a script that is handed its arguments."""
    from mmmeta.jobs.actions.arguments import fill_arguments

    command = job_config("j", command={"run": run}).command
    assert command is not None
    assert fill_arguments(command.run, {"title": "a b"}.get, lambda: "/x")[-1] == last


@pytest.mark.parametrize(
    "value", ["a; id", "a & id", "a | id", "$(id)", "`id`", "a\nid", "> x", "a\\b", "\x1b[2J", "a\u2028b"]
)
def test_what_a_shell_would_act_upon_reaches_no_program_that_may_be_one(archive: Archive, value: str) -> None:
    """It is the file's failure and says the remedy; behind a script, in the environment and with ``unsafe`` it arrives."""
    from mmmeta.errors import CommandError
    from mmmeta.jobs.actions.arguments import fill_arguments

    get = {"title": value}.get
    with pytest.raises(CommandError, match="environment"):
        fill_arguments(["any-program", "./{title}"], get, lambda: "/x")
    assert fill_arguments(["any-program", "./{title}"], get, lambda: "/x", unsafe=True)[1] == f"./{value}"
    assert fill_arguments(["sh", "-c", "true", "sh", "{title}"], get, lambda: "/x")[4] == value


def test_values_in_the_environment_arrive_as_they_are(archive: Archive, tmp_path: Path) -> None:
    """Under names of their own, so that none can be one that a program acts upon."""
    title = "$(id); rm -rf /\n--x `a` ü"
    archive.write("a", title=title, pages=3, tags=["x"], publisher={"name": "P"}, LD_PRELOAD="/evil.so", none=None)
    archive.deliver()
    out = tmp_path / "out.json"
    code = f"import json, os; json.dump(dict(os.environ), open({str(out)!r}, 'w'))"
    keys = ["title", "pages", "tags", "publisher:name", "LD_PRELOAD", "none", "missing"]
    job = archive.client.job("j", command={"run": [sys.executable, "-c", code], "environment": keys})
    os.environ["MMMETA_KEY_NONE"] = "somebody else's"
    try:
        assert job.run().done == 1
    finally:
        del os.environ["MMMETA_KEY_NONE"]
    found = {name: value for name, value in json.loads(out.read_text()).items() if name.startswith("MMMETA_KEY_")}
    assert found == {
        "MMMETA_KEY_TITLE": title,
        "MMMETA_KEY_PAGES": "3",
        "MMMETA_KEY_TAGS": '["x"]',
        "MMMETA_KEY_PUBLISHER_NAME": "P",
        "MMMETA_KEY_LD_PRELOAD": "/evil.so",
    }
    assert "LD_PRELOAD" not in json.loads(out.read_text())
    with pytest.raises(JobError, match="one name in the environment"):
        job_config("j", command={"run": ["true"], "environment": ["a:b", "a_b"]})


@pytest.mark.parametrize("name", ["a; id.pdf", "A & B.pdf", "$(id).pdf", "`id`.pdf", "a|b.pdf", "new\nline.pdf", "a;b"])
def test_a_document_with_a_name_that_a_shell_would_act_upon(archive: Archive, tmp_path: Path, name: str) -> None:
    """The program gets it by a link with a plain name, which is gone afterwards."""
    archive.client_path.mkdir(exist_ok=True)
    (archive.client_path / name).write_bytes(b"content")
    archive.write("a", _file_name=name)
    archive.deliver()
    out = tmp_path / "out.json"
    code = f"import json, sys; json.dump([sys.argv[1], open(sys.argv[1]).read()], open({str(out)!r}, 'w'))"
    rules: dict[str, Any] = {"command": {"run": [sys.executable, "-c", code, "{__path}"]}}
    with Metadir(archive.client_path) as client:
        assert client.job("j", **rules).run().done == 1
    path, content = json.loads(out.read_text())
    assert content == "content"
    assert not set(";&|<>$`\\\n") & set(path)
    assert Path(path).suffix == Path(name).suffix
    assert not os.path.lexists(path)
