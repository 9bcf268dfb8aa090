"""SFTP by fsspec and paramiko, as careful as OpenSSH's own programs: only a host that is known is talked to.

fsspec's own takes any host for the right one, waits for ever for one that is silent, and is of no more use after its connection
broke. ``~/.ssh/config``, keys and the agent count as they do for ``ssh``; a jump host is left to those who sync by a command.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

from mmmeta.errors import DownloadError
from mmmeta.masking import shown

CONFIG = "~/.ssh/config"
KNOWN_HOSTS = "~/.ssh/known_hosts"

CONNECTING = 30.0
"""Seconds until a host has answered, and as many until it has let us in."""

_BROKEN = (EOFError, OSError, paramiko.SSHException)
"""What paramiko raises of a line that broke."""

_NO_ANSWER = -1
"""Number of a request that was not sent."""

KEEP_ALIVE = 20
"""Seconds after which a router between may think that nobody needs the connection any more."""


# Of a line that breaks paramiko tells its log, and our error tells it in words. Without a handler it would be on stderr as well.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def known_host(url: str, stall: float) -> Any:
    """The file system of one host, as fsspec has it.

    Args:
        stall: seconds without an answer after which the host is given up.
    """
    return _KnownHost(url, stall)


class _KnownHost(SFTPFileSystem):  # type: ignore[misc]
    """Files of one host. It is connected to at the first question, and anew after the connection broke.

    Args:
        stall: seconds without an answer after which the host is given up.
    """

    cachable = False

    def __init__(self, url: str, stall: float) -> None:
        self._url = url
        self._stall = stall
        self._session: paramiko.SFTPClient | None = None
        self._over: paramiko.SSHClient | None = None
        super().__init__(urlsplit(url).hostname or "")

    def _connect(self) -> None:
        """Not before somebody asks."""

    @property
    def ftp(self) -> paramiko.SFTPClient:
        """The session, which is open."""
        if self._session is None or self._over is None or not _is_alive(self._over):
            self.hang_up()
            self._over = self._connected()
            transport = self._over.get_transport()
            assert transport is not None
            self._session = _Session.from_transport(transport)
            channel = None if self._session is None else self._session.get_channel()
            assert channel is not None
            assert self._session is not None
            channel.settimeout(self._stall)
        return self._session

    def hang_up(self) -> None:
        """Close the connection; after an error nobody knows which answer comes next."""
        if self._over is not None:
            self._over.close()
        self._session = self._over = None

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """A part of a file, asked for as a whole: block by block would take the way there and back for each 32 KB."""
        path = self._strip_protocol(path)
        with self.ftp.open(path, "rb") as file:
            begin = start or 0
            size = (file.stat().st_size or 0) if end is None else end
            return b"".join(file.readv([(begin, size - begin)])) if size > begin else b""

    def _connected(self) -> paramiko.SSHClient:
        parts = urlsplit(self._url)
        said = _config_of(parts.hostname or "")
        client = paramiko.SSHClient()
        client.set_log_channel(__name__)
        client.load_system_host_keys()
        client.set_missing_host_key_policy(_OnlyKnown(self._url))
        try:
            client.connect(
                said.get("hostname", parts.hostname or ""),
                parts.port or int(said.get("port", 22)),
                parts.username or said.get("user"),
                parts.password,
                key_filename=[os.path.expanduser(name) for name in said.get("identityfile", [])] or None,
                timeout=CONNECTING,
                banner_timeout=CONNECTING,
                auth_timeout=CONNECTING,
            )
            transport = client.get_transport()
            assert transport is not None
            transport.set_keepalive(KEEP_ALIVE)
        except paramiko.BadHostKeyException as error:
            client.close()
            raise DownloadError(
                f"{shown(self._url)}: the host has another key than {KNOWN_HOSTS} says. If it was set up anew, take its line out with "
                f"`ssh-keygen -R {_spelt(parts.hostname or '', parts.port)}`, and connect once with ssh",
                is_refused=True,
            ) from error
        except paramiko.AuthenticationException as error:
            client.close()
            raise DownloadError(
                f"{shown(self._url)}: the host does not let us in ({str(error).rstrip('.')}); see whether `sftp` does, and with which "
                f"key: {CONFIG} can name it (IdentityFile)",
                is_refused=True,
            ) from error
        except BaseException:
            client.close()
            raise
        return client


class _Session(paramiko.SFTPClient):  # type: ignore[misc]
    """A session whose ``readv`` says once that the line broke: who reads is told.

    paramiko asks ahead in a thread of its own, where an error would be a traceback on stderr and nothing else.
    """

    def _async_request(self, fileobj: Any, *rest: Any) -> Any:
        try:
            return super()._async_request(fileobj, *rest)
        except _BROKEN:
            if not isinstance(fileobj, paramiko.SFTPFile):  # which is so in that thread alone
                raise
            with suppress(*_BROKEN):
                self.close()  # whoever waits for an answer gets the error
            return _NO_ANSWER


class _OnlyKnown(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Refuses a host of which nothing is known, and says how it gets known."""

    def __init__(self, url: str) -> None:
        self._url = url

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        parts = urlsplit(self._url)
        port = f"-p {parts.port} " if parts.port else ""
        raise DownloadError(
            f"{shown(self._url)}: {KNOWN_HOSTS} knows no {key.get_name()} key of this host. Connect once with `ssh {port}"
            f"{parts.hostname}`, which asks whether it is the right one",
            is_refused=True,
        )


def _config_of(host: str) -> Any:
    """What ``~/.ssh/config`` says of a host."""
    try:
        with open(os.path.expanduser(CONFIG), encoding="utf-8", errors="replace") as file:
            return paramiko.SSHConfig.from_file(file).lookup(host)
    except FileNotFoundError:
        return {}


def _is_alive(client: paramiko.SSHClient) -> bool:
    transport = client.get_transport()
    return transport is not None and transport.is_active()


def _spelt(host: str, port: int | None) -> str:
    """A host as known_hosts has it."""
    return f"'[{host}]:{port}'" if port not in (None, 22) else host
