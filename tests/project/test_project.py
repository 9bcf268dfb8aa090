"""The project file: what it can say, how it is found, and what becomes of paths and environment variables."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from project_texts import job, load
from pydantic import ValidationError

import mmmeta
from mmmeta.config.validation import reason_of
from mmmeta.errors import ProjectError
from mmmeta.filters import All, AnyOf, Compare, describe
from mmmeta.project import (
    RESERVED_JOBS,
    CallAction,
    DownloadAction,
    JobConfig,
    LoadAction,
    MetadirConfig,
    SensorConfig,
    find_project,
    job_config,
    json_schema,
    load_project,
    schema_text,
)

FULL = """\
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./documents
    state: "{{ env.STATE_URL }}"
    generate: false
    sensor: {enabled: false, interval: 1m, attempts: 3}
    schedules: {import: "*/15 * * * *"}
    jobs:
      download_contracts:
        where: {document_type: contract}
        download: {to: ./downloads, name: "{_file_name}"}
      import_recent:
        where: {retrieved_at: {">=": {ago: 7d}}}
        load: {to: "{{ env.DB_URL }}", table: documents}
      extract:
        where: {$any: [{extension: pdf}, {"headers:content-type": {like: "application/pdf%"}}], $not: {is_public: false}}
        call: {function: "mypackage.extract:text", batch: false}
        rerun_on: content
        attempts: 5
        backoff: 1m
        lease: 10m
        batch_size: 100
        workers: 4
        limit: {files: 10000, bytes: 10GB}
        order_by: -retrieved_at
        fail_run_above: 0.5
        tags: {tier: 1}
        owners: [team:data, someone@example.org]
        automation: null
"""


def test_everything_that_it_can_say(tmp_path: Path) -> None:
    """The file of the design, whole."""
    project = load(tmp_path, FULL)
    assert project.version == 1
    assert project.path == tmp_path / "mmmeta.yaml"
    archive = project.metadirs["archive"]
    assert archive.name == "archive"
    assert archive.path == tmp_path / "client"
    assert archive.files_root == tmp_path / "documents"
    assert archive.state == str(tmp_path / "state" / "s.db")
    assert archive.state_path == tmp_path / "state" / "s.db"
    assert archive.generate is False
    assert (archive.sensor.enabled, archive.sensor.interval, archive.sensor.attempts) == (False, 60, 3)
    assert archive.schedules.import_ == "*/15 * * * *"
    assert archive.schedules.generate is None
    assert list(archive.jobs) == ["download_contracts", "import_recent", "extract"]
    download, load_, extract = archive.jobs.values()
    assert download.action == download.download == DownloadAction(to=str(tmp_path / "downloads"), name="{_file_name}")
    assert load_.action == load_.load == LoadAction(to=f"sqlite:///{tmp_path}/out.db", table="documents")
    assert extract.action == CallAction(function="mypackage.extract:text")
    assert extract.name == "extract"
    assert (extract.attempts, extract.backoff, extract.lease, extract.batch_size, extract.workers) == (
        5,
        60,
        600,
        100,
        4,
    )
    assert extract.limit is not None
    assert (extract.limit.files, extract.limit.bytes) == (10_000, 10_000_000_000)
    assert (extract.order_by, extract.fail_run_above) == ("-retrieved_at", 0.5)
    assert (extract.tags, extract.owners) == ({"tier": "1"}, ["team:data", "someone@example.org"])
    assert download.condition == Compare("document_type", "=", "contract")
    assert describe(load_.condition) == "retrieved_at is within the last 7 days"
    assert isinstance(extract.condition, All)
    assert any(isinstance(part, AnyOf) for part in extract.condition.parts)


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ("", 1_000),
        (", mode: append", 1_000),
        (", columns: [title]", 1_000),
        (", content: {column: text}", 100),
        ("}\n        batch_size: 7\n        tags: {", 7),
        (", content: {column: text}}\n        batch_size: 100\n        tags: {", 100),
    ],
)
def test_rows_of_a_table_are_claimed_a_thousand_at_once(tmp_path: Path, more: str, size: int) -> None:
    """Unless documents are read as well; what is said counts."""
    text = "metadirs:\n  m:\n    path: .\n    jobs:\n      j:\n"
    text += f"        load: {{to: 'sqlite:///t.db', table: t{more}}}\n"
    config = load(tmp_path, text).metadirs["m"].jobs["j"]
    assert config.batch_size == size
    assert job_config("j", load={"to": "sqlite:////t.db", "table": "t"}).batch_size == 1_000
    assert job_config("j", download={"to": "/tmp"}).batch_size == 100


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    """A metadir needs a path, a job an action; empty sections are none."""
    text = "metadirs:\n  m:\n    path: .\n    jobs:\n    sensor:\n    schedules:\n"
    metadir = load(tmp_path, text).metadirs["m"]
    assert (metadir.path, metadir.files_root, metadir.state, metadir.generate) == (tmp_path, None, None, False)
    assert metadir.state_path == tmp_path / "_mmmeta" / "local" / "state.db"
    assert (metadir.sensor.enabled, metadir.sensor.interval, metadir.sensor.attempts) == (True, 30, 20)
    assert (metadir.schedules.generate, metadir.schedules.import_, metadir.jobs) == (None, None, {})
    config = job(tmp_path, "")
    assert (config.where, config.condition, config.rerun_on) == ({}, All(()), "content")
    assert (config.attempts, config.backoff, config.lease, config.batch_size, config.workers) == (5, 60, 600, 100, 1)
    assert (config.limit, config.order_by, config.fail_run_above, config.automation) == (None, None, None, None)
    assert (config.tags, config.owners) == ({}, [])
    assert [
        job(tmp_path, f"workers: {workers}{more}", do="download: {to: d}").batch_size
        for workers, more in ((1, ""), (8, ""), (8, "\nbatch_size: 50"))
    ] == [100, 800, 50]
    assert job(tmp_path, "workers: 8").batch_size == 100
    assert job(tmp_path, "tags:\nowners:\nlimit:\norder_by:") == config


def test_dates_in_a_filter_are_dates(tmp_path: Path) -> None:
    """As YAML reads them: with and without time, with and without zone; quoted they are text."""
    where = 'where: {a: 2024-05-01, b: 2024-05-01T10:00:00, c: 2024-05-01T10:00:00Z, d: "2024-05-01", "=": {=: 5}}'
    assert job(tmp_path, where).where == {
        "a": date(2024, 5, 1),
        "b": datetime(2024, 5, 1, 10),
        "c": datetime(2024, 5, 1, 10, tzinfo=timezone.utc),
        "d": "2024-05-01",
        "=": {"=": 5},
    }


def test_aliases_and_merges_work(tmp_path: Path) -> None:
    """As in any YAML: a mapping's own keys win over merged ones, the first merged mapping over later ones."""
    text = """\
metadirs:
  m:
    path: .
    jobs:
      a: &a {call: {function: "x:y"}, attempts: 2, workers: 2}
      b: &b {<<: *a, attempts: 3, where: &where {k: 1}}
      c: {<<: [*b, *a], where: *where}
"""
    jobs = load(tmp_path, text).metadirs["m"].jobs
    assert [(entry.attempts, entry.workers) for entry in jobs.values()] == [(2, 2), (3, 2), (3, 2)]
    assert jobs["c"].where == {"k": 1}


@pytest.mark.parametrize(
    ("rules", "attribute", "expected"),
    [
        ("backoff: 90", "backoff", 90.0),
        ("backoff: 0", "backoff", 0.0),
        ("backoff: 1h30m", "backoff", 5400.0),
        ("lease: 2d", "lease", 172800.0),
        ("rerun_on: never", "rerun_on", "never"),
        ("rerun_on: [title, 'a:b']", "rerun_on", ["title", "a:b"]),
        ("fail_run_above: 0", "fail_run_above", 0.0),
        ("attempts: '7'", "attempts", 7),
        ("attempts: 7.0", "attempts", 7),
        ("order_by: title", "order_by", "title"),
    ],
)
def test_rules_are_read(tmp_path: Path, rules: str, attribute: str, expected: Any) -> None:
    """Durations become seconds; numbers may come as text, as variables do."""
    assert getattr(job(tmp_path, rules), attribute) == expected


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to wherever the command was typed; a home directory is known."""
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/somebody")
    text = """\
metadirs:
  a: {path: sub/../a, files_root: ~/files, state: s.db}
  b: {path: "file:///data/b%20c", state: "sqlite:////x/s.db", jobs: {j: {download: {to: "file://localhost/d"}}}}
  c: {path: /abs, state: "sqlite+pysqlite:///s2.db?timeout=5", jobs: {j: {load: {to: "sqlite:///o.db?x=1", table: t}}}}
  d: {path: d, jobs: {j: {load: {to: "postgresql://u:p@host/db", table: t}}}}
  e: {path: e, jobs: {j: {load: {to: "sqlite:////abs.db", table: t}}, k: {load: {to: "sqlite:///file:x?uri=true", table: t}}}}
"""
    a, b, c, d, e = load(tmp_path, text).metadirs.values()
    assert (a.path, a.files_root, a.state) == (tmp_path / "a", Path("/home/somebody/files"), str(tmp_path / "s.db"))
    assert (b.path, b.state) == (Path("/data/b c"), "/x/s.db")
    assert b.jobs["j"].download == DownloadAction(to="/d")
    assert c.state == str(tmp_path / "s2.db")
    targets = [entry.load.to for metadir in (c, d, e) for entry in metadir.jobs.values() if entry.load]
    assert targets[0] == f"sqlite:///{tmp_path}/o.db?x=1"
    assert targets[1:] == ["postgresql://u:p@host/db", "sqlite:////abs.db", "sqlite:///file:x?uri=true"]


def test_environment_variables_are_filled_in_everywhere(tmp_path: Path) -> None:
    """In every string, several in one, with and without a default; what they hold is not looked at again."""
    rules = """\
where: {a: ["{{ env.A }}-{{env.B}}", "{{ env.X | default('d') }}"], b: {"{{ env.A }}": 1, ">": 5}}
attempts: "{{ env.N }}"
tags: {t: '{{ env.EMPTY | default("x") }}.{{ env.X | default("") }}'}"""
    environ = {"A": "{{ env.B }}", "B": "b", "N": "7", "EMPTY": ""}
    with pytest.raises(ProjectError, match="is not an operator"):
        job(tmp_path, rules, environ)
    config = job(tmp_path, rules.replace('"{{ env.A }}": 1, ', ""), environ)
    assert config.where["a"] == ["{{ env.B }}-b", "d"]
    assert config.attempts == 7
    assert config.tags == {"t": "."}


def test_the_process_environment_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when the file is loaded, not at import."""
    monkeypatch.setenv("MMMETA_TEST_FOLDER", "x")
    (tmp_path / "p.yaml").write_text('metadirs: {m: {path: "{{ env.MMMETA_TEST_FOLDER }}"}}')
    assert load_project(tmp_path / "p.yaml").metadirs["m"].path == tmp_path / "x"
    assert load_project(str(tmp_path / "p.yaml")).metadirs["m"].path == tmp_path / "x"


def test_the_project_file_is_found(tmp_path: Path) -> None:
    """MMMETA_PROJECT before mmmeta.yaml of the current directory; neither is None."""
    assert find_project({}, tmp_path) is None
    (tmp_path / "mmmeta.yaml").write_text("")
    (tmp_path / "other.yaml").write_text("")
    assert find_project({}, tmp_path) == tmp_path / "mmmeta.yaml"
    assert find_project({"MMMETA_PROJECT": ""}, str(tmp_path)) == tmp_path / "mmmeta.yaml"
    assert find_project({"MMMETA_PROJECT": "other.yaml"}, tmp_path) == tmp_path / "other.yaml"
    assert find_project({"MMMETA_PROJECT": str(tmp_path / "other.yaml")}, Path("/")) == tmp_path / "other.yaml"


@pytest.mark.parametrize(("name", "reason"), [("gone.yaml", "does not exist"), (".", "is a folder")])
def test_a_project_file_that_is_named_has_to_be_there(tmp_path: Path, name: str, reason: str) -> None:
    """Otherwise a mis-mounted file would look like an empty archive."""
    with pytest.raises(ProjectError, match=f"{reason}, but MMMETA_PROJECT names it"):
        find_project({"MMMETA_PROJECT": name}, tmp_path)


def test_the_current_directory_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command line uses it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MMMETA_PROJECT", raising=False)
    assert find_project() is None
    (tmp_path / "mmmeta.yaml").write_text("metadirs: {m: {path: x}}")
    found = find_project()
    assert found == tmp_path / "mmmeta.yaml"
    assert load_project("mmmeta.yaml").metadirs["m"].path == tmp_path / "x"


def test_the_json_schema_is_current() -> None:
    """Write it anew with ``python -c "from mmmeta.project import schema_text; print(schema_text(), end='')"``."""
    shipped = Path(mmmeta.__file__).with_name("project.schema.json").read_text()
    assert shipped == schema_text()


def test_the_json_schema_knows_every_key_and_no_other() -> None:
    """What the models hold besides (names, paths, what is reserved) is not for the file."""
    schema = json_schema()
    definitions = schema["$defs"]
    assert set(schema["properties"]) == {"version", "metadirs"}
    assert set(definitions["MetadirConfig"]["properties"]) == set(MetadirConfig.model_fields) - {"name"}
    assert set(definitions["JobConfig"]["properties"]) == set(JobConfig.model_fields) - {"name"}
    assert set(definitions["Schedules"]["properties"]) == {"generate", "import", "checks", "retry", "timezone"}
    assert definitions["MetadirConfig"]["required"] == ["path"]
    text = json.dumps(schema)
    for name in definitions:
        assert text.count(f'"#/$defs/{name}"') >= 1
        assert definitions[name].get("additionalProperties", False) is False or name == "Where"


def test_the_reserved_names() -> None:
    """Those of the design."""
    assert set(RESERVED_JOBS) == {"metadata_db", "state_db", "synced", "generate", "update", "import", "checks"}


def test_a_command_about_a_metadir_can_be_copied(tmp_path: Path) -> None:
    """It works in whatever folder: with the project file where there is one, paths quoted, the state db named."""
    folder = tmp_path / "my archive"
    folder.mkdir()
    (folder / "mmmeta.yaml").write_text("version: 1\nmetadirs: {archive: {path: ./a, state: ./s.db}}")
    config = load_project(folder / "mmmeta.yaml").metadirs["archive"]
    assert config.command("jobs") == f"mmmeta --project '{folder}/mmmeta.yaml' --metadir archive jobs"
    alone = MetadirConfig(name="archive", path=folder, state=str(folder / "s.db"))
    assert alone.command("jobs") == f"MMMETA_STATE='{folder}/s.db' mmmeta --metadir '{folder}' jobs"


@pytest.mark.parametrize(
    ("given", "remote"),
    [
        ("s3://bucket/archive/", "s3://bucket/archive"),
        ("https://host/archive/?sig=hidden/", "https://host/archive?sig=hidden/"),
        ("file:///data/the%20archive", "/data/the archive"),
        ("/data/archive/", "/data/archive"),
    ],
)
def test_the_remote_that_the_sensor_watches_is_a_url_or_a_path(given: str, remote: str) -> None:
    """Without a slash at its end; it is not shown, for it may hold a secret."""
    metadir = MetadirConfig(name="m", path=Path("/x"), sensor=SensorConfig(remote=given))
    assert metadir.sensor.remote == remote
    assert "remote" not in repr(metadir)
    assert SensorConfig(remote="./server").remote == str(Path.cwd() / "server")


def test_a_wrong_remote_is_not_shown() -> None:
    """Not even where it is what is wrong."""
    for given in ("https://me:hidden@host/a b", "https://me:hidden@host/_mmmeta", "a::https://me:hidden@host"):
        with pytest.raises(ValidationError) as caught:
            SensorConfig(remote=given)
        assert "hidden" not in reason_of(caught.value)
