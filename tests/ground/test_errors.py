"""What an error says is to be done."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, nothing

from mmmeta.errors import MmmetaError, remedy_of
from mmmeta.state import state as state_module

REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk",
    errno.EACCES: "check the permissions",
    errno.EROFS: "mount it for writing",
    errno.EMFILE: "ulimit -n",
    errno.EIO: "check the path and its disk",
}


@pytest.mark.parametrize("number", REMEDIES, ids=errno.errorcode.get)
def test_the_remedy_fits_what_the_system_says(number: int) -> None:
    """Permissions are to blame for few of these."""
    assert REMEDIES[number] in remedy_of(OSError(number, os.strerror(number)))


def test_a_full_disk_is_no_matter_of_permissions(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the lock of a worker, and for status.json."""
    archive.write("a")
    archive.deliver()
    real = os.open

    def full(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_workers(path: Any, *args: Any, **options: Any) -> int:
        return full() if Path(os.fsdecode(path)).parent.name == "workers" else real(path, *args, **options)

    monkeypatch.setattr(os, "open", full_workers)
    with pytest.raises(MmmetaError, match=r"No space left on device; .*make room on the disk"):
        archive.client.job("look").run(nothing)
    monkeypatch.undo()
    monkeypatch.setattr(state_module, "write_status", full)
    archive.write("b")
    archive.publish()
    with pytest.raises(MmmetaError, match="No space left on device; make room on the disk"):
        archive.client.update()
