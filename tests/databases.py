"""The databases that tests run over, and which of them a test is for. Those of servers are left to ``make test-services``."""

from __future__ import annotations

import os

import pytest

POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.services)
MARIADB = pytest.param("mariadb", marks=pytest.mark.services)
EVERY = ("sqlite", POSTGRESQL, MARIADB)
"""Parameters of a fixture."""

on_postgresql = pytest.mark.parametrize("url", [POSTGRESQL], indirect=True)
on_mariadb = pytest.mark.parametrize("url", [MARIADB], indirect=True)
on_servers = pytest.mark.parametrize("url", [POSTGRESQL, MARIADB], indirect=True)
"""For a test of what the others do not have."""


def named(variable: str) -> str:
    """What a variable says of a server: who asks for the tests of servers is not to miss any."""
    value = os.environ.get(variable)
    if not value:
        pytest.fail(f"{variable} is not set: this test runs by `make test-services`")
    return value


def own_databases(worker: str) -> None:
    """Let the variables name databases of one of several processes that run tests, which are made."""
    from sqlalchemy import create_engine, make_url

    for variable in ("MMMETA_TEST_POSTGRES", "MMMETA_TEST_MARIADB"):
        if not (server := os.environ.get(variable)):
            continue
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {worker}")
        engine.dispose()
        os.environ[variable] = make_url(server).set(database=worker).render_as_string(hide_password=False)
