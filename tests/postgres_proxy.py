"""What stands before a PostgreSQL that goes away with all connections, and comes back."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress

import psycopg
from postgres import SCHEMA


class Proxy:
    """Stands before the server, on a port of its own, and can go away with all connections."""

    def __init__(self, url: str) -> None:
        target = psycopg.conninfo.conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://"))
        self._folder, self._host, self._database = str(target["host"]), "127.0.0.1", target["dbname"]
        self._listener: socket.socket | None = None
        self._pairs: list[socket.socket] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://test@{self._host}:{self.port}/{self._database}?schema={SCHEMA}"

    def come(self) -> None:
        listener = socket.create_server((self._host, self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def go(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        pairs, self._pairs = self._pairs, []
        for one in pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                behind = socket.socket(socket.AF_UNIX)
                behind.connect(f"{self._folder}/.s.PGSQL.5432")
                self._pairs += [client, behind]
                threading.Thread(target=self._carry, args=(client, behind), daemon=True).start()

    def _carry(self, client: socket.socket, behind: socket.socket) -> None:
        with client, behind, suppress(OSError):
            while True:
                for ready in select.select([client, behind], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (behind if ready is client else client).sendall(data)
