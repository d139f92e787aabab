"""One small marketplace on disk, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.marketplace.settings import MarketplaceSettings
from modules.marketplace.write import MarketplaceReport, write_marketplace

ROWS = 6000


@pytest.fixture(scope="session")
def marketplace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MarketplaceReport]:
    """The folder and the report of 6,000 leads in CSV, seed 3."""
    out = tmp_path_factory.mktemp("marketplace")
    return out, write_marketplace(out, MarketplaceSettings(rows=ROWS, seed=3))
