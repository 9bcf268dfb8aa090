"""A wrong project file: each mistake is one line with file, line, key, reason and remedy, and shows no secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from project_mistakes import BASE, A, J, failure

from mmmeta.errors import InvalidFileError, MmmetaError, ProjectError
from mmmeta.project import find_project, load_project


def test_the_base_of_these_tests_is_valid(tmp_path: Path) -> None:
    """So that each of them fails for its own reason."""
    (tmp_path / "mmmeta.yaml").write_text(BASE)
    assert len(load_project(tmp_path / "mmmeta.yaml", {}).metadirs["archive"].jobs) == 3


CASES = [
    ("version: 1", "version: 2", 1, "version", "knows version 1, not 2. Upgrade"),
    ("version: 1", "version: 0", 1, "version", "Set version: 1"),
    ("version: 1", "version: one", 1, "version", "needs a whole number (it is 'one')"),
    ("version: 1", "path: x", 1, "path", "below metadirs"),
    ("metadirs:", "metadir:", 2, "metadir", "Did you mean 'metadirs'?"),
    ("  archive:", "  ar-chive:", 3, "metadirs.ar-chive", "and _: ar_chive"),
    ("  archive:", "  yes:", 3, "metadirs", 'Quote it: "yes"'),
    ("  archive:", "  2024:", 3, "metadirs", "as a int"),
    ("path: ./client", "pth: ./client", 4, f"{A}.pth", "Did you mean 'path'?"),
    ("    path: ./client\n", "", 3, A, "the key 'path' is missing"),
    ("path: ./client", "path:", 4, f"{A}.path", "needs a path"),
    ("path: ./client", "path: ''", 4, f"{A}.path", "is empty"),
    ("path: ./client", "path: s3://bucket/x", 4, f"{A}.path", "s3:// is not in this version"),
    ("path: ./client", "path: ./client/_mmmeta", 4, f"{A}.path", "the folder that holds _mmmeta"),
    ("path: ./client", 'path: "a\\0b"', 4, f"{A}.path", "NUL"),
    ("path: ./client", "path: file://host/x", 4, f"{A}.path", "three slashes"),
    ("path: ./client", "name: x", 4, f"{A}.name", "the key above it, 'archive'"),
    ("state: state.db", "state: mysql://h/d", 5, f"{A}.state", "SQLite or PostgreSQL"),
    ("state: state.db", "state: postgresql://u:p@q@h/d", 5, f"{A}.state", "more than one @"),
    ("state: state.db", "state: 'sqlite://'", 5, f"{A}.state", "in memory"),
    ("state: state.db", "state: 'sqlite:///:memory:'", 5, f"{A}.state", "in memory"),
    ("generate: false", "generate: maybe", 6, f"{A}.generate", "needs true or false (it is 'maybe')"),
    ("interval: 30", "intervall: 30", 7, f"{A}.sensor.intervall", "Did you mean 'interval'?"),
    ("interval: 30", "interval: 0.5", 7, f"{A}.sensor.interval", "at least one second"),
    ("interval: 30", "interval: 1.5", 7, f"{A}.sensor.interval", "whole seconds"),
    ("interval: 30", "interval: '30'", 7, f"{A}.sensor.interval", "30s?"),
    ("interval: 30", 'remote: ""', 7, f"{A}.sensor.remote", "the path is empty"),
    ("interval: 30", "remote: 5", 7, f"{A}.sensor.remote", "needs a path"),
    ("interval: 30", 'remote: "s3://"', 7, f"{A}.sensor.remote", "names no place"),
    ("interval: 30", 'remote: "s3://b/x y"', 7, f"{A}.sensor.remote", "spaces"),
    ("interval: 30", 'remote: "zip::s3://b/x"', 7, f"{A}.sensor.remote", "chained with ::"),
    ("interval: 30", 'remote: "s3://b/_mmmeta/_store"', 7, f"{A}.sensor.remote", "the base path that holds _mmmeta"),
    ("interval: 30", "remote: ./x/_mmmeta", 7, f"{A}.sensor.remote", "the folder that holds _mmmeta"),
    ("      import:", "      imprt:", 9, f"{A}.schedules.imprt", "Did you mean 'import'?"),
    ("      import:", "      import_:", 9, f"{A}.schedules.import_", "Did you mean 'import'?"),
    ("      import:", "      generate:", 9, f"{A}.schedules.generate", "without generate: true"),
    ("*/15 *", "*/15 24", 9, f"{A}.schedules.import", "24 is not a hour"),
    ('"*/15 * * * *"', "15", 9, f"{A}.schedules.import", "in quotes"),
    ("      contracts:", "      update:", 11, f"{J}.update", "taken by mmmeta itself"),
    ("      contracts:", "      con.tracts:", 11, f'{J}["con.tracts"]', "and _: con_tracts"),
    ("      contracts:", "      '':", 11, f'{J}[""]', "cannot name a job"),
    ("      contracts:", "      recent:", 19, f"{J}.recent", "line 11 already"),
    ("      recent:\n", "      recent:\n      other:\n", 19, f"{J}.recent", "needs keys and values"),
    ("where: {retrieved_at", "wher: {retrieved_at", 20, f"{J}.recent.wher", "Did you mean 'where'"),
    (
        "where: {retrieved_at: {",
        "where:\n          {retrieved_at: {'>>': 1, ",
        21,
        f'{J}.recent.where.retrieved_at[">>"]',
        ">>",
    ),
    (
        'name: "{_file_name}"',
        "headers: {Range: 'bytes=0-'}",
        18,
        f"{J}.contracts.download.headers.Range",
        "is set by mmmeta itself",
    ),
    (
        'name: "{_file_name}"',
        "headers: {X Key: a}",
        18,
        f'{J}.contracts.download.headers["X Key"]',
        "is no name of a header",
    ),
    (
        'name: "{_file_name}"',
        'headers: {X-Key: "a\\r\\nb: hunter2"}',
        18,
        f"{J}.contracts.download.headers.X-Key",
        "in one line",
    ),
    (
        'name: "{_file_name}"',
        "headers: {X-Key: {}}",
        18,
        f"{J}.contracts.download.headers.X-Key",
        "needs text",
    ),
    (
        'name: "{_file_name}"',
        "headers: {Accept: a, accept: b}",
        18,
        f"{J}.contracts.download.headers.accept",
        "is said twice",
    ),
    (
        'name: "{_file_name}"',
        "user_agent: a, headers: {User-Agent: b}",
        18,
        f"{J}.contracts.download.headers.User-Agent",
        "is said twice",
    ),
    ("to: ./downloads", 'to: "./{kind|none}"', 18, f"{J}.contracts.download.to", "Put it into `name`"),
    ('name: "{_file_name}"', "user_agent: ''", 18, f"{J}.contracts.download.user_agent", "in one line"),
    ("like: ", "lik: ", 17, f'{J}.contracts.where.$any[1]["headers:content-type"].lik', "Did you mean 'like'"),
    ("like: ", "like: 5 #", 17, f'{J}.contracts.where.$any[1]["headers:content-type"].like', "compares with text"),
    ("          $any:", "          $ayn:", 14, f"{J}.contracts.where.$ayn", "$any"),
    ("            - extension: pdf\n", "            - 5\n", 15, f"{J}.contracts.where.$any[0]", "mapping"),
    ("document_type: contract", "$not: {a: {b: {c: 1}}}", 13, f"{J}.contracts.where.$not.a.b", "not an operator"),
    (
        "document_type: contract",
        "document_type: 2024-02-30",
        13,
        f"{J}.contracts.where.document_type",
        "Quote it if it is text",
    ),
    ("document_type: contract", "n: {!=: 5}", 13, f"{J}.contracts.where.n", "quote it"),
    ("document_type: contract", "n: {>=: 5}", 13, None, 'Quote the operator: ">="'),
    ("document_type: contract", "n:\n            >: 5", 14, None, 'Quote the operator: ">"'),
    ("{ago: 7d}", "{ago: 7y}", 20, f'{J}.recent.where.retrieved_at[">="]', "not a duration"),
    ("{to: ./downloads,", "{t: ./downloads,", 18, f"{J}.contracts.download.t", "Did you mean 'to'?"),
    ("to: ./downloads", "to: s3://b", 18, f"{J}.contracts.download.to", "not in this version"),
    ("{_file_name}", "{_file_name", 18, f"{J}.contracts.download.name", "no partner"),
    ("{_file_name}", "../{_file_name}", 18, f"{J}.contracts.download.name", "dots and spaces only"),
    ("{_file_name}", "{a |b}/{_file_name}", 18, f"{J}.contracts.download.name", "begins or ends with a space"),
    ("{_file_name}", "{a|..}/{_file_name}", 18, f"{J}.contracts.download.name", "dots and spaces only"),
    ("{_file_name}", "/{_file_name}", 18, f"{J}.contracts.download.name", "absolute"),
    ("{_file_name}", "{{_file_name}}", 18, f"{J}.contracts.download.name", "not known here. There are {{ env"),
    (
        'name: "{_file_name}"}',
        "name: x}\n        load: {to: ./x, table: x}",
        19,
        f"{J}.contracts.load.to",
        "SQLAlchemy URL",
    ),
    ("sqlite:///x.db", "sqlite://x.db", 22, f"{J}.recent.load.to", "three slashes"),
    ("sqlite:///x.db", "sqlite://", 22, f"{J}.recent.load.to", "in memory"),
    ("          table: documents\n", "", 21, f"{J}.recent.load", "the key 'table' is missing"),
    ("table: documents", "table: 5", 23, f"{J}.recent.load.table", "needs text"),
    ("table: documents", "table: ''", 23, f"{J}.recent.load.table", "cannot be empty"),
    ("table: documents", f"table: {'x' * 64}", 23, f"{J}.recent.load.table", "63 bytes"),
    ("table: documents", "table: _mmmeta_receipts", 23, f"{J}.recent.load.table", "are taken"),
    ("bytes: 10GB", "bytes: 10XB", 25, f"{J}.recent.limit.bytes", "is not a size"),
    ("bytes: 10GB", "bytes: 0", 25, f"{J}.recent.limit.bytes", "at least one byte"),
    ("bytes: 10GB", "files: 0", 25, f"{J}.recent.limit.files", "greater than or equal to 1 (it is 0)"),
    ("        limit:\n          bytes: 10GB\n", "        limit: {}\n", 24, f"{J}.recent.limit", "files, bytes or both"),
    ("- team:data", "- data", 27, f"{J}.recent.owners[0]", "no owner"),
    ("        call:", "        #call:", 28, f"{J}.extract", "Give it one of download"),
    (
        "        call:",
        "        load: {to: 'sqlite:///y', table: t}\n        call:",
        30,
        f"{J}.extract.call",
        "has 2 actions",
    ),
    ("a.b:c", "a.b.c", 29, f"{J}.extract.call.function", "Write package.module:name"),
    ("a.b:c", "a b:c()", 29, f"{J}.extract.call.function", "Write package.module:name"),
    ("rerun_on: content", "rerun_on: contents", 30, f"{J}.extract.rerun_on", "Did you mean 'content'?"),
    ("rerun_on: content", "rerun_on: []", 30, f"{J}.extract.rerun_on", "Say never"),
    ("rerun_on: content", "rerun_on: [5]", 30, f"{J}.extract.rerun_on", "which are text"),
    ("rerun_on: content", "rerun_on: 5", 30, f"{J}.extract.rerun_on", "needs one of"),
    ("attempts: 5", "attempts: 0", 31, f"{J}.extract.attempts", "greater than or equal to 1"),
    ("attempts: 5", "attempts: true", 31, f"{J}.extract.attempts", "not true or false"),
    ("attempts: 5", "attempts: 5.5", 31, f"{J}.extract.attempts", "needs a whole number (it is 5.5)"),
    ("attempts: 5", "attempts:", 31, f"{J}.extract.attempts", "needs a whole number (it is empty)"),
    ("attempts: 5", "fail_run_above: 50", 31, f"{J}.extract.fail_run_above", "less than or equal to 1"),
    ("attempts: 5", "order_by: '-'", 31, f"{J}.extract.order_by", "needs a metadata key"),
    ("attempts: 5", "workers: !!int x", 31, f"{J}.extract.workers", "Quote it if it is text"),
    ("backoff: 1m", "backoff: -5", 32, f"{J}.extract.backoff", "between 0 and"),
    ("backoff: 1m", "backoff: .nan", 32, f"{J}.extract.backoff", "between 0 and"),
    ("backoff: 1m", "backoff: soon", 32, f"{J}.extract.backoff", "is not a duration"),
    ("backoff: 1m", "lease: 0", 32, f"{J}.extract.lease", "at least one second"),
    ("tags: {a: b}", "tags: {a: [b]}", 33, f"{J}.extract.tags.a", "needs text"),
    ("tags: {a: b}", "tags: {a: b c}", 33, f"{J}.extract.tags.a", "'b c' cannot be the value of a Dagster tag"),
    ("tags: {a: b}", "tags: {a: b c}", 33, f"{J}.extract.tags.a", "digits, _, - and .: b_c"),
    ("tags: {a: b}", "tags: {a b: c}", 33, f'{J}.extract.tags["a b"]', "'a b' cannot be a Dagster tag"),
    ("tags: {a: b}", "tags: {a/b/c: d}", 33, f'{J}.extract.tags["a/b/c"]', "one / after a namespace"),
    ("tags: {a: b}", "owners: [me@example.organisation]", 33, f"{J}.extract.owners[0]", "no owner"),
    ("tags: {a: b}", "automation: 0 25 * * *", 33, f"{J}.extract.automation", "25 is not a hour"),
    ("tags: {a: b}", "automation: 'on_cron(\"0 3 * *\")'", 33, f"{J}.extract.automation", "has 4"),
    ("tags: {a: b}", "automation: eager or on_missing", 33, f"{J}.extract.automation", "&, | and ~ can"),
    ("tags: {a: b}", "automation: eager & ", 33, f"{J}.extract.automation", "is no expression. Write eager,"),
    ("tags: {a: b}", "automation: ''", 33, f"{J}.extract.automation", "is no expression"),
    ("tags: {a: b}", "automation: eager.since(x)", 33, f"{J}.extract.automation", "cannot stand in an automation"),
    ("tags: {a: b}", "automation: __import__('os').system('x')", 33, f"{J}.extract.automation", "cannot stand in"),
    ("tags: {a: b}", "automation: true", 33, f"{J}.extract.automation", "needs text"),
    ("tags: {a: b}", "tags: [a]", 33, f"{J}.extract.tags", "needs keys and values"),
    ("tags: {a: b}", "where:", 33, f"{J}.extract.where", "Write {} for every file"),
    ("tags: {a: b}", "where: pdf", 33, f"{J}.extract.where", "needs a filter"),
    ("tags: {a: b}", "tags: {a: b", 34, None, "not valid YAML"),
    ("tags: {a: b}", "\ttags: x", 33, None, "not valid YAML"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "reason"), CASES, ids=[case[1].strip()[:40] for case in CASES])
def test_a_mistake_is_found_and_named(
    tmp_path: Path, old: str, new: str, line: int, key: str | None, reason: str
) -> None:
    """Line and key are those of the mistake itself, however deep."""
    assert old in BASE
    error = failure(tmp_path, BASE.replace(old, new, 1))
    assert (line, key) == (error.line, error.key)
    assert reason in error.reason


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    """So that the file is mended in one go, and not in as many as there are mistakes."""
    text = BASE.replace("attempts: 5", "atempts: 5").replace("table:", "tabel:").replace("- team:data", "- data")
    error = failure(tmp_path, text, several=True)
    assert (error.line, error.key) == (23, f"{J}.recent.load.tabel")
    path = tmp_path / "mmmeta.yaml"
    assert [line.split(" is ")[0] for line in str(error).splitlines()] == [
        f"{path}:23: {J}.recent.load.tabel:",
        f"{path}:27: {J}.recent.owners[0]: 'data'",
        f"{path}:31: {J}.extract.atempts:",
    ]
    assert "Did you mean 'attempts'?" in str(error).splitlines()[2]


def test_the_command_line_gives_each_mistake_a_line(tmp_path: Path) -> None:
    """As an editor or a CI log can jump to it."""
    path = tmp_path / "mmmeta.yaml"
    path.write_text(BASE.replace("attempts: 5", "atempts: 5").replace("table:", "tabel:"))
    command = [sys.executable, "-m", "mmmeta", "--project", str(path), "status"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert [line.partition(": metadirs")[0] for line in lines] == [f"Error: {path}:23", f"{path}:31"]


def test_a_file_full_of_mistakes_is_told_in_ten_lines(tmp_path: Path) -> None:
    """And how many more there are."""
    jobs = "".join(f"      job{number}: {{call: {{function: x}}}}\n" for number in range(25))
    lines = str(failure(tmp_path, BASE + jobs, several=True)).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "(and 15 more)"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_no_project(tmp_path: Path, text: str) -> None:
    """It must not look like a healthy archive without jobs."""
    assert "is empty" in failure(tmp_path, text).reason


@pytest.mark.parametrize("text", ["metadirs:\n", "version: 1\nmetadirs: {}\n"])
def test_a_project_has_at_least_one_metadir(tmp_path: Path, text: str) -> None:
    """For the same reason."""
    assert "there is no metadir" in failure(tmp_path, text).reason


def test_metadirs_are_not_a_list(tmp_path: Path) -> None:
    """Each has a name."""
    error = failure(tmp_path, "metadirs:\n  - path: x\n")
    assert (error.line, error.key) == (1, "metadirs")
    assert "needs keys and values" in error.reason


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Named with its absolute path."""
    with pytest.raises(ProjectError, match="there is no project file here") as caught:
        load_project(tmp_path / "gone.yaml", {})
    assert str(tmp_path / "gone.yaml") in str(caught.value)
    with pytest.raises(ProjectError, match="cannot be read"):
        load_project(tmp_path, {})


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    """It is not a directory without a project file."""
    link = tmp_path / "mmmeta.yaml"
    link.symlink_to("gone.yaml")
    for expected in ("is a link to gone.yaml, which is not there", "cannot be read: Too many levels of symbolic links"):
        found = find_project({}, tmp_path)
        assert found == link
        with pytest.raises(ProjectError, match=expected):
            load_project(found, {})
        link.unlink()
        link.symlink_to("mmmeta.yaml")


def two(first: str, second: str, one: str = "", other: str = "") -> str:
    """A project with two metadirs and a job of each."""
    rules = "call: {function: 'a:b'}"
    text = "metadirs:\n"
    for name, jobs in ((first, one), (second, other)):
        text += f"  {name}:\n    path: ./{name}\n" + (f"    jobs:\n      {jobs}: {{{rules}}}\n" if jobs else "")
    return text


@pytest.mark.parametrize(
    ("text", "full"),
    [
        (two("a", "a_b", "b_c", "c"), "a_b_c"),
        (two("a", "a_b", "b_update"), "a_b_update"),
        (two("a_b", "a", "", "b_update"), "a_b_update"),
        (two("a", "a__x", "x__b", "b"), "a__x__b"),
        (two("a", "a_"), "a__metadata_db"),
    ],
)
def test_names_that_would_be_the_same_in_dagster(tmp_path: Path, text: str, full: str) -> None:
    """Named with both of them."""
    error = failure(tmp_path, text)
    assert f"would both be {full} in Dagster" in error.reason
    assert error.line is not None
    assert error.line > 1


def test_names_that_only_look_alike_are_fine(tmp_path: Path) -> None:
    """The same job in two metadirs, metadirs that begin alike."""
    (tmp_path / "p.yaml").write_text(two("a", "ab", "job", "job"))
    assert len(load_project(tmp_path / "p.yaml", {}).metadirs) == 2


def test_two_metadirs_do_not_share_a_state_db(tmp_path: Path) -> None:
    """Their ledgers would mix."""
    error = failure(tmp_path, "metadirs:\n  a: {path: x}\n  b: {path: ./y/../x}\n")
    assert (error.line, error.key) == (3, "metadirs.b")
    assert "have the same state db" in error.reason


@pytest.mark.parametrize(
    "spelled",
    [
        "postgresql+psycopg://h/db",
        "postgresql+psycopg://h:5432/db?schema=mmmeta",
        "postgres://u:p@H/db?connect_timeout=3",
    ],
)
def test_two_metadirs_do_not_share_a_schema(tmp_path: Path, spelled: str) -> None:
    """However the URL is spelled; one more schema is another ledger."""
    text = "metadirs:\n  a: {{path: x, state: 'postgresql://h/db'}}\n  b: {{path: y, state: '{}'}}\n"
    assert "have the same state db" in failure(tmp_path, text.format(spelled)).reason
    mark = "&" if "?" in spelled else "?"
    other = spelled.replace("schema=mmmeta", "schema=other") if "schema=" in spelled else f"{spelled}{mark}schema=other"
    (tmp_path / "p.yaml").write_text(text.format(other))
    assert len(load_project(tmp_path / "p.yaml", {}).metadirs) == 2


def test_errors_of_merged_mappings_point_to_where_they_are_written(tmp_path: Path) -> None:
    """The line is the default's, the key the job's."""
    text = """\
metadirs:
  m:
    path: .
    jobs:
      a: &a
        call: {function: "x:y"}
      b:
        <<: *a
        atempts: 3
      c:
        <<: {attempts: 0}
        call: {function: "x:y"}
"""
    error = failure(tmp_path, text, several=True)
    assert (error.line, error.key) == (9, "metadirs.m.jobs.b.atempts")
    error = failure(tmp_path, text.replace("atempts", "attempts"))
    assert (error.line, error.key) == (11, "metadirs.m.jobs.c.attempts")
    error = failure(tmp_path, text.replace("<<: *a", "<<: [5]"))
    assert (error.line, error.key) == (8, "metadirs.m.jobs.b")
    assert "<< merges mappings only" in error.reason


def test_project_errors_are_errors_of_mmmeta() -> None:
    """One base class for all files that people write."""
    assert issubclass(ProjectError, InvalidFileError)
    assert issubclass(ProjectError, MmmetaError)
