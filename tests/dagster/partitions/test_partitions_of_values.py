"""Partitions by the values of a coarse key: they come with the files."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from executing import execute, failure_of, metadata
from partitioned import PROJECT
from small_archive import Archive

from mmmeta_dagster.partitions import after_run

PUBLISHERS = "archive/load_all/publisher:name"


def test_values_of_a_coarse_key_become_partitions_when_they_come(
    scraped: Archive, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New ones only, in chunks, and no more than ``at_most``; what that leaves out is said, and imported nevertheless."""
    monkeypatch.setattr(after_run, "CHUNK", 2)
    update = execute(scraped, instance, "archive_update")
    assert sorted(instance.get_dynamic_partitions(PUBLISHERS)) == ["(none)", "Ministry 0", "Ministry 1"]
    assert "without a partition" not in metadata(update, "state_db")
    scraped.write("other", "contract", publisher={"name": "Another"})
    scraped.publish()
    said = metadata(execute(scraped, instance), "state_db")["without a partition"]
    assert "load_all: publisher:name has more values than the 3" in said
    assert "'Another'" in said
    assert len(instance.get_dynamic_partitions(PUBLISHERS)) == 3
    with scraped.open() as m:
        assert m.status().jobs["load_all"].done == 6
    scraped.configure(scraped.project.read_text().replace("at_most: 3", "at_most: 4"))
    scraped.write("one more", "contract", publisher={"name": "Another"})
    scraped.publish()
    execute(scraped, instance, "archive_update")
    assert "Another" in instance.get_dynamic_partitions(PUBLISHERS)


def test_values_that_share_a_partition_are_all_done_in_it(empty_archive: Archive, instance: dg.DagsterInstance) -> None:
    """What Dagster cannot have in a key is left out of it; a number and its text are one; so are absent and null."""
    empty_archive.configure(PROJECT.replace("at_most: 3", "at_most: 50"))
    values: list[object] = ["a,b", "a b", "[a]\nb", 7, "7", None, "", "x" * 300, True, ["a", "b"]]
    for number, value in enumerate(values):
        empty_archive.write(f"f{number}", "contract", publisher={"name": value}, retrieved_at="2026-05-01")
    empty_archive.write("without", "contract", retrieved_at="2026-05-01")
    empty_archive.publish()
    execute(empty_archive, instance, "archive_update")
    made = sorted(instance.get_dynamic_partitions(PUBLISHERS), key=len)
    assert made[:-1] == sorted(["(empty)", "(none)", "7", "a b", "true"], key=lambda key: made.index(key))
    expected = {"a b": 3, "7": 2, "(none)": 2, "(empty)": 1, "true": 1, made[-1]: 1}
    done = {
        key: metadata(execute(empty_archive, instance, "archive_load_all", partition_key=key), "load_all")["done"]
        for key in made
    }
    assert done == expected
    assert metadata(execute(empty_archive, instance), "load_all")["files outside of partitions"] == 1


def test_a_partition_of_a_key_that_no_file_has_fails_with_its_name(
    scraped: Archive, instance: dg.DagsterInstance
) -> None:
    scraped.configure(PROJECT.replace("by: retrieved_at", "by: retrived_at"))
    result = execute(scraped, instance, "archive_look", partition_key="2026-05-01")
    description = failure_of(result, "look").user_failure_data.description
    assert "no file has the key 'retrived_at'" in description
    assert "retrieved_at" in description.partition("Did you mean")[2]


def test_partitions_that_a_person_has_deleted_do_not_return(scraped: Archive, instance: dg.DagsterInstance) -> None:
    """Neither by an update with news nor by an import that does their files; a new value still becomes one, and a person may
    add a deleted one again."""
    execute(scraped, instance, "archive_update")
    instance.delete_dynamic_partition(PUBLISHERS, "Ministry 0")
    scraped.write("new", "contract", publisher={"name": "Another"})
    scraped.write("old", "contract", publisher={"name": "Ministry, 0"})
    scraped.publish()
    result = execute(scraped, instance)
    assert result.success
    assert sorted(instance.get_dynamic_partitions(PUBLISHERS)) == ["(none)", "Another", "Ministry 1"]
    assert metadata_of_last(result, "load_all")["files outside of partitions"] == 3
    for key in ("(none)", "Another", "Ministry 1"):
        instance.delete_dynamic_partition(PUBLISHERS, key)
    execute(scraped, instance, "archive_update")
    assert list(instance.get_dynamic_partitions(PUBLISHERS)) == []
    instance.add_dynamic_partitions(PUBLISHERS, ["Ministry 0"])
    execute(scraped, instance)
    assert list(instance.get_dynamic_partitions(PUBLISHERS)) == ["Ministry 0"]


def metadata_of_last(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """What the materialization that is of no partition says."""
    event = result.asset_materializations_for_node(f"archive__{asset}")[-1]
    return {name: value.value for name, value in event.metadata.items()}


def test_another_run_may_add_the_same_partitions_meanwhile(instance: dg.DagsterInstance) -> None:
    """Between look and leap: what the other one added is there, the rest is added."""

    class Slow:
        """An instance whose database refuses what another run has added just now."""

        refused = 0

        def add_dynamic_partitions(self, name: str, chunk: list[str]) -> None:
            if "b" in chunk:
                instance.add_dynamic_partitions(name, ["b"])
                self.refused += 1
                raise RuntimeError("UNIQUE constraint failed")
            instance.add_dynamic_partitions(name, chunk)

        def get_dynamic_partitions(self, name: str) -> Any:
            return instance.get_dynamic_partitions(name)

    slow: Any = Slow()
    after_run._add_chunk(slow, "x", ["a", "b", "c"])
    assert (sorted(instance.get_dynamic_partitions("x")), slow.refused) == (["a", "b", "c"], 1)
