"""What many tests share: an archive with a server and a client, a clock that obeys, and the real input."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive, SettableClock, opened
from databases import EVERY, named, own_databases
from hypothesis import HealthCheck, settings

from mmmeta import Metadir

# A shell that runs the tests in the background has SIGINT ignored, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_NO_WATCH = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("everyday", deadline=None, max_examples=40, suppress_health_check=_NO_WATCH)
settings.register_profile(
    "ci", deadline=None, max_examples=40, derandomize=True, print_blob=True, suppress_health_check=_NO_WATCH
)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=int(os.environ.get("MMMETA_EXAMPLES") or 2_000),
    derandomize=bool(os.environ.get("CI")),  # a change is refused for what it has changed; finding more is for people
    print_blob=True,
    suppress_health_check=_NO_WATCH,
)
settings.load_profile(os.environ.get("MMMETA_HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "everyday"))


def pytest_configure() -> None:
    """Tests that run at the same time empty databases, each its own."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        own_databases(worker)


@pytest.fixture(autouse=True)
def _no_mmmeta_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell has set does not reach the tests."""
    for name in ("MMMETA", "MMMETA_FILES_ROOT", "MMMETA_STATE", "MMMETA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelt in (name, name.upper()):
            monkeypatch.delenv(spelt, raising=False)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """An empty archive with a server and a client."""
    made = Archive(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["meta.db", "state.db"])
def metadir(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Metadir]:
    """An empty metadir that reads the named database; ``fill`` brings the state db up to date."""
    with opened(tmp_path / "archive", state=request.param == "state.db") as made:
        yield made


@pytest.fixture
def clock() -> SettableClock:
    """A clock that stands still until the test moves it."""
    return SettableClock()


@pytest.fixture
def archive_by_id(tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    """An archive whose files are identified by ``id``; their ``content_hash`` may change. The client's clock obeys."""
    made = Archive(tmp_path, client_clock=clock)
    made.server.layout.config.parent.mkdir(parents=True)
    made.server.layout.config.write_text("metadata:\n  unique: id\n")
    yield made
    made.close()


@pytest.fixture
def landtag() -> Path:
    """The folder with real parliamentary papers, where it exists; read in place, never changed."""
    path = Path(__file__).parent.parent.parent / "shared" / "data" / "landtag"
    if not path.is_dir():
        pytest.skip(f"no real input at {path}")
    return path


@pytest.fixture(params=EVERY)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty SQL database; the servers are those that MMMETA_TEST_POSTGRES and MMMETA_TEST_MARIADB name, and are emptied."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/target.db"
        return
    variable, schema = {
        "postgresql": ("MMMETA_TEST_POSTGRES", "public"),
        "mariadb": ("MMMETA_TEST_MARIADB", ""),
    }[request.param]
    server = named(variable)
    from sqlalchemy import create_engine

    engine = create_engine(server)
    schema = schema or str(engine.url.database)  # which is both there
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema}{' CASCADE' if schema == 'public' else ''}")
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    engine.dispose()
    yield server
