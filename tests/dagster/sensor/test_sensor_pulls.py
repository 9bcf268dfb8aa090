"""The sensor where runs pull: the whole chain, remote, pull, update, import, without a clock of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from pulling import HIDDEN, break_remote, generate, mend_remote, offer, pull_from
from servers import Web
from small_archive import PROJECT, Archive
from watch import Watch

from mmmeta.clock import utcnow
from mmmeta.project import MetadirConfig, Schedules, SyncConfig
from mmmeta.sync import pull
from mmmeta_dagster import build_import_job, build_remote_sensor, build_schedules, keys

SYNCED, STATE_DB, LOOK = (keys.asset_key("archive", name) for name in ("synced", "state_db", "look"))


@pytest.fixture
def client(empty_archive: Archive, instance: dg.DagsterInstance, impatient: None) -> Watch:
    """The sensor of a client that has nothing but its project file; two contracts and a letter are published."""
    pull_from(empty_archive)
    empty_archive.write("letter0", "letter")
    generate(empty_archive, "contract0", "contract1")
    return Watch(empty_archive, instance)


def look_again(client: Watch) -> None:
    """Mend what the job ``look`` failed for, and have it tried again."""
    client.archive.fail()
    with client.archive.open() as m:
        m.recorded_job("look").retry()


def test_published_pulled_imported_and_then_rest(client: Watch) -> None:
    """From an empty disk; `sync: {pull: …}` alone says where to look. One run for each publication."""
    request = client.asks()
    assert request.asset_selection is None
    assert request.tags[keys.TAG_REASON].startswith("The remote published ")
    assert client.run(request).success
    assert len(client.archive.downloads) == 2
    assert client.skips().startswith("Nothing to do: revision 1 is merged; download_contracts: 2 done;")
    generate(client.archive, "contract2")
    request = client.asks()
    assert "(revision 2); the copy here is of " in request.tags[keys.TAG_REASON]
    assert client.run(request).success
    assert len(client.archive.downloads) == 3
    for _ in range(3):
        assert client.skips().startswith("Nothing to do: revision 2 is merged;")


def test_a_pull_that_fails_is_said_in_its_words_and_tried_again_later(client: Watch) -> None:
    """A segment is missing at the remote."""
    client.run(client.asks())
    generate(client.archive, "contract2")
    aside = break_remote(client.archive)
    assert not client.run(client.asks()).success
    said = client.skips()
    assert "(revision 2); the copy here is of " in said
    assert ". Attempt 1 to pull that: run " in said
    assert aside.name in said
    assert " Pulls again at " in said
    assert said.endswith(
        "Until then nothing to do: revision 1 is merged; download_contracts: 2 done; load_all: 3 done; look: 1 done."
    )
    client.ahead = timedelta(seconds=6)
    request = client.asks()
    assert request.tags[keys.TAG_ATTEMPT] == "2"
    assert not client.run(request).success
    mend_remote(client.archive, aside)
    client.ahead = timedelta(seconds=20)
    assert client.run(client.asks()).success
    client.ahead = timedelta()
    assert client.skips().startswith("Nothing to do: revision 2 is merged;")


def test_retries_go_on_while_the_pull_fails(client: Watch) -> None:
    """Their run leaves the pull out."""
    client.archive.fail("letter0.txt")
    client.run(client.asks())
    assert client.archive.status.jobs["look"].failed == 1
    generate(client.archive, "contract2")
    break_remote(client.archive)
    client.run(client.asks())
    look_again(client)
    request = client.asks()
    assert request.asset_selection == [STATE_DB, LOOK]
    assert request.tags[keys.TAG_REASON].startswith("look: 1 file is due. ")
    assert "to pull that" in request.tags[keys.TAG_REASON]
    assert client.run(request).success
    assert client.archive.status.jobs["look"].done == 1


def test_a_remote_that_does_not_answer_keeps_nothing_that_is_here_from_its_turn(client: Watch) -> None:
    """Nothing is asked to pull then: that can be seen from here."""
    client.archive.fail("letter0.txt")
    client.run(client.asks())
    (client.archive.server / "_mmmeta").rename(client.archive.root / "away")
    look_again(client)
    request = client.asks()
    assert request.asset_selection == [STATE_DB, LOOK]
    assert "The store at the remote cannot be read: " in request.tags[keys.TAG_REASON]
    assert client.run(request).success
    said = client.skips()
    assert said.startswith("Nothing to do: revision 1 is merged;")
    assert "The store at the remote cannot be read: " in said


def test_the_schedule_of_retries_leaves_the_pull_out(client: Watch) -> None:
    """For those who have switched the sensor off."""
    client.archive.fail("letter0.txt")
    client.run(client.asks())
    config = client.archive.config
    (retry,) = build_schedules(
        metadir=config.model_copy(update={"schedules": Schedules(retry="* * * * *")}),
        jobs={"archive_import": build_import_job(metadir=config)},
        clock=lambda: utcnow() + timedelta(hours=1),
    )
    with dg.instance_for_test() as disk, dg.build_schedule_context(instance=disk) as context:
        (request,) = retry.evaluate_tick(context).run_requests or ()
    assert request.asset_selection is not None
    assert SYNCED not in request.asset_selection
    assert {STATE_DB, LOOK} <= set(request.asset_selection)


def test_a_changed_job_needs_no_pull(client: Watch) -> None:
    """All jobs, and the update, without asking the remote."""
    client.run(client.asks())
    text = client.archive.project.read_text()
    client.archive.configure(
        text.replace("attempts: 3", "attempts: 4").replace(
            "where: {document_type: contract}", "where: {document_type: [contract, letter]}"
        )
    )
    request = client.asks()
    assert request.asset_selection is not None
    assert SYNCED not in request.asset_selection
    assert client.run(request).success


def test_a_copy_that_lost_a_file_is_mended(client: Watch) -> None:
    """Nobody else syncs here."""
    client.run(client.asks())
    head = client.archive.client / "_mmmeta" / "head.json"
    head.unlink()
    request = client.asks()
    assert request.asset_selection is None
    assert client.run(request).success
    assert head.exists()
    assert client.skips().startswith("Nothing to do: revision 1 is merged;")


def test_a_disk_that_is_not_mounted_is_waited_for(client: Watch) -> None:
    """A pull into the folder below would have everything done again."""
    client.run(client.asks())
    client.tick()
    client.archive.client.rename(client.archive.root / "unmounted")
    client.archive.client.mkdir()
    generate(client.archive, "contract2")
    said = client.skips()
    assert "is gone; it was there before: mount its disk, or run archive_import, which pulls it anew" in said
    client.archive.client.rmdir()
    (client.archive.root / "unmounted").rename(client.archive.client)
    assert client.run(client.asks()).success


def test_what_was_pulled_and_merged_outside_of_dagster_is_told(client: Watch) -> None:
    """`mmmeta sync pull` and `mmmeta update`: the graph shows it, and nothing is asked for but the jobs."""
    pull(client.archive.client, str(client.archive.server))
    with client.archive.open() as m:
        m.update()
    told = {
        event.asset_key: event for event in client.tick().asset_events if isinstance(event, dg.AssetMaterialization)
    }
    assert {SYNCED, STATE_DB} <= set(told)
    assert told[SYNCED].description == "Pulled outside of Dagster; this is what was found here."
    assert (told[STATE_DB].tags or {})["dagster/input_data_version/archive/synced"] == (told[SYNCED].tags or {})[
        keys.TAG_DATA_VERSION
    ]


def test_only_pulled_outside_is_told_by_the_run_that_merges(client: Watch) -> None:
    """A run without a pull, for the copy is up to date."""
    pull(client.archive.client, str(client.archive.server))
    request = client.asks()
    assert request.asset_selection is not None
    assert SYNCED not in request.asset_selection
    assert client.run(request).success
    event = client.instance.get_latest_materialization_event(SYNCED)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.description == "Pulled outside of Dagster; this is what was found here."


def test_the_remote_to_look_at_may_be_another_than_the_one_to_pull_from(client: Watch) -> None:
    """A program pulls; the sensor is told where to look."""
    copy = '[cp, -r, ./server/_mmmeta, "{path}"]'
    where = PROJECT.replace("{interval: 5,", "{remote: ./server, interval: 5,")
    client.archive.configure(where.replace("path: ./client", f"path: ./client\n    sync: {{command: {copy}}}"))
    assert client.run(client.asks()).success
    assert client.skips().startswith("Nothing to do: revision 1 is merged;")


def test_a_program_without_a_remote_to_look_at_says_what_is_missing(client: Watch) -> None:
    """Nobody can tell from here what it would bring, and so nothing asks for it, before the first pull as after it."""
    copy = '[cp, -r, ./server/_mmmeta, "{path}"]'
    project = PROJECT.replace("path: ./client", f"path: ./client\n    sync: {{command: {copy}}}")
    missing = "Nothing asks for a run that pulls by `cp`, for nobody can see what that would bring. Write the remote's base path"
    client.archive.configure(project)
    said = client.skips()
    assert said.startswith("No metadata yet: ")
    assert missing in said
    assert said.endswith("or run archive_import by hand.")
    client.archive.sync()
    client.run(client.asks())
    assert missing in client.skips()
    clock = 'schedules: {import: "*/15 * * * *"}'
    client.archive.configure(project.replace("    sensor:", f"    {clock}\n    sensor:", 1))
    assert missing not in client.skips()


def test_the_description_tells_which_attempts_count(client: Watch) -> None:
    """Of a pull that fails none does, where the sensor asks for it."""
    kept = "gives up after 20 attempts until something changes."
    tried = "A pull that fails does not count: it is asked for again for as long as it takes."
    for sync, is_told in ((SyncConfig(), False), (SyncConfig(pull="/y"), True), (SyncConfig(command=["rsync"]), False)):
        archive = MetadirConfig(name="archive", path="/x", sync=sync)
        description = build_remote_sensor(metadir=archive, job="archive_import").description or ""
        assert kept in description
        assert (tried in description) is is_told


@pytest.fixture
def web() -> Iterator[Web]:
    pytest.importorskip("urllib3", reason="mmmeta[http] is not installed")
    with Web().running() as server:
        yield server


def test_a_web_server_as_remote(client: Watch, web: Web) -> None:
    """With a password in its URL, which nobody sees."""
    offer(web, client.archive)
    host = web.url.removeprefix("http://")
    pull_from(client.archive, f"http://me:{HIDDEN}@{host}/bucket/archive")
    request = client.asks()
    assert client.run(request).success
    assert client.archive.status.revision == 1
    web.objects = {name: content for name, content in web.objects.items() if "remote_" in name}
    generate(client.archive, "contract2")
    for key in ("remote_last_updated", "remote_revision"):
        web.objects[f"bucket/archive/_mmmeta/_store/{key}"] = (
            client.archive.server / "_mmmeta/_store" / key
        ).read_bytes()
    request = client.asks()
    assert not client.run(request).success
    said = client.skips()
    assert "Attempt 1 to pull that: run " in said
    assert HIDDEN not in said + repr(request.tags)
