"""Who is not let in by a real server, and what no server can do: each is told in one line, and nothing is changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from remotes import EVERY, HTTP, S3, SFTP, Remote
from synced import assert_untouched, client, lay, remote, server

from mmmeta import Metadir
from mmmeta.errors import SyncError
from mmmeta.sync import pull, push

pytestmark = pytest.mark.services
__all__ = ["client", "remote", "server"]


@pytest.mark.parametrize("remote", EVERY, indirect=True)
def test_nothing_is_there(remote: Remote, client: Metadir) -> None:
    """And what to do about it."""
    with pytest.raises(
        SyncError, match=r"there is no metadir, .*name the folder that holds _mmmeta, or run `mmmeta generate`"
    ):
        pull(client.layout.base, f"{remote.url}/archive")
    assert_untouched(client)


@pytest.mark.parametrize("remote", [S3], indirect=True)
def test_a_wrong_secret(remote: Remote, client: Metadir, server: Metadir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told at once, and never shown."""
    lay(server, remote)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    for work in (lambda: pull(client.layout.base, remote.url), lambda: push(server.layout.base, remote.url)):
        with pytest.raises(SyncError) as caught:
            work()
        assert "not-the-secret" not in str(caught.value)
    assert_untouched(client)


@pytest.mark.parametrize("remote", [SFTP], indirect=True)
def test_a_host_that_is_not_the_known_one(
    remote: Remote, client: Metadir, server: Metadir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read from it or told to it."""
    lay(server, remote)
    home = tmp_path / "home"
    shutil.copytree(os.environ["HOME"], home)
    monkeypatch.setenv("HOME", str(home))
    (home / ".ssh" / "known_hosts").write_text("")
    with pytest.raises(SyncError, match="known_hosts"):
        pull(client.layout.base, remote.url)
    assert_untouched(client)


@pytest.mark.parametrize("remote", [HTTP], indirect=True)
def test_a_web_server_is_only_read(remote: Remote, server: Metadir) -> None:
    """A push there says where to push instead."""
    with pytest.raises(SyncError, match=r"a web server is only read\. Push to the place that it serves"):
        push(server.layout.base, remote.url)
