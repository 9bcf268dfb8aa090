"""What counts as the digest of a document: by its own word, by its key's name, by config.yml; and what does not."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import RunReport
from mmmeta.documents.digests import Digest, digest_of, is_usual
from mmmeta.errors import ConfigError, DownloadError

CONTENT = b"a contract\n"
SHA1 = hashlib.sha1(CONTENT)
SHA256 = hashlib.sha256(CONTENT)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"sha1:{SHA1.hexdigest()}", "sha1"),
        (f"SHA-1:{SHA1.hexdigest().upper()}", "sha1"),
        (f"sha1:{base64.b32encode(SHA1.digest()).decode()}", "sha1"),
        (f"sha256-{SHA256.hexdigest()}", "sha256"),
        (f"sha256-{base64.b64encode(SHA256.digest()).decode()}", "sha256"),
        (f"sha256={base64.urlsafe_b64encode(SHA256.digest()).decode().rstrip('=')}", "sha256"),
        (f"md5:{hashlib.md5(CONTENT).hexdigest()}", "md5"),
        (f"sha512:{hashlib.sha512(CONTENT).hexdigest()}", "sha512"),
    ],
)
@pytest.mark.parametrize("key", ["content_hash", "etag"])
def test_a_value_that_says_its_kind_is_taken_at_its_word(text: str, kind: str, key: str) -> None:
    """Whatever its key is called; hexadecimal, base64 and base32 are understood."""
    expected = Digest(kind, hashlib.new(kind, CONTENT).hexdigest())
    assert digest_of(text, key=key, said=None) == expected
    assert digest_of(text, key=key, said=kind) == expected
    assert digest_of(text, key=key, said="none") is None


@pytest.mark.parametrize(
    ("key", "usual"),
    [
        ("content_hash", True),
        ("_checksum", True),
        ("sha1", True),
        ("headers:content-md5", True),
        ("file:sha256sum", True),
        ("etag", False),
        ("headers:etag", False),
        ("foreign_id", False),
        ("version", False),
        ("url_hash", False),
        ("hashtag", False),
    ],
)
def test_bare_digits_are_a_digest_under_the_usual_names_only(key: str, usual: bool) -> None:
    """An ETag of 32 digits is none, unless config.yml says so."""
    digits = hashlib.md5(CONTENT).hexdigest()
    assert is_usual(key) is usual
    assert digest_of(digits, key=key, said=None) == (Digest("md5", digits) if usual else None)
    assert digest_of(digits, key=key, said="md5") == Digest("md5", digits)


@pytest.mark.parametrize(("text", "said"), [("sha1:abc", None), ("x", "sha1"), ("a" * 64, "sha1"), (7, "md5")])
def test_what_is_said_to_be_a_digest_and_is_none_is_an_error(text: object, said: str | None) -> None:
    """Nothing goes unchecked in silence; the message says how to mend it."""
    with pytest.raises(DownloadError, match=r"'content_hash' is no (sha1|md5) digest: .* config\.yml"):
        digest_of(text, key="content_hash", said=said)


@pytest.mark.parametrize("text", ["", None, "v1", "W/abc", "crc32:12345678", 7])
def test_what_is_no_digest_is_not_checked(text: object) -> None:
    """A version, a date, a number."""
    assert digest_of(text, key="content_hash", said=None) is None


def download(archive: Archive, tmp_path: Path, rules: str, **values: object) -> RunReport:
    archive.server.layout.metadir.mkdir(exist_ok=True)
    archive.server.layout.config.write_text(f"metadata: {rules}\n")
    archive.client_path.mkdir(exist_ok=True)
    (archive.client_path / "a.pdf").write_bytes(CONTENT)
    archive.write("a", id="a", _file_name="a.pdf", **values)
    archive.deliver()
    return archive.client.job("j", download={"to": str(tmp_path / "target")}, attempts=1).run()


def test_an_etag_kills_no_file(archive: Archive, tmp_path: Path) -> None:
    """32 hexadecimal digits that are not the MD5 of the document."""
    assert download(archive, tmp_path, "{unique: id, content: etag}", etag="0" * 32).done == 1


def test_a_document_is_checked_against_a_digest_with_a_prefix(archive: Archive, tmp_path: Path) -> None:
    """One that is not what ``sha256-…`` promises is refused."""
    report = download(archive, tmp_path, "{unique: id}", content_hash=f"sha256-{'0' * 64}")
    assert (report.dead, f"got {SHA256.hexdigest()}" in report.failures[0].message) == (1, True)


def test_config_says_which_digest_it_is(archive: Archive, tmp_path: Path) -> None:
    """``none`` switches the check off; a kind that is not known is named with those that are."""
    report = download(archive, tmp_path, "{unique: id, digest: none}", content_hash="0" * 40)
    assert report.done == 1
    archive.server.layout.config.write_text("metadata: {digest: sha3}\n")
    with pytest.raises(ConfigError, match=r"metadata\.digest.*sha256"):
        archive.server.generate()
