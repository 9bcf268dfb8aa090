"""What stands between a client and a real server on a bad day: a line that is slow, that is cut, that changes bytes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CHUNK = 8_192


@dataclass
class Line:
    """A TCP proxy on a free port of the loopback interface; what it does to a connection may be changed at any time.

    Attributes:
        target: a port of this machine, or the path of a Unix socket.
        port: where it listens.
        rate: bytes a second of each connection, in each direction; None for as fast as it goes.
        cut_after: a connection is cut after so many bytes to the client (``cut_up``: or to the server).
        flip_every: one byte of so many to the client is changed.
        times: how often it does so before the line is a good one again.
        connections: how many there have been.
        down, up: bytes that went to the client and to the server.
        hurt: how often a connection was cut, or a byte changed.
    """

    target: int | str
    port: int = 0
    rate: float | None = None
    cut_after: int | None = None
    cut_up: int | None = None
    flip_every: int | None = None
    times: int = 1_000_000
    connections: int = 0
    down: int = 0
    up: int = 0
    hurt: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            if isinstance(self.target, str):
                there, to_server = await asyncio.open_unix_connection(self.target)
            else:
                there, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.ensure_future(self._pass(there, writer, down=True)),
            asyncio.ensure_future(self._pass(reader, to_server, down=False)),
        ]
        try:
            await asyncio.gather(*ways)
        except (OSError, EOFError):
            pass
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, to_server):
                end.transport.abort()
            self._tasks.discard(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, down: bool) -> None:
        passed = 0
        while data := await source.read(CHUNK):
            limit = self.cut_after if down else self.cut_up
            if limit is not None and self.times > 0 and passed + len(data) > limit:
                self.times -= 1
                self.hurt += 1
                sink.write(data[: max(0, limit - passed)])
                with contextlib.suppress(OSError):
                    await sink.drain()
                raise EOFError
            every = self.flip_every
            if down and every is not None and self.times > 0 and passed // every < (passed + len(data)) // every:
                self.times -= 1
                self.hurt += 1
                at = len(data) - 1 - (passed + len(data)) % every
                data = data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]
            passed += len(data)
            if down:
                self.down += len(data)
            else:
                self.up += len(data)
            sink.write(data)
            await sink.drain()
            if self.rate is not None:
                await asyncio.sleep(len(data) / self.rate)
        if sink.can_write_eof():
            sink.write_eof()


@contextmanager
def line_to(target: int | str) -> Iterator[Line]:
    """A proxy before this port or Unix socket, for a block."""
    line = Line(target)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(line._serve, "127.0.0.1", 0)
        line.port = server.sockets[0].getsockname()[1]
        ready.set()
        await over.wait()
        server.close()
        for task in list(line._tasks):
            task.cancel()
        await asyncio.gather(*line._tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="line")
    thread.start()
    assert ready.wait(10)
    try:
        yield line
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
