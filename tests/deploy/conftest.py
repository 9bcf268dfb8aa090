"""The variables that the containers get."""

from __future__ import annotations

import pytest
from deploy_files import URLS


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in URLS.items():
        monkeypatch.setenv(name, value)
