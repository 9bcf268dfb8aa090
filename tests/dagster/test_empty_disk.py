"""A container that has nothing but the project file: the code location loads, and one command pulls and imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from executing import metadata
from pulling import generate, offer, pull_from
from servers import Web
from small_archive import Archive
from watch import Watch

from mmmeta_dagster.location import warn_of_missing


@pytest.fixture
def web() -> Iterator[Web]:
    pytest.importorskip("urllib3", reason="mmmeta[http] is not installed")
    with Web().running() as server:
        yield server


def execute(archive: Archive, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """`dagster job execute`, as the pod of a run does it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MMMETA", "DAGSTER"))}
    return subprocess.run(
        [
            *(str(Path(sys.executable).parent / "dagster"), "job", "execute"),
            *("-m", "mmmeta_dagster.definitions", "-j", "archive_import"),
        ],
        cwd=archive.root,
        env={**clean, "DAGSTER_HOME": str(home), "PYTHONPATH": _with(archive.root), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _with(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.parametrize("remote", ["file://{server}", "{url}/bucket/archive", "s3://bucket/archive"])
def test_one_command_pulls_and_imports(remote: str, empty_archive: Archive, tmp_path: Path, web: Web) -> None:
    """From a folder, a web server, an object store; where it is run again there is nothing to do."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    environ = {}
    if remote.startswith("s3:"):
        pytest.importorskip("s3fs", reason="mmmeta[s3] is not installed")
        environ = {"FSSPEC_S3_ENDPOINT_URL": web.url, "FSSPEC_S3_KEY": "k", "FSSPEC_S3_SECRET": "s"}
    empty_archive.write("letter0", "letter")
    generate(empty_archive, "contract0", "contract1")
    offer(web, empty_archive)
    pull_from(empty_archive, remote.format(server=empty_archive.server, url=web.url))
    for _ in range(2 if remote.startswith("file:") else 1):
        done = execute(empty_archive, home, **environ)
        assert done.returncode == 0, done.stderr[-4000:]
        assert empty_archive.downloads == ["contract0.txt", "contract1.txt"]
        assert empty_archive.looked == ["letter0.txt"]
    assert not (empty_archive.client / "_mmmeta" / "meta.db").exists()


@pytest.mark.services
@pytest.mark.services
def test_a_pod_does_not_do_again_what_another_has_done(empty_archive: Archive, instance: dg.DagsterInstance) -> None:
    """Each has an empty disk; remote and ledger are all that they share. The sensor sees the disk of neither, and what is due."""
    from postgres import connected, emptied_server

    url = emptied_server()
    generate(empty_archive, "contract0", "contract1")
    pull_from(empty_archive)
    text = empty_archive.project.read_text().replace("path: ./client", f'path: ./client\n    state: "{url}"')
    empty_archive.configure(text)
    watch = Watch(empty_archive, instance)
    for number in range(2, 4):
        assert watch.run(watch.asks()).success
        shutil.rmtree(empty_archive.client)
        for name in empty_archive.downloads:
            (empty_archive.root / "downloads" / name).unlink()
        said = watch.skips()
        assert said.startswith(f"Nothing to do: revision {number - 1} is merged")
        generate(empty_archive, f"contract{number}")
    result = watch.run(watch.asks())
    assert result.success
    assert empty_archive.downloads == ["contract3.txt"]
    assert metadata(result, "download_contracts")["done in all"] == 4
    shutil.rmtree(empty_archive.client)
    (empty_archive.root / "downloads" / "contract3.txt").unlink()
    with connected() as connection:
        connection.execute(
            "UPDATE ledger SET status = 'pending' WHERE job = 'download_contracts' AND place = 'contract3.txt'"
        )
    request = watch.asks()
    assert request.tags["mmmeta/reason"] == "download_contracts: 1 file is due."
    assert watch.run(request).success  # with the pull
    assert empty_archive.downloads == ["contract3.txt"]


def test_a_copy_that_the_first_run_brings_is_no_warning(
    empty_archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    """Of what nobody brings there is one."""
    warn_of_missing({"archive": empty_archive.config})
    assert len(caplog.records) == 1
    pull_from(empty_archive)
    warn_of_missing({"archive": empty_archive.config})
    assert len(caplog.records) == 1
