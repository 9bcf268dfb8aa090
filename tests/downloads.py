"""Archives for tests of the action ``download``, and what their runs say."""

from __future__ import annotations

import hashlib
from typing import Any

from archives import Archive
from servers import CONTENT, Web

from mmmeta import Metadir, RunReport

SHA1 = hashlib.sha1(CONTENT).hexdigest()


def publish(archive: Archive, web: Web, names: str, template: str = "/good.pdf", **keys: Any) -> Metadir:
    for name in names:
        archive.write(name, _file_name=f"{name}/doc.pdf", public_url=web.url + template, **keys)
    archive.deliver()
    return archive.client


def failures(report: RunReport) -> dict[str, str]:
    return {failure.file: f"{failure.error_type}: {failure.message}" for failure in report.failures}
