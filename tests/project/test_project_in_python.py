"""Jobs and metadirs made in Python, and what of a job makes it another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mmmeta.errors import JobError
from mmmeta.filters import All, Compare
from mmmeta.project import (
    DownloadAction,
    LoadAction,
    MetadirConfig,
    job_config,
)


def test_a_job_made_in_python() -> None:
    """By the rules of the project file, without an action if one likes; relative paths are the current directory's."""
    config = job_config("pdfs", {"extension": "pdf"}, attempts=2, backoff="5m", limit={"bytes": "1MB"})
    assert (config.name, config.action, config.attempts, config.backoff) == ("pdfs", None, 2, 300)
    assert config.condition == Compare("extension", "=", "pdf")
    assert job_config("all").condition == All(())
    assert job_config("d", download={"to": "x"}).download == DownloadAction(to=str(Path.cwd() / "x"))
    given = LoadAction(to="sqlite:////x.db", table="t")
    assert job_config("l", load=given).load is given
    with pytest.raises(JobError, match="'name' is not a rule"):
        job_config("l", **{"name": "m"})


def test_reserved_names_bind_the_project_file_only() -> None:
    """In Python nothing is named after a job, so ``import`` is a good name there."""
    assert job_config("import").name == "import"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a" * 201}, "a name of 201 characters is too long for a job: 200 at most"),
        ({"name": "a b"}, "'a b' cannot name a job. Use only letters, digits and _: a_b"),
        ({"name": "j", "attempt": 5}, "Job 'j': 'attempt' is not a rule. Did you mean 'attempts'?"),
        ({"name": "j", "zzz": 5}, "There are download, load"),
        ({"name": "j", "attempts": 0}, "Job 'j': attempts: "),
        ({"name": "j", "where": {"a": {"lik": 1}}}, "where.a.lik: a: 'lik' is not an operator"),
        ({"name": "j", "where": [1]}, "where: needs a filter"),
        ({"name": "j", "download": {"to": "x", "nme": "y"}}, "download.nme"),
    ],
)
def test_a_wrong_job_in_python_is_a_job_error(arguments: dict[str, Any], message: str) -> None:
    """It names job and rule, in one line."""
    with pytest.raises(JobError) as caught:
        job_config(arguments["name"], **{rule: value for rule, value in arguments.items() if rule != "name"})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_metadir_made_in_python(tmp_path: Path) -> None:
    """As the code location does without a project file."""
    metadir = MetadirConfig(name="mmmeta", path=tmp_path, jobs={"j": job_config("j")})
    assert metadir.jobs["j"].name == "j"
    with pytest.raises(ValidationError, match="stands under another name"):
        MetadirConfig(name="mmmeta", path=tmp_path, jobs={"k": job_config("j")})


def test_models_do_not_change() -> None:
    """They are handed to many."""
    with pytest.raises(ValidationError):
        job_config("j").attempts = 7  # type: ignore[misc]


def test_the_fingerprint_follows_what_the_job_would_do() -> None:
    """Selection, due rules and action; not how the work is cut up or shown."""
    base = job_config("j", {"a": 1, "b": 2}, call={"function": "a:b"})
    same: list[dict[str, Any]] = [
        {"workers": 8},
        {"batch_size": 7},
        {"lease": "5m"},
        {"tags": {"a": "b"}},
        {"run_tags": {"a": "b"}},
        {"owners": ["a@b.de"]},
        {"automation": "x"},
        {"fail_run_above": 0.5},
        {"backoff": 60},
        {"attempts": 5},
    ]
    for rules in same:
        assert job_config("j", {"b": 2, "a": 1}, call={"function": "a:b"}, **rules).fingerprint() == base.fingerprint()
    other: list[dict[str, Any]] = [
        {"where": {"a": 1}},
        {"where": {"a": True, "b": 2}},
        {"where": {"a": 1, "b": "2"}},
        {"where": {"a": 1, "b": 2.0}},
        {"call": {"function": "a:c"}},
        {"call": {"function": "a:b", "batch": True}},
        {"call": None},
        {"call": None, "download": {"to": "/x"}},
        {"call": None, "download": {"to": "/x", "name": "{a}"}},
        {"call": None, "load": {"to": "sqlite:////x", "table": "t"}},
        {"call": None, "load": {"to": "sqlite:////x", "table": "u"}},
        {"rerun_on": "never"},
        {"rerun_on": ["a"]},
        {"attempts": 6},
        {"backoff": 61},
        {"limit": {"files": 5}},
        {"limit": {"bytes": 5}},
        {"order_by": "a"},
    ]
    prints = {
        job_config("j", **{"where": {"a": 1, "b": 2}, "call": {"function": "a:b"}, **rules}).fingerprint()
        for rules in other
    }
    assert len(prints) == len(other)
    assert base.fingerprint() not in prints
    assert len(base.fingerprint()) == 32


def test_a_new_password_is_not_a_new_job() -> None:
    """And the fingerprint, which is written to files, is not made of it."""

    def fingerprint(url: str) -> str:
        return job_config("j", load={"to": url, "table": "t"}).fingerprint()

    assert fingerprint("postgresql://u:one@h/d") == fingerprint("postgresql://u:two@h/d")
    assert fingerprint("postgresql://h/d?user=u&password=1") == fingerprint("postgresql://h/d?user=u&password=2")
    assert fingerprint("postgresql://u:one@h/d") != fingerprint("postgresql://u:one@h/e")
    assert "hunter2" not in repr(job_config("j", load={"to": "postgresql://u:hunter2@h/d", "table": "t"}))
