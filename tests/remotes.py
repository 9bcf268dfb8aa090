"""The servers to sync with that ``.ci/with-remotes`` has started: S3, SFTP and HTTP, each with a folder of its own for a test."""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from databases import named

S3 = pytest.param("s3", marks=pytest.mark.services)
SFTP = pytest.param("sftp", marks=pytest.mark.services)
HTTP = pytest.param("http", marks=pytest.mark.services)
WRITABLE = (S3, SFTP)
EVERY = (S3, SFTP, HTTP)
"""Parameters of a fixture or a test."""


@dataclass(frozen=True)
class Remote:
    """A place at a server.

    Attributes:
        kind: s3, sftp or http.
        url: what a user would write; a base path, so that a metadir at it is ``<url>/_mmmeta``.
        folder: the same, seen from the server's machine.
        environment: what the client needs to be let in.
        port: where the server listens.
    """

    kind: str
    url: str
    folder: Path
    environment: dict[str, str]
    port: int

    def by(self, port: int) -> Remote:
        """The same through another port, behind which a proxy is."""
        there, here = f"127.0.0.1:{self.port}", f"127.0.0.1:{port}"
        environment = {name: value.replace(there, here) for name, value in self.environment.items()}
        if self.kind == "sftp":
            know(self.environment["HOME"], port)
        return replace(self, url=self.url.replace(there, here), environment=environment)

    def settle(self) -> None:
        """Wait until the server has noticed what was changed in ``folder``."""
        if self.kind == "s3":
            time.sleep(1.1)

    @property
    def rclone_path(self) -> str:
        """Behind ``remote:``."""
        return self.folder.name if self.kind == "s3" else urlsplit(self.url).path

    def rclone(self) -> dict[str, str]:
        """Variables by which rclone knows the server as ``remote:``."""
        options = {"TYPE": self.kind, "URL": self.url} if self.kind == "http" else {"TYPE": self.kind}
        if self.kind == "s3":
            options |= {
                "PROVIDER": "Other",
                "ACCESS_KEY_ID": self.environment["AWS_ACCESS_KEY_ID"],
                "SECRET_ACCESS_KEY": self.environment["AWS_SECRET_ACCESS_KEY"],
                "ENDPOINT": self.environment["AWS_ENDPOINT_URL"],
            }
        if self.kind == "sftp":
            home = self.environment["HOME"]
            options |= {
                "HOST": "127.0.0.1",
                "PORT": str(self.port),
                "USER": urlsplit(self.url).username or "",
                "KEY_FILE": f"{home}/.ssh/id_ed25519",
                "SHELL_TYPE": "none",
            }
        return {f"RCLONE_CONFIG_REMOTE_{name}": value for name, value in options.items()}


def know(home: str, port: int) -> None:
    """The host behind a port of this machine is the one of the tests; OpenSSH would take the line for any port, paramiko not."""
    known = Path(home, ".ssh", "known_hosts")
    key = known.read_text().split("\n")[0].partition(" ")[2]
    with known.open("a") as file:
        file.write(f"[127.0.0.1]:{port} {key}\n")


@contextmanager
def remote_at(kind: str) -> Iterator[Remote]:
    """An empty place at a server, removed in the end."""
    server = named(f"MMMETA_TEST_{kind.upper()}")
    served = Path(named(f"MMMETA_TEST_{kind.upper()}_FOLDER"))
    name = f"test-{uuid.uuid4().hex[:12]}"
    folder = served / name
    folder.mkdir()
    folder.chmod(0o777)  # sshd belongs to another user where the tests are root's
    port = urlsplit(server).port
    assert port is not None
    environment: dict[str, str] = {}
    url = f"{server}/{name}"
    if kind == "s3":
        found = re.fullmatch(r"http://([^:]+):([^@]+)@(.*)", server)
        assert found is not None
        url = f"s3://{name}"
        environment = {
            "AWS_ACCESS_KEY_ID": found[1],
            "AWS_SECRET_ACCESS_KEY": found[2],
            "AWS_ENDPOINT_URL": f"http://{found[3]}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",  # it tries again by itself, and s3fs, too: a line that is always cut takes minutes
            # As with most servers that are not Amazon's: a part of an object comes with the checksum of the whole.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
    elif kind == "sftp":
        environment = {"HOME": named("MMMETA_TEST_SFTP_HOME")}
        know(environment["HOME"], port)
    try:
        yield Remote(kind, url, folder, environment, port)
    finally:
        shutil.rmtree(folder)
