"""The action ``download``: documents into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmmeta.action import Item, failed
from mmmeta.config import Config
from mmmeta.errors import MmmetaError
from mmmeta.file import File
from mmmeta.layout import Layout
from mmmeta.ledger import Outcome
from mmmeta.project_models import DownloadAction


class Download:
    """Fetches documents into a folder; checked against the content digest where that is a known one."""

    batched = False
    keeps_time = True

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        raise NotImplementedError

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        raise NotImplementedError

    def __init__(self, action: DownloadAction, config: Config, layout: Layout) -> None:
        self._root = Path(action.to)
        self._name = action.name
        self._config = config
        self._layout = layout

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        return [self._download(item) for item in items]

    def _download(self, item: Item) -> Outcome:
        from mmmeta.remote import render_name
        from mmmeta.transfer import document_source, download_into

        file = item.file
        try:
            file_name = file.get(self._config.metadata.file_name)
            source = document_source(
                file.get,
                remote_url=file.remote.url if "url" in self._config.remote else None,
                file_name=file_name if isinstance(file_name, str) else None,
                source=file.source,
                files_root=self._layout.files_root,
            )
            result = download_into(
                self._root,
                render_name(self._name, file.get),
                source,
                allowed_roots=[self._layout.files_root],
                expected_digest=file.get(self._config.metadata.content),
            )
        except (MmmetaError, OSError) as error:
            return failed(item.claim, error)
        return Outcome(item.claim, bytes=result.bytes)

    def close(self) -> None:
        """Nothing to let go of."""
