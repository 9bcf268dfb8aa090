"""Hosts of their own on one machine: network namespaces on a bridge, each with a cable that can be pulled.

A host is a process that waits on a pipe of the tests: the first one of a namespace of process ids, so that the kernel ends all
others of the host with it. When the tests end, however they end, the pipe closes; then nothing is left of any host.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

NET = "10.77.16"
"""Nobody else sees these addresses: the bridge is in a namespace of its own."""

_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_NAMESPACES = ("--net", "--pid", "--ipc", "--mount")
_WAIT = ("sh", "-c", 'mount -t tmpfs shm /dev/shm && cat; rm -rf -- "$0"')
"""What the first process of a host does, followed by a folder that is to go with it. Shared memory is of the host's own: what is
killed leaves it behind."""


@cache
def why_not() -> str | None:
    """Why this machine cannot have hosts, in one line."""
    if sys.platform != "linux":
        return "there are network namespaces on Linux only"
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: util-linux, iproute2)"
    if postgres_program("postgres") is None:
        return "PostgreSQL's server is not installed (Debian: postgresql)"
    if wrong_clock("+1h") is None:
        return "libfaketime is not installed (Debian: faketime)"
    try:
        with wired() as wire:
            wire.host()
    except subprocess.CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace").strip().splitlines() or [str(error)]
        return f"no right to make network namespaces with a bridge here: {said[-1]}"
    return None


def postgres_program(name: str) -> str | None:
    """The path of one of PostgreSQL's own programs, of the newest version that is there."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return shutil.which(name, path=os.pathsep.join([*map(str, reversed(folders)), _PATH]))


@dataclass
class Program:
    """A process of a host."""

    waiting: subprocess.Popen[bytes]

    @property
    def ended(self) -> bool:
        return self.waiting.poll() is not None

    def kill(self) -> None:
        """SIGKILL to the process itself, by its id."""
        for pid in _children(self.waiting.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.waiting.wait(10)


@dataclass
class Host:
    """One host: its own network, its own processes, its own folder."""

    address: str
    disk: Path
    first: int
    _holder: subprocess.Popen[bytes] = field(repr=False)
    _port: str
    _wire: int
    _programs: list[Program] = field(default_factory=list)

    def start(self, *command: str, user: str | None = None, **options: Any) -> Program:
        """Begin a process, in the host's folder; options as Popen takes them."""
        as_user: list[str] = []
        if user is not None:
            known = pwd.getpwnam(user)
            as_user = [f"--setuid={known.pw_uid}", f"--setgid={known.pw_gid}"]
        enter = [_program("nsenter"), f"--target={self.first}", *_NAMESPACES, f"--wd={self.disk}", *as_user, "--"]
        program = Program(subprocess.Popen([*enter, *command], **{"stdin": subprocess.DEVNULL, **options}))
        self._programs.append(program)
        return program

    def run(self, *command: str, timeout: float = 60, **options: Any) -> str:
        """What a process says that ends well."""
        program = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        try:
            out, said = program.waiting.communicate(timeout=timeout)
        except BaseException:
            program.kill()
            raise
        assert program.waiting.returncode == 0, (command, out.decode(), said.decode())
        return out.decode()

    def pull_cable(self) -> None:
        """Cut the host off: not a word gets in or out any more, and nobody is told."""
        _ip(self._wire, "link", "set", self._port, "down")

    def plug_in(self) -> None:
        """The link is there again."""
        _ip(self._wire, "link", "set", self._port, "up")

    def die(self) -> None:
        """As when the power goes: it falls silent first, so that no connection is closed, then every process ends."""
        self.pull_cable()
        os.kill(self.first, signal.SIGKILL)
        self._holder.wait(10)

    def end(self) -> None:
        """All processes, the network and the folder."""
        _end(self._holder)
        for program in self._programs:
            program.waiting.wait(10)


class Wire:
    """What hosts are plugged into."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts: list[Host] = []
        self._holder, self._first = _held(folder)
        try:
            _ip(self._first, "link", "add", "bridge", "type", "bridge")
            _ip(self._first, "link", "set", "bridge", "up")
        except BaseException:
            self.end()
            raise

    def host(self) -> Host:
        """One more host."""
        number = len(self._hosts) + 1
        disk = self._folder / f"host{number}"
        disk.mkdir(mode=0o755)
        holder, first = _held(disk)
        host = Host(f"{NET}.{number}", disk, first, holder, f"port{number}", self._first)
        self._hosts.append(host)
        _ip(self._first, "link", "add", host._port, "type", "veth", "peer", "name", "eth0", "netns", str(first))
        _ip(self._first, "link", "set", host._port, "master", "bridge", "up")
        _ip(first, "addr", "add", f"{host.address}/24", "dev", "eth0")
        for name in ("lo", "eth0"):
            _ip(first, "link", "set", name, "up")
        return host

    def end(self) -> None:
        for host in self._hosts:
            host.end()
        _end(self._holder)


@contextmanager
def wired() -> Iterator[Wire]:
    """A wire with nobody on it, for a block."""
    folder = Path(tempfile.mkdtemp(prefix="mmmeta-hosts-"))
    folder.chmod(0o755)  # PostgreSQL does not run as root
    try:
        wire = Wire(folder)
        try:
            yield wire
        finally:
            wire.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_postgres(host: Host) -> tuple[str, str]:
    """A PostgreSQL that hosts of this net reach by TCP. Its URL for them, and the one for the tests, by a socket."""
    folder = host.disk / "postgres"
    folder.mkdir()
    user: str | None = None
    if os.getuid() == 0:
        user = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
        shutil.chown(folder, user)
    initdb, server = postgres_program("initdb"), postgres_program("postgres")
    assert initdb is not None
    assert server is not None
    db = folder / "db"
    host.run(
        *(initdb, "-D", str(db), "-A", "trust", "-U", "test", "--encoding=UTF8", "--locale=C", "--no-sync"),
        user=user,
    )
    (db / "pg_hba.conf").write_text(f"local all all trust\nhost all test {NET}.0/24 trust\n")
    given = {
        "listen_addresses": host.address,
        "unix_socket_directories": str(folder),
        "fsync": "off",
    }
    options = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
    with (host.disk / "postgres.log").open("wb") as log:
        program = host.start(server, "-D", str(db), *options, user=user, stdout=log, stderr=log)
    wait_for(lambda: program.ended or (folder / ".s.PGSQL.5432").exists(), 20, "PostgreSQL's socket")
    assert not program.ended, (host.disk / "postgres.log").read_text()
    return f"postgresql+psycopg://test@{host.address}/postgres", f"postgresql+psycopg://test@/postgres?host={folder}"


def wait_for(met: Callable[[], T], seconds: float, what: str) -> T:
    """Until a condition gives something true, which is returned."""
    until = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < until, f"{what}: not within {seconds:g} seconds"
        time.sleep(0.05)
    return found


def _held(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """What keeps new namespaces, and the id of their first process."""
    command = [_program("unshare"), *_NAMESPACES, "--fork", "--kill-child", "--", *_WAIT, str(folder)]
    pipe = subprocess.PIPE
    holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with suppress(OSError):
        holder.stdin.write(b"ready\n")
        holder.stdin.flush()
    if not holder.stdout.readline():
        _, said = holder.communicate()
        raise subprocess.CalledProcessError(holder.returncode, command, stderr=said)
    return holder, _children(holder.pid)[0]


def _end(holder: subprocess.Popen[bytes]) -> None:
    assert holder.stdin is not None
    with suppress(OSError):
        holder.stdin.close()
    try:
        holder.wait(20)
    except subprocess.TimeoutExpired:
        for pid in _children(holder.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        holder.wait(10)
    for pipe in (holder.stdout, holder.stderr):
        assert pipe is not None
        pipe.close()


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _ip(inside: int, *words: str) -> None:
    """Change the network in which a process is."""
    command = [_program("nsenter"), f"--target={inside}", "--net", "--", _program("ip"), *words]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    assert found is not None, name
    return found


def wrong_clock(by: str) -> dict[str, str] | None:
    """The variables for a process whose clock is wrong, ``+1h`` for an hour ahead; None where that cannot be done.

    libfaketime stands between the process and the kernel, so that it reaches whatever asks what time it is: mmmeta, psycopg,
    libpq, SQLAlchemy. What measures how long something takes is left alone, as it is on a host whose clock is wrong. (A time
    namespace shifts only that.)
    """
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        return None
    alone = dict.fromkeys(("FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"), "1")
    return {"LD_PRELOAD": str(libraries[0]), "FAKETIME": by, **alone}
