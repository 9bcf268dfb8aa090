"""Documents arrive whole, checked, once, and from nowhere else than allowed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmmeta.documents.digests import digest_kind
from mmmeta.documents.source import document_source
from mmmeta.documents.transfer import Downloaded, difference, download, download_into
from mmmeta.errors import DownloadError, UnsafeNameError
from mmmeta.layout import PARTS

CONTENT = b"a contract\n" * 50_000


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A folder with one document of several chunks."""
    folder = tmp_path / "remote"
    folder.mkdir()
    (folder / "a b%20ü.pdf").write_bytes(CONTENT)
    return folder


@pytest.fixture
def document(remote: Path) -> Path:
    return remote / "a b%20ü.pdf"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads" / "a.pdf"


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256", "sha512"])
def test_a_path_is_copied_and_checked(kind: str, document: Path, target: Path) -> None:
    """Every known kind of digest is recognised and compared, in either case."""
    digest = hashlib.new(kind, CONTENT).hexdigest()
    for expected in (digest, digest.upper()):
        target.unlink(missing_ok=True)
        result = download(
            str(document),
            target,
            allowed_roots=[document.parent],
            expected_digest=expected,
            expected_size=len(CONTENT),
        )
        assert Downloaded(target, len(CONTENT), True) == result
        assert target.read_bytes() == CONTENT
    assert [target.name] == names(target.parent)


def test_a_file_url_is_percent_decoded_and_a_path_is_not(document: Path, target: Path) -> None:
    """`%25` of a URL is one percent sign; a path with `%20` means just that."""
    for source in (document.as_uri(), document.as_uri().replace("file:///", "file://localhost/"), str(document)):
        target.unlink(missing_ok=True)
        assert download(source, target, allowed_roots=[document.parent]).fetched
        assert target.read_bytes() == CONTENT


def test_a_name_that_is_not_utf8_is_reached_by_its_url(remote: Path, target: Path) -> None:
    """Percent-decoding gives bytes, and bytes are what names are made of."""
    Path(os.fsdecode(os.fsencode(remote) + b"/\xff.pdf")).write_bytes(b"x")
    assert download(remote.as_uri() + "/%FF.pdf", target, allowed_roots=[remote]).bytes == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("https://example.org/a.pdf", "is not on this machine"),
        ("s3://bucket/a.pdf", "is not on this machine"),
        ("a.pdf", "is not on this machine"),
        ("//host/a.pdf", "is not on this machine"),
        ("", "is not on this machine"),
        ("file://host/a.pdf", "names the host 'host'"),
        ("file:a.pdf", "not an absolute"),
        ("file:///a?b", "%3F"),
        ("file:///a#b", "%23"),
        ("/a\0b", "NUL"),
        ("file:///a%00b", "NUL"),
    ],
)
def test_other_sources_are_refused_with_the_reason(source: str, reason: str, target: Path) -> None:
    """What cannot be read says so; nothing is written."""
    with pytest.raises(DownloadError, match=reason):
        download(source, target, allowed_roots=[Path("/")])
    assert names(target.parent) == []


def test_an_identical_target_is_not_fetched_again(document: Path, target: Path) -> None:
    """By digest without the source even being there, else by size and content."""
    digest = hashlib.sha1(CONTENT).hexdigest()
    roots = [document.parent]
    assert download(str(document), target, allowed_roots=roots).fetched
    before = target.stat()
    assert not download(str(document), target, allowed_roots=roots).fetched
    assert not download(str(document), target, allowed_roots=roots, expected_digest="not a digest").fetched
    document.unlink()
    result = download(str(document), target, allowed_roots=roots, expected_digest=digest)
    assert Downloaded(target, len(CONTENT), False) == result
    assert (before.st_ino, before.st_mtime_ns) == (target.stat().st_ino, target.stat().st_mtime_ns)


def test_a_changed_document_replaces_the_target(document: Path, target: Path) -> None:
    """Same size or not, other content is fetched."""
    roots = [document.parent]
    download(str(document), target, allowed_roots=roots)
    for changed in (CONTENT[:-1] + b"!", CONTENT + b"more", b""):
        document.write_bytes(changed)
        assert download(str(document), target, allowed_roots=roots).fetched
        assert changed == target.read_bytes()


@pytest.mark.parametrize("existing", [None, b"an older version"])
def test_a_mismatch_leaves_the_target_as_it_was(existing: bytes | None, document: Path, target: Path) -> None:
    """Digest and size: the message names source, expected and got, and no part stays behind."""
    if existing is not None:
        target.write_bytes(existing)
    wrong, right = hashlib.sha1(b"other").hexdigest(), hashlib.sha1(CONTENT).hexdigest()
    with pytest.raises(DownloadError) as caught:
        download(str(document), target, allowed_roots=[document.parent], expected_digest=wrong)
    assert all(part in str(caught.value) for part in (str(document), wrong, right, "sha1"))
    with pytest.raises(DownloadError, match=f"expected 7 bytes, got {len(CONTENT)}"):
        download(str(document), target, allowed_roots=[document.parent], expected_size=7)
    assert ([] if existing is None else [target.name]) == names(target.parent)
    assert existing is None or existing == target.read_bytes()


def test_a_document_that_changes_while_it_is_read_is_refused(
    document: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a digest nothing else would tell that the copy is of no version at all."""
    import mmmeta.documents.local as module

    chunks = module.chunks

    def interrupted(stream: object) -> object:
        for chunk in chunks(stream):  # type: ignore[arg-type]
            yield chunk
            with document.open("ab") as file:
                file.write(b"x" * 10)

    monkeypatch.setattr(module, "chunks", interrupted)
    monkeypatch.setattr(module, "CHUNK", len(CONTENT))
    with pytest.raises(DownloadError, match="changed while it was read"):
        download(str(document), target, allowed_roots=[document.parent])
    assert names(target.parent) == []


@pytest.mark.parametrize("make", ["missing", "folder", "pipe", "unreadable"])
def test_what_is_not_a_readable_file_is_one_clear_error(make: str, remote: Path, target: Path) -> None:
    """Nothing blocks and nothing is written."""
    source = remote / "x"
    if make == "folder":
        source.mkdir()
    elif make == "pipe":
        os.mkfifo(source)
    elif make == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        source.write_bytes(b"x")
        source.chmod(0)
    with pytest.raises(DownloadError, match=str(source)):
        download(str(source), target, allowed_roots=[remote])
    assert names(target.parent) == []


def test_only_allowed_folders_are_read(remote: Path, document: Path, target: Path, tmp_path: Path) -> None:
    """Not by an address, not by `..`, not by its percent code, not through a symbolic link, and no metadir."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (remote / "link").symlink_to(secret)
    (remote / "linked folder").symlink_to(tmp_path)
    (remote / "_mmmeta" / "local").mkdir(parents=True)
    (remote / "_mmmeta" / "local" / "state.db").write_text("state")
    beside = tmp_path / "remote and more"
    beside.mkdir()
    (beside / "x").write_text("x")
    for source in (
        str(secret),
        secret.as_uri(),
        "file:///etc/passwd",
        f"{remote}/../secret",
        f"{remote.as_uri()}/%2e%2e/secret",
        f"{remote.as_uri()}/..%2Fsecret",
        f"{remote}/link",
        f"{remote}/linked folder/secret",
        f"{remote}/_mmmeta/local/state.db",
        f"{beside}/x",
    ):
        with pytest.raises(DownloadError, match="outside the folders that may be read"):
            download(source, target, allowed_roots=[remote])
    with pytest.raises(DownloadError, match="none"):
        download(str(document), target, allowed_roots=[])
    assert names(target.parent) == []
    (tmp_path / "alias").symlink_to(remote)
    assert download(f"{tmp_path}/alias/{document.name}", target, allowed_roots=[tmp_path / "alias"]).fetched


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "/x", "a/", "a\0b"])
def test_a_name_cannot_leave_the_folder(name: str, document: Path, tmp_path: Path) -> None:
    """The second fence behind the name template."""
    with pytest.raises(UnsafeNameError):
        download_into(tmp_path / "downloads", name, str(document), allowed_roots=[document.parent])
    assert not (tmp_path / "x").exists()


def test_a_link_in_the_target_folder_is_not_followed_out(document: Path, tmp_path: Path) -> None:
    """A linked folder is refused, also one that does not exist yet; a linked file is replaced, not written through."""
    root, outside = tmp_path / "downloads", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "file").write_text("keep")
    (root / "folder").symlink_to(outside)
    (root / "nowhere").symlink_to(tmp_path / "not there")
    (root / "file").symlink_to(outside / "file")
    roots = [document.parent]
    for name in ("folder/x", "folder/a/b", "nowhere/x"):
        with pytest.raises(UnsafeNameError, match="symbolic link"):
            download_into(root, name, str(document), allowed_roots=roots)
    assert download_into(root, "file", str(document), allowed_roots=roots).fetched
    assert (root / "file").read_bytes() == CONTENT
    assert (outside / "file").read_text() == "keep"
    assert names(outside) == ["file"]
    assert not (tmp_path / "not there").exists()


def test_folders_are_made_and_links_inside_are_fine(document: Path, tmp_path: Path) -> None:
    """A name may hold folders; the folder itself may be a link."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "downloads").symlink_to(tmp_path / "disk")
    result = download_into(tmp_path / "downloads", "2024/05/ä.pdf", str(document), allowed_roots=[document.parent])
    assert tmp_path / "disk/2024/05/ä.pdf" == result.path
    assert result.path.read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="cannot be"):
        download_into(tmp_path / "downloads", "2024/05/ä.pdf/x", str(document), allowed_roots=[document.parent])


def test_a_target_that_cannot_be_written_is_one_clear_error(document: Path, target: Path) -> None:
    """A folder in its place, a missing folder, a name too long for the file system."""
    target.mkdir()
    roots = [document.parent]
    for path in (target, target.parent / "missing" / "x", target.parent / ("x" * 300)):
        with pytest.raises(DownloadError, match="cannot be copied"):
            download(str(document), path, allowed_roots=roots)
    assert [target.name] == names(target.parent)


def test_the_mode_follows_the_umask(document: Path, target: Path) -> None:
    """Not the private mode of a temporary file."""
    before = os.umask(0o027)
    try:
        download(str(document), target, allowed_roots=[document.parent])
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_killed_download_leaves_no_target_and_its_part_is_cleared_away(remote: Path, target: Path) -> None:
    """SIGKILL in the middle of the stream; afterwards one part in a folder of its own, and none after the next attempt."""
    document = remote / "large"
    with document.open("wb") as file:
        file.truncate(1 << 30)
    code = (
        "import sys, pathlib; from mmmeta.documents.transfer import download; import mmmeta.documents.local as t\n"
        "chunks = t.chunks\n"
        "def slow(stream):\n"
        "    import time\n"
        "    for chunk in chunks(stream):\n"
        "        yield chunk\n"
        "        print('chunk', flush=True); time.sleep(60)\n"
        "t.chunks = slow\n"
        f"download({str(document)!r}, pathlib.Path({str(target)!r}), allowed_roots=[pathlib.Path({str(remote)!r})])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"chunk\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert names(target.parent) == [PARTS]
    assert len(names(target.parent / PARTS)) == 1
    document.write_bytes(CONTENT)
    download(str(document), target, allowed_roots=[remote])
    assert [target.name] == names(target.parent)
    assert target.read_bytes() == CONTENT


def test_a_part_that_somebody_else_writes_is_not_touched(document: Path, target: Path) -> None:
    """A stalled worker keeps its part; the next one uses another name, and both end whole."""
    (target.parent / PARTS).mkdir()
    with (target.parent / PARTS / "stalled").open("wb") as stalled:
        fcntl.flock(stalled, fcntl.LOCK_EX)
        stalled.write(b"half")
        stalled.flush()
        assert download(str(document), target, allowed_roots=[document.parent]).fetched
        assert (target.parent / PARTS / "stalled").read_bytes() == b"half"
    assert target.read_bytes() == CONTENT


def test_many_at_once_on_one_target(document: Path, target: Path) -> None:
    """Threads racing for one name leave one whole document and no parts."""
    from concurrent.futures import ThreadPoolExecutor

    def fetch(index: int) -> bool:
        if index % 3 == 0:
            target.unlink(missing_ok=True)
        return download(str(document), target, allowed_roots=[document.parent]).bytes == len(CONTENT)

    deadline = time.monotonic() + 2
    with ThreadPoolExecutor(8) as pool:
        while time.monotonic() < deadline:
            assert all(pool.map(fetch, range(16)))
    fetch(1)
    assert [target.name] == names(target.parent)
    assert target.read_bytes() == CONTENT


def test_digests_are_known_by_length_and_digits() -> None:
    """Anything else is an identifier and says nothing about the bytes."""
    assert digest_kind("a" * 40) == "sha1"
    assert [digest_kind(value) for value in ("", "a" * 39, "g" * 40, "٣" * 40, None, 12)] == [None] * 6


def test_a_document_that_gives_an_error_while_it_is_read_is_not_another_one(
    document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be read, and that is what is said of it."""

    def fail(*_: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("mmmeta.documents.transfer._digest", fail)
    why = difference(document, hashlib.sha1(document.read_bytes()).hexdigest(), None)
    assert why == f"{document} cannot be read: Input/output error"


def test_where_a_document_is(tmp_path: Path) -> None:
    """A local public_url, else the template, else beside the metadata file, else a web address."""

    def source(data: dict[str, object], url: str | None = None, name: str | None = "a.pdf") -> str:
        return document_source(
            data.get, remote_url=url, file_name=name, source="2024/05/a.json", files_root=Path("/files")
        )

    assert source({"public_url": "file:///x"}, "https://x") == "file:///x"
    assert source({"public_url": "/x"}, "https://x") == "/x"
    assert source({"public_url": "https://y"}, "https://x") == "https://x"
    assert source({"public_url": "//host/y"}, "https://x") == "https://x"
    assert source({"public_url": "https://y"}) == "https://y"
    assert source({"public_url": "s3://b/y"}) == "s3://b/y"
    assert source({"public_url": "y.pdf"}) == "/files/2024/05/a.pdf"
    (tmp_path / "2024" / "05").mkdir(parents=True)
    (tmp_path / "2024" / "05" / "a.pdf").write_bytes(b"")
    here = document_source(
        {"public_url": "https://y"}.get,
        remote_url=None,
        file_name="a.pdf",
        source="2024/05/a.json",
        files_root=tmp_path,
    )
    assert here == f"{tmp_path}/2024/05/a.pdf"
    assert source({"public_url": 12}) == "/files/2024/05/a.pdf"
    assert source({}, name="docs/a.pdf") == "/files/2024/05/docs/a.pdf"
    with pytest.raises(DownloadError, match="nothing says"):
        source({}, name=None)
    assert (
        document_source({}.get, remote_url=None, file_name="a.pdf", source=None, files_root=Path("/files"))
        == "/files/a.pdf"
    )
