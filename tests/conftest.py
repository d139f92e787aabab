"""What many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real datasets beside the checkout; not part of the project, so tests skip without it."""
    path = PROJECT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs the real datasets in ../shared/data, which are not part of the project")
    return path
