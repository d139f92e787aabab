"""Which columns the booster is fitted to: what is useless goes, the rest is ranked against random shadows.

The training rows alone decide, so that the other parts stay what they are: proof. The exported model reads the kept
columns only; requests may still carry the dropped features, and nothing changes when they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from modules.encoding.columns import TransformedFeature
from modules.errors import ConfigError, DataError
from modules.lead_scoring import shadows
from modules.lead_scoring.column_checks import column_facts, same_order, sample_rows
from modules.lead_scoring.matrix import Spool, recency_weights
from modules.lead_scoring.settings import LeadScoringSettings, SelectionSettings
from modules.manifest import EXTRA

SELECTION = "selection.json"
FROZEN = ConfigDict(frozen=True, extra="forbid")

Reason = Literal["missing", "constant", "duplicate", "shadows", "top_k", "base_model"]


class Dropped(BaseModel):
    """A column that the booster never sees.

    Attributes:
      name: of the transformed column.
      source: row of the feature table it comes from.
      reason: missing: in more rows than `max_missing`. constant: one value in all rows. duplicate: the same as an
        earlier column, or a strictly monotone map of it. shadows: its unit clearly does not beat the best shadow.
        top_k: other units are stronger. base_model: the booster that is continued does not know it.
      figures: missing: `share`, 0-1. constant: `value`. shadows, top_k: `hits` and `score` of its unit.
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
      score: mean over the rounds of the log loss that held-out leads gain without it, nats per lead.
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
      dropped_features: rows of the feature table of which no column is left, in the order of their columns.
      ranking: every unit that was ranked, strongest first; empty without ranking.
      rounds: rounds of the ranking.
      needed: hits a unit needs to stay.
      threshold: mean over the rounds of the best shadow's score; None without ranking.
      rows: rows the ranking saw.
    """

    model_config = FROZEN
    kept: tuple[str, ...]
    dropped: tuple[Dropped, ...] = ()
    dropped_features: tuple[str, ...] = ()
    ranking: tuple[Ranked, ...] = ()
    rounds: int = 0
    needed: int = 0
    threshold: float | None = None
    rows: int = 0

    @classmethod
    def read(cls, model_dir: str | Path) -> Selection:
        """Reads the selection of a SavedModel.

        Raises:
          ConfigError: the model was trained without one.
        """
        found = cls.find(model_dir)
        if found is None:
            raise ConfigError(f"{model_dir} has no {EXTRA}/{SELECTION}: it was trained without `model.selection`")
        return found

    @classmethod
    def find(cls, model_dir: str | Path) -> Selection | None:
        """The selection of a SavedModel; None if it was trained without one."""
        path = Path(model_dir) / EXTRA / SELECTION
        return cls.model_validate_json(path.read_text()) if path.is_file() else None

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)

    def lines(self) -> list[str]:
        """For the summary: how many columns are left, and what went and why."""
        columns = len(self.kept) + len(self.dropped)
        how = f"; ranked in {self.rounds} rounds against random shadows, {self.rows:,} rows" if self.ranking else ""
        found = [f"selected   {len(self.kept):,} of {columns:,} columns{how}"]
        reasons: dict[Reason, dict[str, None]] = {}
        partly: dict[str, int] = {}
        for column in sorted(self.dropped, key=lambda column: _ORDER.index(column.reason)):
            if column.source not in self.dropped_features:
                partly[column.source] = partly.get(column.source, 0) + 1
            elif not any(column.source in names for names in reasons.values()):
                reasons.setdefault(column.reason, {})[column.source] = None
        parts = [f"{_IN_WORDS[reason]}: {_some(list(names))}" for reason, names in reasons.items()]
        parts += [f"{count:,} column{'s' * (count != 1)} of {source}" for source, count in partly.items()]
        return [*found, *([f"dropped    {'; '.join(parts)}"] if parts else [])]


_ORDER: tuple[Reason, ...] = ("shadows", "top_k", "base_model", "duplicate", "constant", "missing")
_IN_WORDS: dict[Reason, str] = {
    "shadows": "no better than random",
    "top_k": "weaker than the rest",
    "base_model": "unknown to the base model",
    "duplicate": "repeats another",
    "constant": "one value only",
    "missing": "nearly always missing",
}
_SHOWN = 8


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def select(train: Spool, features: Sequence[TransformedFeature], settings: LeadScoringSettings) -> Selection | None:
    """Chooses columns by the training rows.

    First goes what is useless by itself: columns that are missing in more rows than `max_missing`, constant, or the
    same as an earlier one (equal, or of equal order, which trees cannot tell apart). What is left is ranked against
    random shadows (shadows.py), by row of the feature table or by column, on at most `max_rows` random rows. Units
    that clearly do not beat the shadows go, or with `top_k` all but the strongest; one unit stays in any case.

    Args:
      train: training rows.
      features: its columns.
      settings: the model's settings; `selection` says how, the same `seed` chooses the same columns.

    Returns:
      None when `selection` is not set.

    Raises:
      DataError: every column is missing or constant.
      ConfigError: `always` names what is no row of the feature table.
    """
    how = settings.selection
    if how is None:
        return None
    _check_names(features, how)
    dropped = _without_content(train, features, how)
    left = [place for place in range(len(features)) if place not in dropped]
    if not left:
        raise DataError(
            f"all {len(features)} columns of the training part are constant or missing: there is nothing to learn "
            "from. Check the dataset file (columns, spellings of missing values) against the data."
        )
    rows = np.arange(len(train))
    if len(rows) > how.max_rows:
        rows = np.sort(np.random.default_rng([settings.seed, 1]).choice(rows, how.max_rows, replace=False))
    sample = sample_rows(train, rows, left)
    constraints = [features[place].monotone for place in left]
    repeats = same_order(train, sample, left, constraints, complete=len(rows) == len(train))
    for place, earlier in repeats.items():
        dropped[left[place]] = _dropped(features[left[place]], "duplicate", like=features[left[earlier]].name)
    found = Selection(kept=())
    if how.shadows:
        unique = [place for place in range(len(left)) if place not in repeats]
        found = _rank(
            sample[:, unique],
            train,
            rows,
            [(left[place], features[left[place]]) for place in unique],
            settings,
            dropped,
        )
    return _finished(found, features, dropped)


def of_base(features: Sequence[TransformedFeature], names: Sequence[str], used: Sequence[str]) -> Selection | None:
    """The columns of a booster that is continued: trees cannot be added on others.

    Args:
      features: all columns.
      names: what XGBoost calls them.
      used: names of the columns the booster was fitted to.

    Returns:
      None when the booster was fitted to all of them.

    Raises:
      ConfigError: the booster knows columns that are not there.
    """
    if not set(used) <= set(names):
        raise ConfigError(
            f"warm_start: the base booster knows columns that this run does not have: "
            f"{', '.join(sorted(set(used) - set(names)))}. Set warm_start to false to train anew."
        )
    known = set(used)
    dropped = {
        place: _dropped(feature, "base_model")
        for place, (feature, name) in enumerate(zip(features, names, strict=True))
        if name not in known
    }
    return _finished(Selection(kept=()), features, dropped) if dropped else None


def _check_names(features: Sequence[TransformedFeature], how: SelectionSettings) -> None:
    sources = list(dict.fromkeys(feature.source for feature in features))
    for name in how.always:
        if name not in sources:
            raise ConfigError(
                f"model.selection.always: {name!r} is no row of the feature table; the rows are {', '.join(sources)}"
            )


def _without_content(
    train: Spool, features: Sequence[TransformedFeature], how: SelectionSettings
) -> dict[int, Dropped]:
    """Columns that are missing, constant, or equal to an earlier one, by place."""
    facts = column_facts(train, len(features))
    dropped: dict[int, Dropped] = {}
    first: dict[tuple[bytes, int], int] = {}
    for place, feature in enumerate(features):
        share = float(facts.missing[place])
        if share > how.max_missing or share == 1:
            dropped[place] = _dropped(feature, "missing", {"share": share})
        elif facts.constant[place]:
            dropped[place] = _dropped(feature, "constant", {"value": float(facts.first[place])})
        else:
            # A column with another monotone constraint is another column.
            earlier = first.setdefault((facts.digests[place], feature.monotone), place)
            if earlier != place:
                dropped[place] = _dropped(feature, "duplicate", like=features[earlier].name)
    return dropped


def _rank(
    sample: NDArray[np.float32],
    train: Spool,
    rows: NDArray[np.int64],
    columns: Sequence[tuple[int, TransformedFeature]],
    settings: LeadScoringSettings,
    dropped: dict[int, Dropped],
) -> Selection:
    """Ranks the columns of the sample, and adds those that go to `dropped`."""
    how = settings.selection
    assert how is not None
    units: dict[str, list[int]] = {}
    for place, (_, feature) in enumerate(columns):
        units.setdefault(feature.source if how.unit == "feature" else feature.name, []).append(place)
    weights = None
    if settings.recency_half_life_days is not None and len(train.times):
        weights = recency_weights(train.times[rows], settings.recency_half_life_days)
    found = shadows.rank(
        sample,
        train.labels[rows],
        list(units.values()),
        how.rounds,
        settings.seed,
        weights=weights,
        nthread=settings.nthread,
    )
    scores, hits = found.scores.mean(axis=0), found.hits
    needed = shadows.needed_hits(how.rounds, how.level)
    names = list(units)
    order = sorted(range(len(names)), key=lambda unit: -scores[unit])
    always = [columns[units[name][0]][1].source in how.always for name in names]
    if how.top_k is None:
        stays = [hits[unit] >= needed or always[unit] or unit == order[0] for unit in range(len(names))]
    else:
        strongest = set(order[: how.top_k])
        stays = [unit in strongest or always[unit] for unit in range(len(names))]
    for unit, name in enumerate(names):
        if not stays[unit]:
            reason: Reason = "shadows" if how.top_k is None else "top_k"
            figures = {"hits": float(hits[unit]), "score": float(scores[unit])}
            for place in units[name]:
                dropped[columns[place][0]] = _dropped(columns[place][1], reason, figures)
    return Selection(
        kept=(),
        ranking=tuple(
            Ranked(
                name=names[unit],
                columns=tuple(columns[place][1].name for place in units[names[unit]]),
                score=float(scores[unit]),
                hits=int(hits[unit]),
                kept=stays[unit],
            )
            for unit in order
        ),
        rounds=how.rounds,
        needed=needed,
        threshold=float(found.best_shadow.mean()),
        rows=len(rows),
    )


def _finished(found: Selection, features: Sequence[TransformedFeature], dropped: dict[int, Dropped]) -> Selection:
    kept = [feature for place, feature in enumerate(features) if place not in dropped]
    sources = {feature.source for feature in kept}
    gone = dict.fromkeys(feature.source for feature in features if feature.source not in sources)
    return found.model_copy(
        update={
            "kept": tuple(feature.name for feature in kept),
            "dropped": tuple(dropped[place] for place in sorted(dropped)),
            "dropped_features": tuple(gone),
        }
    )


def _dropped(
    feature: TransformedFeature, reason: Reason, figures: dict[str, float] | None = None, like: str | None = None
) -> Dropped:
    return Dropped(name=feature.name, source=feature.source, reason=reason, figures=figures or {}, like=like)
