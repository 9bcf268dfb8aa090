"""The document of a file: where it is, and what is in it, as text or as bytes, bounded and checked against its digest."""

from __future__ import annotations

from pathlib import Path

from mmmeta.config.model import Config
from mmmeta.documents.digests import Digest, digest_of
from mmmeta.documents.source import document_source
from mmmeta.documents.transfer import read_document
from mmmeta.errors import LoadError
from mmmeta.files.file import File
from mmmeta.layout import Layout
from mmmeta.project.load import LoadContent


def read_content(source: str, content: LoadContent, *, files_root: Path, expected_digest: Digest | None) -> str | bytes:
    """The document as its column takes it; a byte order mark is no part of a text.

    Args:
        source: where it is, as ``document_source`` gives it; it has to lie below ``files_root``.
        expected_digest: the metadata's, as ``digest_in`` gives it.

    Raises:
        DownloadError: it cannot be read, is too large, or not what the metadata says.
        LoadError: it is to be text and is not UTF-8.
    """
    data = read_document(source, allowed_roots=[files_root], largest=content.max, expected_digest=expected_digest)
    if content.as_ == "bytes":
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadError(
            f"{source}: is not UTF-8 text (byte {error.start} is {data[error.start]:#04x}). Select text documents only, "
            "or load it with `as: bytes`"
        ) from None


def digest_in(file: File, config: Config) -> Digest | None:
    """The digest of a file's document, where its content key holds one.

    Raises:
        DownloadError: it is said to hold one, and does not.
    """
    rules = config.metadata
    return digest_of(file.get(rules.content), key=rules.content, said=rules.digest)


def source_of(file: File, config: Config, layout: Layout) -> str:
    """Where a file's document is: an absolute path or a URL, not yet checked.

    Raises:
        DownloadError, RemoteTemplateError: nothing says where.
    """
    file_name = file.get(config.metadata.file_name)
    return document_source(
        file.get,
        remote_url=file.remote.url if "url" in config.remote else None,
        file_name=file_name if isinstance(file_name, str) else None,
        source=file.source,
        files_root=layout.files_root,
    )
