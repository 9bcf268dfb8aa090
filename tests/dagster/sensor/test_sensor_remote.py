"""The sensor with ``sensor: {remote: …}``: what the store at the remote adds to what it says, and that it breaks nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import fsspec
import pytest
from servers import Web
from situations import NEW, NOW, OLD, ask, run, seen, situation, skip
from small_archive import Archive
from watch import Watch

from mmmeta import mmmeta
from mmmeta.store.remote import Publication
from mmmeta_dagster import keys
from mmmeta_dagster.runs import Phase
from mmmeta_dagster.sensor import observe

STORE = "_mmmeta/_store"
AHEAD = (
    "The remote published 2026-05-04 11:59:00 UTC (revision 8); the copy here is of 2026-05-04 10:00:00 UTC (revision 7): "
    "waiting for the sync."
)


# What it says


def publication(text: str, revision: int | None = None) -> Publication:
    """What the store at the remote says."""
    return Publication(text, datetime.fromisoformat(text.strip()), revision)


def test_what_was_published_and_not_synced_yet_is_said_and_asks_for_nothing() -> None:
    """Before the sync there is nothing to merge."""
    here = situation(announced=7, remote=publication(NEW, 8))
    assert skip(here).reason == f"{AHEAD} Until then nothing to do: revision 7 is merged; download: 12 done."
    assert skip(situation(announced=7, remote=publication(NEW))).reason.startswith(
        "The remote published 2026-05-04 11:59:00 UTC; the copy here is of 2026-05-04 10:00:00 UTC (revision 7): waiting"
    )
    nothing = situation(None, merged=None, not_whole="/x/_mmmeta is not there yet", remote=publication(NEW, 8))
    assert skip(nothing).reason == (
        "The remote published 2026-05-04 11:59:00 UTC (revision 8): waiting for the sync. "
        "No metadata yet: /x/_mmmeta is not there yet."
    )


def test_a_revision_ahead_is_news_whatever_the_clocks_say() -> None:
    """The same moment, or an earlier one of a clock that was set back."""
    for text in (OLD, "2001-01-01T00:00:00+00:00"):
        reason = skip(situation(announced=7, remote=publication(text, 8))).reason
        assert "(revision 8); the copy here is of" in reason
        assert "waiting for the sync" in reason


def test_a_remote_that_is_older_than_the_copy_is_named_as_such() -> None:
    """A backup was restored, or it is another place."""
    reason = skip(situation(announced=7, remote=publication("2026-05-03T00:00:00+00:00", 6))).reason
    assert reason.startswith(
        "The store at the remote is of 2026-05-03 00:00:00 UTC (revision 6), older than the copy here, which is of "
    )


def test_a_copy_that_is_up_to_date_says_nothing_of_the_remote() -> None:
    """Line ends are no difference."""
    plain = skip(situation(announced=7)).reason
    assert skip(situation(announced=7, remote=publication(f"{OLD}\n", 7))).reason == plain
    assert ask(situation(NEW, announced=8, remote=publication(NEW, 8))).reason == ask(situation(NEW)).reason


def test_what_is_due_here_is_asked_for_meanwhile() -> None:
    """Also what an earlier sync brought."""
    due = seen(failed=1, earliest_due=NOW - timedelta(seconds=1))
    reason = ask(situation(job=due, announced=7, remote=publication(NEW, 8))).reason
    assert reason == f"download: 1 failed file is due again since 2026-05-04 11:59:59 UTC. {AHEAD}"
    assert (
        AHEAD in skip(situation(job=due, announced=7, remote=publication(NEW, 8), runs=[run(Phase.STARTED, 5)])).reason
    )


def test_trouble_at_the_remote_changes_nothing_but_the_words() -> None:
    """Neither an ask nor a skip nor what counts as a change of the situation."""
    trouble = "https://host/archive: no answer within 10 seconds"
    words = "The store at the remote cannot be read: https://host/archive: no answer within 10 seconds."
    for where in (situation(), situation(None, merged=None)):
        assert (
            skip(where).reason + f" {words}"
            == skip(situation(where.published, merged=where.merged, remote_problem=trouble)).reason
        )
    assert ask(situation(NEW, remote_problem=trouble)).reason == f"{ask(situation(NEW)).reason} {words}"
    marks = {situation().mark, situation(remote_problem=trouble).mark, situation(remote=publication(NEW, 8)).mark}
    assert len(marks) == 1


# With real remotes


@pytest.fixture
def web() -> Iterator[Web]:
    pytest.importorskip("urllib3", reason="mmmeta[http] is not installed")
    with Web().running() as server:
        yield server


def watch_remote(archive: Archive, remote: str | Path) -> None:
    """Name the remote in the project file."""
    archive.configure(archive.project.read_text().replace("{interval: 5,", f'{{remote: "{remote}", interval: 5,'))


def generate(archive: Archive) -> None:
    """Publish at the server; nothing is synced."""
    with mmmeta(archive.server) as m:
        m.generate()


def test_published_then_synced_then_imported(watch: Watch) -> None:
    """A folder as remote, relative to the project file: waiting until the sync came, then a run, then rest."""
    watch_remote(watch.archive, "./server")
    watch.run(watch.asks())
    assert watch.skips().startswith("Nothing to do: revision 1 is merged;")
    watch.archive.write("contract3", "contract")
    generate(watch.archive)
    for _ in range(3):
        result = watch.tick()
        assert not result.run_requests
        assert not result.asset_events
        assert result.skip_reason is not None
        assert "(revision 2); the copy here is of" in str(result.skip_reason.skip_message)
        assert "waiting for the sync. Until then nothing to do: revision 1 is merged;" in str(result.skip_reason)
    watch.archive.sync()
    request = watch.asks()
    assert "waiting for the sync" not in request.tags[keys.TAG_REASON]
    assert watch.run(request).success
    assert watch.skips().startswith("Nothing to do: revision 2 is merged;")


def test_work_that_is_due_goes_on_before_the_sync(watch: Watch) -> None:
    watch_remote(watch.archive, watch.archive.server)
    watch.archive.fail("letter0.txt")
    watch.run(watch.asks())
    watch.archive.write("contract3", "contract")
    generate(watch.archive)
    watch.ahead = timedelta(minutes=5)
    reason = watch.asks().tags[keys.TAG_REASON]
    assert reason.startswith("look: 1 failed file is due again since")
    assert reason.endswith("waiting for the sync.")


def test_before_the_first_sync_the_remote_is_all_that_is_known(
    empty_archive: Archive, instance: dg.DagsterInstance
) -> None:
    """Memory as remote."""
    empty_archive.write("contract0", "contract")
    generate(empty_archive)
    memory = fsspec.filesystem("memory")
    memory.put(str(empty_archive.server / "_mmmeta"), "/sensor-test/_mmmeta", recursive=True)
    try:
        watch_remote(empty_archive, "memory://sensor-test")
        said = Watch(empty_archive, instance).skips()
    finally:
        memory.rm("/sensor-test", recursive=True)
    assert said.startswith("The remote published ")
    assert " (revision 1): waiting for the sync. No metadata yet: " in said


def test_a_web_server_is_asked_once_a_tick(watch: Watch, web: Web) -> None:
    """Both small files, nothing else."""
    for path in (watch.archive.server / "_mmmeta" / "_store").iterdir():
        web.objects[f"bucket/archive/{STORE}/{path.name}"] = path.read_bytes()
    watch_remote(watch.archive, f"{web.url}/bucket/archive")
    watch.run(watch.asks())
    web.asked.clear()
    assert watch.skips().startswith("Nothing to do: revision 1 is merged;")
    paths = {name: count for name, count in web.asked.items() if name.startswith("/")}
    assert paths == {f"/bucket/archive/{STORE}/{key}": 1 for key in ("remote_last_updated", "remote_revision")}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("bucket/none", "the server answered 404 Not Found."),
        ("bucket/half", "holds '2026-0', which is no moment (yet)."),
        ("bucket/page", "holds '<html>', which is no moment (yet)."),
        ("silent/archive", "no answer within 0.3 seconds."),
        ("drip/archive", "no answer within 0.3 seconds."),
    ],
)
def test_a_remote_that_cannot_be_read_stops_nothing(
    path: str, reason: str, watch: Watch, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick goes on with what is known here, in time, and names the trouble without secrets."""
    monkeypatch.setattr(observe, "REMOTE_TIMEOUT", 0.3 if "archive" in path else 10.0)
    web.objects[f"bucket/half/{STORE}/remote_last_updated"] = b"2026-0"
    web.objects[f"bucket/page/{STORE}/remote_last_updated"] = b"<html>"
    host = web.url.removeprefix("http://")
    watch_remote(watch.archive, f"http://me:hidden@{host}/{path}?sig=hidden")
    begun = time.monotonic()
    request = watch.asks()
    assert time.monotonic() - begun < 10
    assert "nothing was merged yet. The store at the remote cannot be read: http://" in request.tags[keys.TAG_REASON]
    watch.run(request)
    said = watch.skips()
    assert said.startswith("Nothing to do: revision 1 is merged;")
    if "archive" not in path:  # an earlier look may still wait there
        assert said.endswith(reason)
    assert "hidden" not in said + request.tags[keys.TAG_REASON] + repr(watch.archive.config)


def test_the_time_for_the_remote_is_far_below_what_dagster_gives_a_tick() -> None:
    """60 seconds, then the tick is red."""
    assert observe.REMOTE_TIMEOUT <= 15
