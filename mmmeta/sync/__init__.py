"""``mmmeta sync``: a metadir is pulled from where a server publishes it, or pushed there, a revision at a time.

It moves what is missing and nothing else: ``head.json`` says what there is. Who has a sync tool needs none of this.

>>> import tempfile
>>> from mmmeta import mmmeta
>>> server, client = tempfile.mkdtemp(), tempfile.mkdtemp()
>>> with mmmeta(server) as m:
...     m.files.insert(content_hash="a")
'a'
>>> report = pull(client, server)
>>> report.revision_before, report.revision, report.is_new
(None, 1, True)
>>> pull(client, server).is_new
False
"""

from __future__ import annotations

from mmmeta.sync.pulling import pull
from mmmeta.sync.pushing import push
from mmmeta.sync.report import SyncReport

__all__ = ["SyncReport", "pull", "push"]
