"""A web server that writes its answers byte by byte, as tests of misbehaviour need it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    """One request.

    Attributes:
        line: such as ``GET /a HTTP/1.1``.
        headers: name in lower case → value.
        connection: number of the connection that it came on.
    """

    line: str
    headers: dict[str, str]
    connection: int

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]


@dataclass
class RawWeb:
    """A server on a free port of the loopback interface.

    Attributes:
        answers: gives what is sent for a request. None: nothing is sent, and the connection stays open. After bytes that
            end with ``CLOSE`` it is closed.
        asked: all requests.
    """

    answers: Callable[[Asked], bytes | None]
    family: socket.AddressFamily = socket.AF_INET
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listening = socket.socket(self.family)
        self._listening.bind(("127.0.0.1" if self.family == socket.AF_INET else "::1", 0))
        self._listening.listen(64)
        self._over = threading.Event()
        self._connections: list[socket.socket] = []
        self.port = self._listening.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}" if self.family == socket.AF_INET else f"[::1]:{self.port}"
        self.url = f"http://{self.host}"

    @contextmanager
    def running(self) -> Iterator[RawWeb]:
        threads = [threading.Thread(target=self._accept)]
        threads[0].start()
        self._threads = threads
        try:
            yield self
        finally:
            self._over.set()
            for one in (self._listening, *self._connections):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            for thread in threads:
                thread.join()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, len(self._connections)))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while line := stream.readline().decode("latin-1").strip():
                headers = {}
                while header := stream.readline().decode("latin-1").strip():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                asked = Asked(line, headers, number)
                self.asked.append(asked)
                answer = self.answers(asked)
                if answer is None:
                    self._over.wait(60)
                    return
                connection.sendall(answer.removesuffix(CLOSE))
                if answer.endswith(CLOSE):
                    connection.shutdown(socket.SHUT_RDWR)
                    return


CLOSE = b"<close>"
"""At the end of an answer: the connection is closed after it."""


def answer(
    body: bytes = b"",
    status: str = "200 OK",
    *headers: str,
    length: bool = True,
    close: bool = False,
) -> bytes:
    """An answer; with ``length`` it says how long its body is."""
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body + (CLOSE if close else b"")


def http_date(seconds_from_now: float) -> str:
    """A moment as HTTP writes it."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds_from_now))
