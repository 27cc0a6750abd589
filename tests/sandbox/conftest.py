"""The archive of the sandbox exchange, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.sandbox.archive import build_archive


@pytest.fixture(scope="package")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sandbox") / "archive"
    assert not build_archive(root).reused
    return root
