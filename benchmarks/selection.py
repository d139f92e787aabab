"""Feature selection against a known truth: the marketplace's leads with 25 useless columns among them.

Added are 20 columns of noise (8 normal, 4 uniform, 4 binary, 4 categories of 30 to 2,000 values), 3 duplicates (a
copy, another unit, a renamed category) and 2 constants. The generator says which features matter: a feature's strength
is the log loss that its true log-odds gain when its values are shuffled among the leads. Measured are the useless
columns that go, those of the ten strongest features that stay, the area under the ROC curve with all columns and with
the kept ones on leads that nobody saw, and the seconds selection takes.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.encoding.columns import TransformedFeature
from modules.lead_scoring.learn import learn
from modules.lead_scoring.matrix import Spool
from modules.lead_scoring.selection import Selection
from modules.lead_scoring.settings import LeadScoringSettings, SelectionSettings
from modules.marketplace.columns import CATEGORICAL, NUMERIC
from modules.marketplace.conversion import log_odds
from modules.marketplace.enquiry import INTENTS, URGENCIES
from modules.marketplace.generate import generate_chunk
from modules.marketplace.leads import Leads
from modules.marketplace.settings import MarketplaceSettings
from modules.roc import area_under_roc

SEEDS = (1, 2, 3, 4, 5)
STRONGEST = 10
TEXT = "enquiry"
CATEGORIES = (30, 100, 500, 2000)
REPEATED = ("copy", "other_unit", "other_name")


@dataclasses.dataclass(frozen=True)
class Table:
    """n leads as a matrix, with what the generator knows about them.

    Attributes:
      matrix: float32 [n, F], missing is NaN.
      labels: float32 [n], drawn from the true probabilities.
      features: its columns; those of the text are one for each intent and urgency.
      useless: names of the rows of the feature table that were added.
      strengths: log loss gained by shuffling, nats, by true feature, strongest first.
    """

    matrix: NDArray[np.float32]
    labels: NDArray[np.float32]
    features: tuple[TransformedFeature, ...]
    useless: frozenset[str]
    strengths: dict[str, float]

    @property
    def strongest(self) -> tuple[str, ...]:
        return tuple(self.strengths)[:STRONGEST]

    def spool(self, path: Path, rows: slice) -> Spool:
        """Some rows as learn reads them."""
        batch = {"features": self.matrix[rows], "label": self.labels[rows]}
        return Spool(path, [batch], range(self.matrix.shape[1]))


def make_table(rows: int, seed: int) -> Table:
    """Leads of the marketplace, in random order, with 25 useless columns among them."""
    leads = generate_chunk(MarketplaceSettings(rows=rows, seed=seed), 0).leads
    rng = np.random.default_rng([seed, rows])
    truth = log_odds(leads)
    labels = (rng.random(len(leads)) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    blocks: dict[str, dict[str, NDArray[Any]]] = {name: {name: leads.numeric[name]} for name in NUMERIC}
    for name in CATEGORICAL:
        blocks[name] = {name: np.where(leads.codes[name] < 0, np.nan, leads.codes[name])}
    blocks[TEXT] = {f"{TEXT}:{word}": leads.intent == at for at, word in enumerate(INTENTS)}
    blocks[TEXT] |= {f"{TEXT}:{word}": leads.urgency == at for at, word in enumerate(URGENCIES)}
    added = _useless(blocks, len(leads), rng)
    # What repeats another column stands behind it.
    names = [*rng.permutation([*blocks, *(name for name in added if name not in REPEATED)]), *REPEATED]
    order = rng.permutation(len(leads))
    columns: list[NDArray[np.float32]] = []
    features: list[TransformedFeature] = []
    for source in names:
        for name, values in {**blocks, **added}[source].items():
            columns.append(np.asarray(values, np.float32)[order])
            encoding = "word" if source == TEXT else "numeric"
            features.append(TransformedFeature(str(name), str(source), encoding, len(features), raw=(str(source),)))  # type: ignore[arg-type]
    return Table(
        np.stack(columns, axis=1), labels[order], tuple(features), frozenset(added), _strengths(leads, truth, rng)
    )


def _useless(
    blocks: dict[str, dict[str, NDArray[Any]]], n: int, rng: np.random.Generator
) -> dict[str, dict[str, NDArray[Any]]]:
    found: dict[str, NDArray[Any]] = {f"normal_{k}": rng.normal(size=n) for k in range(8)}
    found |= {f"uniform_{k}": rng.random(n) for k in range(4)}
    found |= {f"binary_{k}": rng.random(n) < share for k, share in enumerate((0.5, 0.3, 0.1, 0.02))}
    found |= {f"category_{count}": rng.integers(0, count, n) for count in CATEGORIES}
    visits, minutes = blocks["visits"]["visits"], blocks["time_on_site_s"]["time_on_site_s"] / 60
    found |= dict(zip(REPEATED, (visits, minutes, -blocks["source"]["source"]), strict=True))
    found |= {"constant": np.ones(n), "empty": np.full(n, np.nan)}
    return {name: {name: values} for name, values in found.items()}


def _strengths(leads: Leads, truth: NDArray[np.float64], rng: np.random.Generator) -> dict[str, float]:
    probability, order = 1 / (1 + np.exp(-truth)), rng.permutation(len(leads))

    def loss(odds: NDArray[np.float64]) -> float:
        return float((np.logaddexp(0, odds) - probability * odds).mean())

    def without(name: str) -> Leads:
        if name == TEXT:
            return dataclasses.replace(leads, intent=leads.intent[order], urgency=leads.urgency[order])
        if name in leads.numeric:
            return dataclasses.replace(leads, numeric={**leads.numeric, name: leads.numeric[name][order]})
        return dataclasses.replace(leads, codes={**leads.codes, name: leads.codes[name][order]})

    found = {name: loss(log_odds(without(name))) - loss(truth) for name in (*NUMERIC, *CATEGORICAL, TEXT)}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def measure(table: Table, settings: LeadScoringSettings, folder: Path) -> tuple[Selection | None, float, float, int]:
    """Learns from 64 % of the rows, stops by 16 %, calibrates on 10 %.

    Returns:
      What was selected, the area under the ROC curve on the last 10 %, seconds, columns of the booster.
    """
    n = len(table.labels)
    ends = [0, round(0.64 * n), round(0.8 * n), round(0.9 * n), n]
    parts = ("train", "validation", "calibration", "test")
    spools = {p: table.spool(folder / p, slice(ends[k], ends[k + 1])) for k, p in enumerate(parts)}
    began = time.monotonic()
    learned = learn(spools, table.features, settings)
    seconds = time.monotonic() - began
    return (
        learned.selection,
        area_under_roc(learned.margins["test"], spools["test"].labels),
        seconds,
        len(learned.features),
    )


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Measures every seed; `rows` leads each, 50,000 at most and by default."""
    settings = LeadScoringSettings(learning_rate=0.05)
    found = []
    for seed in SEEDS:
        table = make_table(min(rows or 50_000, 50_000), seed)
        with tempfile.TemporaryDirectory() as folder:
            _, auc_all, seconds_all, columns_all = measure(table, settings, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            chosen = settings.model_copy(update={"selection": SelectionSettings()})
            selection, auc, seconds, columns = measure(table, chosen, Path(folder))
        assert selection is not None
        gone = set(selection.dropped_features)
        found.append(
            {
                "seed": seed,
                "useless_gone": len(gone & table.useless),
                "strongest_kept": STRONGEST - len(gone & set(table.strongest)),
                "strongest_gone": sorted(gone & set(table.strongest)),
                "useless_kept": sorted(table.useless - gone),
                "auc_all_columns": auc_all,
                "auc_kept_columns": auc,
                "columns_before": columns_all,
                "columns_after": columns,
                "seconds_all_columns": seconds_all,
                "seconds_with_selection": seconds,
            }
        )
        if not as_json:
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in found[-1].items()}, flush=True)
    if as_json:
        print(json.dumps(found))
    return {"seeds": found}


if __name__ == "__main__":
    run()
