"""A fast web server on loopback, in a process of its own: nginx where it is installed, else asyncio with all in memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NGINX = """
{user}
worker_processes 1;
daemon off;
pid {work}/pid;
error_log {work}/error;
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  default_type application/pdf;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  server {{ listen 127.0.0.1:{port}; root {documents}; }}
}}
"""
STARTING = 10.0
"""Seconds that a server has until it answers."""


def name() -> str:
    """Which server it is."""
    return "nginx" if shutil.which("nginx") else "asyncio"


@contextmanager
def running(documents: Path, work: Path) -> Iterator[str]:
    """The URL of a server of this folder, for a block.

    Args:
        work: where it may put files of its own.
    """
    port = _free_port()
    command = [sys.executable, __file__, str(documents), str(port)]
    if nginx := shutil.which("nginx"):
        user = "user root;" if os.geteuid() == 0 else ""  # else it takes another one, who must not read here
        settings = work / "nginx.conf"
        settings.write_text(NGINX.format(user=user, work=work, documents=documents, port=port))
        command = [nginx, "-p", str(work), "-e", str(work / "error"), "-c", str(settings)]
    server = subprocess.Popen(command)
    try:
        until = time.monotonic() + STARTING
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} does not serve {documents}")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class _Documents(asyncio.Protocol):
    """Answers what asks for a document with all of it."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked += data
        while b"\r\n\r\n" in self._asked:
            head, _, self._asked = self._asked.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            self._transport.write(self._answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))


async def _serve(documents: str, port: int) -> None:
    answers = {}
    for entry in os.scandir(documents):
        body = Path(entry.path).read_bytes()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: {len(body)}\r\n\r\n"
        answers[f"/{entry.name}".encode()] = head.encode() + body
    server = await asyncio.get_running_loop().create_server(lambda: _Documents(answers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
