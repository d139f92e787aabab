from __future__ import annotations

import numpy as np

from modules.recommendation.layout import FIRST_WORD, MISSING, Codes, Layout
from modules.recommendation.sequences import Sequences
from modules.recommendation.useless import useless_features, useless_finding

N = 400
RNG = np.random.default_rng(0)


def journeys(codes, numbers):
    """Journeys without events; numbers are given as they are, NaN where missing, and are standardised here."""
    standardised = [np.nan_to_num((v - np.nanmean(v)) / max(np.nanstd(v), 1e-6)) for v in numbers.values()]
    gaps = [np.isnan(v) for v in numbers.values()]
    columns = np.column_stack([*standardised, *gaps]).astype(np.float32) if numbers else np.zeros((N, 0), np.float32)
    train = Sequences(
        event_codes=np.zeros((N, 1, 1), np.int32),
        event_numbers=np.zeros((N, 1, 0), np.float32),
        length=np.zeros(N, np.int32),
        lead_codes=np.column_stack([*codes.values(), np.zeros(N)])[:, :-1].astype(np.int32),
        lead_numbers=columns,
        next_action=np.zeros(N, np.int32),
        outcome=np.full(N, np.nan, np.float32),
        positions=np.ones(N, np.int32),
        time=np.zeros(N, np.int64),
    )
    layout = Layout(
        length=1,
        actions=("call",),
        event_codes=(Codes(name="action", size=4),),
        lead_codes=tuple(Codes(name=name, size=99) for name in codes),
        lead_numbers=(*numbers, *(f"{name}=?" for name in numbers)),
    )
    return train, layout


def test_categories_with_one_value_or_none_or_new_names_are_useless():
    source = RNG.integers(FIRST_WORD, FIRST_WORD + 4, N)
    renamed = np.array([0, 0, 0, 9, 5, 4, 7])[source]  # other words for the same
    merged = np.where(source == FIRST_WORD, FIRST_WORD + 1, source)
    gaps = np.where(np.arange(N) < 200, MISSING, source)
    filled = np.where(np.arange(N) < 200, FIRST_WORD + 20, source)
    codes = {"source": source, "one": np.full(N, 5), "renamed": renamed, "merged": merged, "gaps": gaps}
    codes |= {"empty": np.where(np.arange(N) < 2, 4, MISSING), "filled": filled}
    assert useless_features(*journeys(codes, {})) == {
        "one": "one value only",
        "renamed": "repeats source",
        "empty": "99.5 % missing",
    }


def test_numbers_in_another_unit_or_with_another_sign_are_useless():
    price = RNG.lognormal(size=N)
    gaps = np.where(np.arange(N) < 3, np.nan, price)
    numbers = {"price": price, "cents": 100 * price, "debt": 7 - price, "log": np.log(price), "gaps": gaps}
    numbers |= {"one": np.full(N, 3.0), "flag": np.where(np.arange(N) < 99, np.nan, 1.0)}
    numbers |= {"empty": np.where(np.arange(N) < 1, 4.0, np.nan), "again": gaps * 2}
    assert useless_features(*journeys({}, numbers)) == {
        "cents": "repeats price",
        "debt": "repeats price",
        "one": "one value only",
        "empty": "99.8 % missing",
        "again": "repeats gaps",
    }


def test_the_finding_names_features_reasons_and_the_place_to_change():
    assert useless_finding({}) is None
    assert useless_finding({"a": "one value only", "b": "repeats c"}).line() == (
        "features of the lead that tell the network nothing: a (one value only), b (repeats c); "
        "move them to leave_out in the dataset file"
    )
