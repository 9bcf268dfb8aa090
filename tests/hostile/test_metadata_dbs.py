"""Metadata dbs that a hostile remote publishes: a table of cases. Add one, and every promise is asked of it.

Whatever comes: the client's own values stay, nothing is written elsewhere, every verb ends soon with one clear sentence
or none, and the next honest publication is merged.
"""

from __future__ import annotations

import shutil

import pytest
from archives import Archive
from metadirs import Forgery, client_with_own, forge, sql_of, survives


def renamed_key(key: str) -> Forgery:
    """A key of the registry under another name."""
    return sql_of(f"UPDATE registry SET key = '{key}' WHERE key = 'title'")


def registered(number: int, key: str, column: str = "title", usual: str = "b", kinds: str = "b") -> Forgery:
    """One more row of the registry."""
    return sql_of(f"INSERT INTO registry VALUES ({number}, 'remote', '{key}', '{column}', '{usual}', '{kinds}')")


def new_key(number: int, key: str, usual: str = "b", kinds: str = "b") -> Forgery:
    """A key with a column of its own, in which no file has anything yet."""
    row = f"({number}, 'remote', '{key}', 'new', '{usual}', '{kinds}')"
    return sql_of("ALTER TABLE files ADD COLUMN new", f"INSERT INTO registry VALUES {row}")


CASES: dict[str, Forgery] = {
    # New keys, with numbers that a client may have given to its own
    **{
        f"a new key of the number {number} that is {kind}": new_key(number, "evil", kind, kind)
        for number in (100, *range(999_999, 1_000_005), 1 << 40)
        for kind in "bj"
    },
    "a new key that is the client's": new_key(1_000_000, "imported", "j", "j"),
    "a new key with all kinds": new_key(1_000_001, "evil", "I", "sifbIjn"),
    **{f"a new key {key}": new_key(50, key) for key in ("__state_rev", "__local_types", "__local_more", "__deleted")},
    # Keys and numbers of the registry
    "numbers of the client's range": sql_of("UPDATE registry SET id = 1000000 + id WHERE key != 'content_hash'"),
    "numbers of the client's keys": sql_of("UPDATE registry SET id = id + 1000 WHERE id > 1"),
    "a number of the client's range": registered(1_000_000, "more keys", "open"),
    "the largest number": registered((1 << 62) - 1, "more keys", "open"),
    "a number beyond": registered((1 << 63) - 1, "more keys", "open"),
    "numbers backwards": sql_of("UPDATE registry SET id = 5000 - id"),
    "the key of our column of the revision": renamed_key("__state_rev"),
    "the key of our column of types": renamed_key("__local_types"),
    "the key of our column of more": renamed_key("__local_more"),
    "the key of a column in capitals": renamed_key("__LOCAL_TYPES"),
    "any reserved key": renamed_key("__anything"),
    "a key like the client's": renamed_key("imported"),
    "a key like a column of the client's": renamed_key("imported__1000000"),
    "a key like rowid": renamed_key("rowid"),
    "a key with quotes": renamed_key('a"; DROP TABLE files; --'),
    "a key with a quote": renamed_key("it''s"),
    "an empty key": renamed_key(""),
    "a client's key": sql_of("INSERT INTO registry VALUES (1000000, 'client', 'imported', 'title', 'j', 'j')"),
    "nobody's key": sql_of("INSERT INTO registry VALUES (1000000, 'nobody', 'imported', 'title', 'j', 'j')"),
    "kinds without an end": registered(77, "more keys", "open", "b", "b" * 100_000),
    "an unknown kind": registered(77, "more keys", "open", "Z", "Z"),
    "one column for two keys": registered(77, "more keys", "title"),
    "a column of ours for a key": registered(77, "more keys", "__fingerprint"),
    "a column that is not there": registered(77, "more keys", "nowhere"),
    "a column with quotes": registered(77, "more keys", 'x" FROM files; DROP TABLE files; --'),
    "no registry": sql_of("DELETE FROM registry"),
    "reserved keys in the shared column": sql_of(
        """UPDATE files SET __more = '{"__state_rev": 1, "__deleted": true, "imported": false, "note": []}'"""
    ),
    "a shared column without an end": sql_of(f"UPDATE files SET __more = '{'[' * 100_000}'"),
    "a shared column of a list": sql_of("UPDATE files SET __more = '[1]'"),
    # The head
    "a reserved unique key": sql_of("UPDATE info SET value = '__state_rev' WHERE name = 'unique'"),
    "an empty unique key": sql_of("UPDATE info SET value = '' WHERE name = 'unique'"),
    "an id of several lines": sql_of("UPDATE info SET value = 'a' || char(10) || '\x1b[31mred' WHERE name = 'id'"),
    "an id of a megabyte": sql_of("UPDATE info SET value = hex(zeroblob(500000)) WHERE name = 'id'"),
    "another id": sql_of("UPDATE info SET value = '00000000000000000000000000000000' WHERE name = 'id'"),
    "a negative revision": sql_of("UPDATE info SET value = -5 WHERE name = 'revision'"),
    "a revision of text": sql_of("UPDATE info SET value = 'many' WHERE name = 'revision'"),
    "a huge revision": sql_of("UPDATE info SET value = (1 << 62) - 2 WHERE name = 'revision'"),
    "another digest": sql_of("UPDATE info SET value = zeroblob(16) WHERE name = 'digest'"),
    "forerunners without an end": sql_of("INSERT INTO info VALUES ('replaces', hex(zeroblob(500000)))"),
    "more files than there are": sql_of("UPDATE info SET value = 1000000000 WHERE name = 'alive'"),
    # Rows
    "deleted twice": sql_of("UPDATE files SET __deleted = 2"),
    "deleted in words": sql_of("UPDATE files SET __deleted = 'no'"),
    "neither deleted nor not": sql_of("UPDATE files SET __deleted = NULL"),
    "all deleted": sql_of("UPDATE files SET __deleted = 1"),
    "a source that is elsewhere": sql_of("UPDATE files SET __source = '../../../../etc/passwd'"),
    "a source of bytes": sql_of("UPDATE files SET __source = x'ff00'"),
    "a time of words": sql_of("UPDATE files SET __meta_added = 'yesterday' || char(27) || '[2J'"),
    "a time of a number": sql_of("UPDATE files SET __meta_last_updated = 5"),
    "marks that are none": sql_of("UPDATE files SET __types = ';;x;1;Zb'"),
    "marks of the client's numbers": sql_of("UPDATE files SET __types = ';1000000b;1000001j;1b;2b;3j;4n;'"),
    "a mark of a huge number": sql_of(f"UPDATE files SET __types = ';{'9' * 5_000}b;'"),
    "fingerprints of nothing": sql_of("UPDATE files SET __fingerprint = NULL"),
    "values of other types": sql_of("UPDATE files SET title = 1, pages = 'x', open = 'perhaps'"),
    "values of bytes": sql_of("UPDATE files SET title = x'00ff'"),
    "text that is none": sql_of("UPDATE files SET title = cast(x'ff' AS TEXT)"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_forged_metadata_db_changes_nothing_of_the_client(archive: Archive, case: str) -> None:
    """Merged over what was merged before."""
    client_with_own(archive)
    survives(archive, lambda: forge(archive.client.layout.meta_db, CASES[case]))


@pytest.mark.parametrize("case", CASES)
def test_a_forged_metadata_db_at_the_first_update(archive: Archive, case: str) -> None:
    """Where there is no state db yet; the client's values come after it, and stay through the honest publication."""
    for number in range(3):
        archive.write(f"f{number}", title=f"File {number}", pages=number, open=True)
    archive.publish()
    survives(archive, lambda: forge(archive.client.layout.meta_db, CASES[case]))


def test_own_values_stay_where_the_forgery_is_merged_first(archive: Archive) -> None:
    """Set over what a hostile remote sent first, then read after an honest publication with the same keys."""
    client_with_own(archive)
    shutil.rmtree(archive.client.layout.local)
    forge(archive.client.layout.meta_db, CASES["numbers of the client's range"])
    survives(archive, lambda: None)
