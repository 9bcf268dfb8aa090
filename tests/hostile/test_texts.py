"""Texts that a remote or a mistake gives: broken YAML, numbers without an end, secrets, and signs that steer what shows them."""

from __future__ import annotations

import csv
import json
import sqlite3
import time
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from archives import Archive
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmeta import load_project
from mmmeta.cli.dump import _write_csv
from mmmeta.cli.output import to_line
from mmmeta.config.model import load_config
from mmmeta.errors import ConfigError, MetadataDbError, ProjectError, StateDbError
from mmmeta.masking import said, shown, visible

BROKEN = [
    "!!bool x",
    '!!int ""',
    "!!int x",
    "!!int -",
    "!!float ''",
    "!!float x",
    "!!timestamp x",
    "!!timestamp ''",
    "!!binary é",
    "!!set x",
    "!!map x",
    "!!seq x",
    "!!merge x",
    "!!python/object:os.system x",
    "!!str {a: b}",
    "2024-99-99",
    "0000-00-00",
    "0b",
    "0x",
    "0x" + "f" * 20_000,
    "9" * 20_000,
    "1" + ":59" * 5_000,
    "1e" + "9" * 1_000,
    "'" + "x" * 20_000 + "'",
    "!" + "x" * 20_000 + " y",
    "[" * 5_000,
    "{" * 5_000,
    "&a [*a]",
    "*nowhere",
    "? [a]",
    "\x00",
    "\ud800",
]


@pytest.mark.parametrize("value", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize(
    "text",
    ["{}", "metadata: {}", "metadata: {{unique: {}}}", "{}: x", "metadata: {{exclude: [{}]}}", "remote: {{url: {}}}"],
)
def test_broken_yaml_is_one_short_error(tmp_path: Path, text: str, value: str) -> None:
    """No traceback, nothing that repeats a page."""
    path = tmp_path / "config.yml"
    path.write_bytes(text.replace("{}", value).replace("{{", "{").replace("}}", "}").encode("utf-8", "surrogatepass"))
    said = ""
    try:
        load_config(path)
    except ConfigError as error:
        said = str(error)
    assert len(said) < 1_500 + len(str(path))


@pytest.mark.parametrize(
    "text",
    [
        'metadata: {"unique\ufeff": id}',
        "metadata: {unique: [\u202e]}",
        "? \u202e\n: {}",
        "metadata: {remote\u200f: x}",
        "a: *\u202e",
    ],
)
def test_a_file_that_is_wrong_steers_nothing_that_shows_why(tmp_path: Path, text: str) -> None:
    """What it holds is repeated with such characters made visible."""
    path = tmp_path / "config.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert all(line.isprintable() for line in str(caught.value).split("\n")), str(caught.value)


YAML = st.lists(
    st.sampled_from(
        [
            *"[]{}:,-?&*!|>'\"%@`#\n\t ",
            "!!int ",
            "!!bool ",
            "!!map ",
            "<<: ",
            "*a",
            "&a ",
            "metadata",
            "unique",
            "1:2",
            "~",
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=200)
@given(YAML)
def test_any_yaml_is_read_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """As config.yml, and as a project file."""
    path = tmp_path_factory.mktemp("yaml") / "config.yml"
    path.write_text(text)
    for read, kind in ((load_config, ConfigError), (load_project, ProjectError)):
        said = ""
        try:
            read(path)
        except kind as error:
            said = str(error)
        assert len(said) < 3_000


@pytest.mark.parametrize(
    "address",
    [
        "s3://KEY:SECRET@bucket/x",
        "s3://KEY:abc/SECRET+/x@bucket/x",
        "https://me:SEC:RET@h/x",
        "https://me:SECRET@@h/x",
        "https://me:S#ECRET?x@h/x",
        "https://SECRET@h/x",
        "https://h/x;token=SECRET",
        "https://h/x;a=b;token=SECRET?y=z",
        "https://h/x?code=SECRET",
        "https://h/x#access_token=SECRET&a=b",
        "https://h/x#id_token=SECRET",
        "https://h/x?%74oken=SECRET",
        "https://h/x?a=b&X-Amz-Signature=SECRET&X-Amz-Credential=SECRET",
        "https://h/x?sv=1&sig=SECRET%3D",
        "https://h/x?jwt=SECRET",
        "https://h/x?ticket=SECRET",
        "failed: Authorization: Bearer SECRETSECRET, gave up",
        '{"token": "SECRET", "a": 1}',
        "AWS_ACCESS_KEY=SECRET",
        "connection refused (password=SECRET user=me)",
    ],
)
def test_secrets_are_masked(address: str) -> None:
    """Wherever they stand, and in a message too; what else it says stays."""
    assert "SECRET" not in shown(address)
    assert "SECRET" not in shown(f"cannot be read: {address} (again)")
    assert shown(address)


@pytest.mark.parametrize(
    "unit",
    [
        "://a:",
        "://a",
        "://a:b@",
        "x-",
        "a_",
        "?a=",
        "?" + "a" * 90,
        "&token",
        "password=",
        'token"  ',
        "bearer ",
        "@",
        ":",
        " ",
    ],
)
def test_a_text_of_any_length_is_masked_in_bounded_time(unit: str) -> None:
    """A remote may give some hundred thousand characters that look like the beginning of an address or of a secret."""
    text = unit * (100_000 // len(unit))
    started = time.monotonic()
    shown(text)
    assert len(said(text)) <= 201
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org:8080/a/b?page=2#top",
        "/etc/passwd: lies outside the folders",
        "the token is missing",
        "token = next(parser)",
        "country_code=DE",
        "12:30 a@b",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    """It says what is wrong."""
    assert shown(text) == text


def test_a_functions_own_words_go_no_further(archive: Archive) -> None:
    """Neither into the report nor into the ledger."""

    def fail(file: object) -> None:
        raise ValueError("GET https://me:SECRET@h/x?sig=SECRET gave 403")

    archive.write("a")
    archive.deliver()
    job = archive.client.job("j", attempts=1)
    report = job.run(fail)
    (entry,) = job.files("dead")
    assert "SECRET" not in f"{report.failures}{entry}"
    assert "403" in report.failures[0].message
    archive.client.close()
    assert b"SECRET@" not in archive.client.layout.state.read_bytes()


SIGNS = "\x1b[2J \x9b \u202e \u2066 \u200f \u2028 \r \x07 \x7f"


def test_json_means_the_same_and_steers_nothing() -> None:
    """Every sign that a terminal acts upon is an escape of JSON's."""
    line = to_line({SIGNS: [SIGNS, "ü", "日本", "\U0001f600"]})
    assert line.isprintable()
    assert "ü" in line
    assert json.loads(line) == {SIGNS: [SIGNS, "ü", "日本", "\U0001f600"]}
    assert visible(SIGNS).isprintable()


def test_csv_holds_no_formulas() -> None:
    """Unless asked for; numbers stay numbers."""
    values = ["=1+1", "+x", "-x", "@x", "\t=x", " =x", "\uff1dx", "-5", "+1.5", "plain", None, -3, ["="]]
    for formulas in (False, True):
        stream = StringIO()
        _write_csv(stream, [{"k": value} for value in values], ["k", "=k"], formulas=formulas)  # type: ignore[list-item]
        rows = list(csv.reader(StringIO(stream.getvalue())))
        assert rows[0] == (["k", "=k"] if formulas else ["k", "'=k"])
        cells = [row[0] for row in rows[1:]]
        assert cells[7:] == ["-5", "+1.5", "plain", "", "-3", '["="]']
        assert cells[:7] == [value if formulas else f"'{value}" for value in values[:7]]


def test_notes_in_dagster_are_no_markup() -> None:
    """Nor links with a signature."""
    pytest.importorskip("dagster")
    from mmmeta_dagster.shown.markdown import Link, cell, sentences

    text = sentences(["![x](http://evil/x.png) <img src=x> [y](javascript:z) \u202e\x1b[2J"]).value
    assert "![x]" not in text
    assert "<img" not in text.replace("\\<", "")
    assert "](" not in text.replace("\\](", "")
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert (
        cell("&#8238;fdp.exe &lt;") == "\\&\\#8238;fdp.exe \\&lt;"
    )  # an entity would turn the direction of writing after all
    assert sentences(["# title", "~~~", "1. x"]).value == "- \\# title\n- \\~\\~\\~\n- 1. x"
    assert cell(Link("a", "https://h/x?sig=SECRET")) == "a"
    assert cell(Link("a", "https://h/x?page=1")) == "[a](<https://h/x?page=1>)"


# Which file is to blame


def alter(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_blob_is_named_with_its_file(archive: Archive) -> None:
    """At the first update and later."""
    archive.log = False
    archive.write("a", title="x")
    archive.write("b", title="y")
    archive.publish()
    alter(archive.client.layout.meta_db, "UPDATE files SET title = x'00ff' WHERE content_hash = 'b'")
    with pytest.raises(MetadataDbError, match=r"meta\.db .*the file 'b'"):
        archive.client.update()
    archive.sync()
    archive.client.update()
    archive.write("b", title="z")
    archive.publish()
    alter(archive.client.layout.meta_db, "UPDATE files SET title = x'00ff' WHERE content_hash = 'b'")
    with pytest.raises(MetadataDbError, match=r"meta\.db .*the file 'b'"):
        archive.client.update()


@pytest.mark.parametrize("said", ["database or disk is full", "disk I/O error"])
def test_a_full_disk_is_called_full(archive: Archive, said: str) -> None:
    """By either database, and no backup is asked for."""
    from mmmeta.metadata.database import MetadataDatabase
    from mmmeta.state.database import StateDatabase

    (archive.root / "_mmmeta").mkdir()
    for database in (MetadataDatabase(archive.root / "meta.db"), StateDatabase(archive.root / "state.db")):
        with pytest.raises((MetadataDbError, StateDbError)) as caught, database.atomic():
            raise sqlite3.OperationalError(said)
        assert "backup" not in str(caught.value)
        assert "full" in str(caught.value)
        database.close()


def test_what_a_merge_stumbles_over_is_the_synced_files(archive: Archive) -> None:
    """Where neither file shows any damage."""
    archive.write("a")
    archive.deliver()
    metadata, state = archive.client._backend.server.reader, archive.client._backend.state.database
    with pytest.raises(MetadataDbError), state.merging(metadata) as connection:
        connection.execute("SELECT nothing FROM remote.files")
    with pytest.raises(StateDbError, match="full"), state.merging(metadata):
        raise sqlite3.OperationalError("database or disk is full")
