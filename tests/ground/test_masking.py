"""Secrets of addresses are shown nowhere, whatever place they stand in."""

from __future__ import annotations

import pytest

from mmmeta.errors import JobError, LoadError
from mmmeta.masking import shown, without_login_of, without_password, without_secrets_of
from mmmeta.project import job_config
from mmmeta.target.elsewhere import from_column
from mmmeta.target.engine import open_engine
from mmmeta.target.view import view_table


@pytest.mark.parametrize(
    ("url", "shown_as"),
    [
        ("postgresql://me:hunter2@h/x", "postgresql://me@h/x"),
        ("postgresql://me:hunter2@hun@ter@h:5432/x", "postgresql://me@h:5432/x"),
        ("postgresql://me:hunter2/hun@ter?@h/x", "postgresql://me@h/x"),
        ("postgresql://h/x?user=me&password=hunter2", "postgresql://h/x?user=me&password="),
        ("postgresql://h/x?sslpassword=hunter2&user=me", "postgresql://h/x?sslpassword=&user=me"),
        ("mysql://h/x?PASSWD=hunter2", "mysql://h/x?PASSWD="),
        ("snowflake://me@h/x?token=hunter2&warehouse=w", "snowflake://me@h/x?token=&warehouse=w"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dhunter2%3BDATABASE%3Dx", "mssql+pyodbc:///?odbc_connect="),
        ("sqlite:////data/a:b@c.db", "sqlite:////data/a:b@c.db"),
        ("postgresql://me@h:5432/x", "postgresql://me@h:5432/x"),
    ],
)
def test_a_database_url_without_its_secrets(url: str, shown_as: str) -> None:
    """What says which database it is stays."""
    assert without_password(url) == shown_as


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:hunter2@h/x", "user me, password hunter2"),
        ("postgresql://me:hunter2%2Fx@h/x", "user me, password hunter2/x"),
        ("postgresql://me:hunter2@hun@ter@h/x", "no such host: 'hun@ter@h', login hunter2"),
        ("postgresql://me:secret@hun:ter@h/x", "port 'ter@h' of host 'hun' is no number"),
        ("postgresql://h/x?password=hun+ter%21", "hun ter! was refused, hun+ter%21 too"),
        ("mssql://?odbc_connect=DRIVER%3D%7BX%7D%3BPWD%3D%7Bhunter2%7D%3B", "login failed: PWD={hunter2}, hunter2"),
        ("postgresql://me:hunter2@h/x", "cannot parse postgresql://me:hunter2@h/x"),
    ],
)
def test_what_a_driver_says(url: str, said: str) -> None:
    """It repeats what it was given, as written or decoded."""
    told = without_secrets_of(url, said)
    assert not any(secret in told for secret in ("hunter2", "hun", "ter", "secret"))


def test_addresses_of_documents() -> None:
    """Options that are called like secrets, and logins."""
    assert shown("https://me:hunter2@h/x?sig=abc&pwd=hunter2&page=2") == "https://***@h/x?sig=***&pwd=***&page=2"


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        "PassWD: x, PASSWD=hunter2",
        "pa\u017f\u017fword=hunter2",
        '{"to\u212aen": "hunter2"}',
        "api_\u212aEY=hunter2",
        "access-key-id=hunter2",
        "client_secret=hunter2",
        "Author\u0131zation: hunter2",
        "AUTHOR\u0130ZATION: Bearer hunter2",
        "bearer   hunter2",
    ],
)
def test_secrets_that_are_named_in_words(text: str) -> None:
    """In any case, also with the letters that regular expressions take for others of another case."""
    assert "hunter2" not in shown(f"said: {text}, twice")


@pytest.mark.parametrize(
    "url",
    [
        "nodialect://h/x?password=hunter2",
        "postgresql+nodriver://h/x?sslpassword=hunter2",
        "postgresql://me:hunter2@hunter2:hunter2@h/x",
        "postgresql+psycopg://127.0.0.1:1/x?user=me&password=hunter2",
        "postgresql+psycopg://me:hunter2@hunter2@127.0.0.1:1/x",
    ],
)
def test_errors_of_databases(url: str) -> None:
    """Opening, looking and adopting: none of their errors has a password in it."""
    with pytest.raises(LoadError) as looking:
        view_table(url, "t", count=True)
    with pytest.raises(LoadError) as adopting:
        from_column(url, "t", "c")
    assert "hunter2" not in f"{looking.value}{adopting.value}"
    try:
        _, told = open_engine(url)
    except LoadError as error:
        told = str(error)
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("address", "message", "told"),
    [
        ("s3://user:secret@bucket/x", "Invalid bucket name 'user:secret@bucket'", "Invalid bucket name '***@bucket'"),
        ("sftp://user:s%2Fcret@host", "no login with s/cret", "no login with ***"),
        ("https://token123@host/a", "host refuses token123", "host refuses ***"),
        ("https://host/a/b@c", "host/a/b@c is not there", "host/a/b@c is not there"),
        ("/a/b", "nothing", "nothing"),
    ],
)
def test_what_repeats_the_login_of_an_address(address: str, message: str, told: str) -> None:
    """A library names what it was given without what is before it."""
    assert without_login_of(address, message) == told


def test_an_at_that_is_not_encoded() -> None:
    """It would make a host of the password's tail, so it is refused, and the URL is not repeated."""
    with pytest.raises(JobError, match="is written %40") as caught:
        job_config("j", load={"to": "postgresql://me:hunter2@tail@h/x", "table": "t"})
    assert not any(secret in str(caught.value) for secret in ("hunter2", "tail"))
    for fine in ("postgresql://me:hunter2%40tail@h/x", "postgresql://me@server:pw@h/x", "postgresql://me@h/x?a=b@c"):
        assert job_config("j", load={"to": fine, "table": "t"}).load
