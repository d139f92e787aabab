"""Which columns the booster is fitted to: what is useless goes, the rest must beat random shadows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from modules.errors import ConfigError
from modules.manifest import EXTRA

SELECTION = "selection.json"
FROZEN = ConfigDict(frozen=True, extra="forbid")

Reason = Literal["constant", "missing", "duplicate", "shadows", "top_k"]


class Dropped(BaseModel):
    """A column that the booster never sees.

    Attributes:
      name: of the transformed column.
      source: row of the feature table it comes from.
      reason: constant: one value in all rows. missing: of more rows than `max_missing`. duplicate: the same as an
        earlier column, or the same after a monotone map. shadows: its unit did not beat the shadows. top_k: it did,
        but others are stronger.
      figures: constant: `value` (absent where it is missing everywhere); missing: `share`; shadows and top_k: `hits`
        and `score` of its unit.
      like: duplicate: the column that stays in its place.
    """

    model_config = FROZEN
    name: str
    source: str
    reason: Reason
    figures: dict[str, float] = {}
    like: str | None = None


class Ranked(BaseModel):
    """A unit of the ranking: the columns of one row of the feature table, or one column.

    Attributes:
      name: the row's name, or the column's.
      columns: names of its columns.
      score: mean over the rounds of how much log loss held-out leads lose without it, in nats per lead.
      hits: rounds in which it beat the best shadow.
      kept: whether the booster sees it.
    """

    model_config = FROZEN
    name: str
    columns: tuple[str, ...]
    score: float
    hits: int
    kept: bool


class Selection(BaseModel):
    """What selection decided and why; assets.extra/selection.json.

    Attributes:
      kept: names of the columns the booster is fitted to, in its order.
      dropped: the others, in their order.
      ranking: every unit that was ranked, strongest first; empty without ranking.
      rounds: rounds of the ranking.
      needed: hits a unit needs to stay.
      threshold: mean over the rounds of the best shadow's score; None without ranking.
      rows: rows the ranking saw.
      seconds: time it took.
    """

    model_config = FROZEN
    kept: tuple[str, ...]
    dropped: tuple[Dropped, ...] = ()
    ranking: tuple[Ranked, ...] = ()
    rounds: int = 0
    needed: int = 0
    threshold: float | None = None
    rows: int = 0
    seconds: float = 0.0

    @classmethod
    def read(cls, model_dir: str | Path) -> Selection:
        """Reads the selection of a SavedModel.

        Raises:
          ConfigError: the model was trained without one.
        """
        path = Path(model_dir) / EXTRA / SELECTION
        if not path.is_file():
            raise ConfigError(f"{model_dir} has no {EXTRA}/{SELECTION}: it was trained without `model.selection`")
        return cls.model_validate_json(path.read_text())

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)

    @property
    def dropped_features(self) -> tuple[str, ...]:
        """Rows of the feature table no column of which is left, in the order of the columns."""
        stay = set(self.kept)
        left = {source for ranked in self.ranking for source in (ranked.name,) if set(ranked.columns) & stay}
        return tuple(dict.fromkeys(d.source for d in self.dropped if d.source not in left))
