"""A ledger in PostgreSQL: a server that has a bad day, other formats, and values that it does not take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import test_shared_ledger
from archives import Archive, SettableClock
from postgres import SCHEMA, connected, with_option
from test_shared_ledger import RULES, cut_connections, offer

from mmmeta.errors import FormatError, MmmetaError, StateDbError
from mmmeta.state.ledger.outcomes import Candidate, Outcome
from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore
from mmmeta.state.ledger.postgresql.texts import LONGEST_NAME
from mmmeta.state.ledger.store import LedgerStore

pytestmark = pytest.mark.services

url = test_shared_ledger.url
archive = test_shared_ledger.archive
ledgers = test_shared_ledger.ledgers

# A server that has a bad day


def test_a_cut_connection_is_made_anew(ledgers: LedgerStore) -> None:
    """In the middle of a transaction it is told in one line, and nothing of that is kept; the next goes on."""
    offer(ledgers, "a")
    cut_connections()
    offer(ledgers, "b")
    with pytest.raises(StateDbError, match=r"PostgreSQL at .* cannot be used: .*; .*run it again"):
        cut_in_the_middle(ledgers)
    with ledgers.looking() as view:
        assert view.count("job", "pending") == 2


def cut_in_the_middle(ledgers: LedgerStore) -> None:
    with ledgers.changing(RULES) as ledger:
        ledger.claim(1, worker="lease/1", run_id=None, lease=600)
        cut_connections()
        ledger.due()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("@/", ":s3cret@127.0.0.1:1/"), "refused"),
        (("@/", "@/nothing_here_"), "nothing_here_.*createdb"),
        (("test@", "nobody:s3cret@"), "nobody.*check user and password"),
        (("schema=", "schema=Not-A-Name"), "no name that is taken"),
        (("schema=", "nonsense=1&schema="), "nonsense"),
    ],
)
def test_what_cannot_be_reached_is_told_in_one_line(
    change: tuple[str, str], said: str, url: str, tmp_path: Path, clock: SettableClock
) -> None:
    """Without the password, and at once."""
    wrong = url.replace(*change)
    if "127.0.0.1" in wrong:
        wrong = wrong.partition("?")[0] + f"?schema={SCHEMA}"
    began = time.monotonic()
    with pytest.raises(MmmetaError, match=said) as caught:
        offer(PostgresLedgerStore(wrong, tmp_path, clock, None), "a")
    assert time.monotonic() - began < 10
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_without_free_connections_is_told(url: str, tmp_path: Path, clock: SettableClock) -> None:
    """With what to do about it."""
    with connected() as connection:
        connection.execute("DROP ROLE IF EXISTS mmmeta_few")
        connection.execute("CREATE ROLE mmmeta_few LOGIN CONNECTION LIMIT 0")
    store = PostgresLedgerStore(url.replace("test@", "mmmeta_few@"), tmp_path, clock, None)
    with pytest.raises(StateDbError, match=r"too many connections.*max_connections"):
        offer(store, "a")
    with connected() as connection:
        connection.execute("DROP ROLE mmmeta_few")


def test_who_may_not_write_is_told(ledgers: LedgerStore, url: str, tmp_path: Path, clock: SettableClock) -> None:
    """As at a read-only standby: what is there can be looked at."""
    offer(ledgers, "a")
    store = PostgresLedgerStore(
        with_option(url, "options=-c%20default_transaction_read_only%3Don"), tmp_path, clock, None
    )
    with store.looking() as view:
        assert view.count("job", "pending") == 1
    with pytest.raises(StateDbError, match=r"read-only transaction; .*standby: give the address of the primary"):
        offer(store, "b")
    store.close()


# Formats


def test_a_newer_format_is_refused(ledgers: LedgerStore, url: str, tmp_path: Path, clock: SettableClock) -> None:
    """In one line, with nothing touched."""
    offer(ledgers, "a")
    with connected() as connection:
        connection.execute("UPDATE mmmeta_info SET value = '99' WHERE name = 'format'")
    with pytest.raises(FormatError, match="format 99, made by a newer mmmeta"):
        offer(PostgresLedgerStore(url, tmp_path, clock, None), "b")


def test_somebody_else_s_schema_is_left_alone(url: str, tmp_path: Path, clock: SettableClock) -> None:
    """Whatever its tables are called."""
    with connected() as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(f"CREATE TABLE {SCHEMA}.jobs (job text)")
    with pytest.raises(StateDbError, match=r"other tables in it \(jobs\) and was left untouched"):
        offer(PostgresLedgerStore(url, tmp_path, clock, None), "a")


def test_many_who_come_first_make_it_once(url: str, tmp_path: Path, clock: SettableClock) -> None:
    """Two processes that begin at the same moment."""
    code = (
        "import sys; from pathlib import Path; from mmmeta.clock import utcnow;"
        "from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore;"
        "print(PostgresLedgerStore(sys.argv[1], Path('.'), utcnow, None).identity())"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0] for process in running}
    assert len(said) == 1
    assert len(said.pop().strip()) == 32


# Values


def test_a_name_that_cannot_be_kept_is_told_and_the_others_go_on(
    ledgers: LedgerStore, caplog: pytest.LogCaptureFixture
) -> None:
    """NUL, and what is too long for an index; asking for them finds nothing."""
    long = "x" * (LONGEST_NAME + 1)
    just = os.urandom(LONGEST_NAME // 2).hex()
    offer(ledgers, "a", "n\0l", long, just)
    with ledgers.changing(RULES) as ledger:
        assert sorted(ledger.due()) == sorted(["a", just])
        assert ledger.retry(dead=True, files=["n\0l", long]) == 0
    with ledgers.looking() as view:
        assert view.entry("job", "n\0l") is None
    assert [record.getMessage().split(" was left out: ")[1].split(".")[0] for record in caplog.records] == [
        "it has a NUL character in it, which PostgreSQL does not take",
        f"it has {LONGEST_NAME + 1:,} bytes, and {LONGEST_NAME:,} fit into an index",
    ]


def test_what_an_error_says_is_kept_whatever_is_in_it(ledgers: LedgerStore) -> None:
    """A NUL in a message keeps nobody from recording how the files ended."""
    offer(ledgers, "a")
    with ledgers.changing(RULES) as ledger:
        (claim,) = ledger.claim(1, worker="lease/1", run_id=None, lease=600)
        ledger.settle([Outcome(claim, "Bad\0Error", "a\0b", "c\0d")], run_id=None, worker="lease/1")
    with ledgers.looking() as view:
        entry = view.entry("job", "a")
    assert entry is not None
    assert (entry.error_type, entry.error_message) == ("Bad\\x00Error", "a\\x00b")


def test_mixed_values_order_as_in_sqlite(ledgers: LedgerStore) -> None:
    """Nothing, numbers by their value, texts by their bytes."""
    values = [None, -(2**60) - 1, -(2**60), -1.5, 0, 0.5, 1, 2**53, 2**53 + 1, 2**60, 1e300, "", "B", "a", "é"]
    names = [f"{9 - index % 10}{index:02}" for index in range(len(values))]
    with ledgers.changing(RULES) as ledger:
        candidates = [
            Candidate(name, value, "1", None, 1, False, True) for name, value in zip(names, values, strict=True)
        ]
        ledger.offer(reversed(candidates), 1)
        assert [claim.file for claim in ledger.claim(99, worker="lease/1", run_id=None, lease=600)] == names


def test_a_column_of_the_client_s_own_is_not_asked_of_the_server(archive: Archive) -> None:
    """What is set here stays in the state db, and a job that selects by it works."""
    archive.write("a")
    archive.write("b")
    archive.deliver()
    file = archive.client.files.find_one(content_hash="a")
    assert file is not None
    file["wanted"] = True
    file.save()
    seen: list[str] = []
    archive.client.job("mine", where={"wanted": True}).run(lambda file: seen.append(file.unique_value))
    assert seen == ["a"]


def test_verbs_for_a_state_in_a_file_say_so(archive: Archive, tmp_path: Path) -> None:
    """And what to do instead."""
    from mmmeta.state.backup import restore
    from mmmeta.state.moved import moved

    archive.write("a")
    archive.deliver()
    with pytest.raises(StateDbError, match=r"`mmmeta state restore` is for a state in a file, .*\(pg_restore"):
        restore(tmp_path / "x", archive.client.layout)
    with pytest.raises(StateDbError, match="state moved"):
        moved(archive.client.layout, tmp_path, tmp_path)
