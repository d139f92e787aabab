"""The fixed world leads live in: states, zips and their housing markets, month by month.

The world does not depend on the seed of a sample: two samples share zips, categories and markets.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

WORLD_SEED: Final = 20240101
FIRST_MONTH: Final = np.datetime64("2014-01", "M")
LAST_MONTH: Final = np.datetime64("2040-12", "M")
FIRST_START: Final = dt.date(2015, 1, 1)
LAST_END: Final = dt.date(2040, 12, 31)

# name, share of leads, zips, first digits of its zips, median price in USD
_STATES: Final[tuple[tuple[str, float, int, str, float], ...]] = (
    ("CA", 0.19, 60, "90", 720_000),
    ("TX", 0.15, 54, "75", 330_000),
    ("FL", 0.14, 50, "33", 390_000),
    ("NY", 0.10, 42, "11", 560_000),
    ("IL", 0.08, 34, "60", 280_000),
    ("AZ", 0.07, 28, "85", 400_000),
    ("GA", 0.06, 26, "30", 320_000),
    ("NC", 0.06, 26, "27", 330_000),
    ("WA", 0.05, 24, "98", 580_000),
    ("CO", 0.04, 20, "80", 530_000),
    ("MA", 0.03, 18, "02", 620_000),
    ("NJ", 0.03, 18, "07", 500_000),
)

STATES: Final[tuple[str, ...]] = tuple(row[0] for row in _STATES)


def _zips() -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names of all zips, the state each lies in, and its share of leads (a Zipf law within each state)."""
    names: list[str] = []
    states: list[int] = []
    shares: list[np.ndarray] = []
    for index, (_, share, count, prefix, _) in enumerate(_STATES):
        names += [f"{prefix}{1 + 7 * k:03d}" for k in range(count)]
        states += [index] * count
        weight = 1.0 / np.arange(2, count + 2) ** 0.9
        shares.append(share * weight / weight.sum())
    flat = np.concatenate(shares)
    return tuple(names), np.asarray(states), flat / flat.sum()


ZIPS, ZIP_STATE, ZIP_SHARE = _zips()


@dataclass(frozen=True)
class Market:
    """Monthly market of every zip; arrays are float64 [months, zips], month 0 is `FIRST_MONTH`.

    Attributes:
      median_price: USD, multiples of 500.
      months_of_inventory: months, one decimal.
      days_on_market: days, whole.
      price_trend: percent against the same month a year before, one decimal; NaN in the first twelve months.
      mortgage_rate: percent, two decimals.
      known: bool, False where the market feed was out (about 2 %).
      log_price_level: float64 [zips], log of a zip's price against its state's.
    """

    median_price: np.ndarray
    months_of_inventory: np.ndarray
    days_on_market: np.ndarray
    price_trend: np.ndarray
    mortgage_rate: np.ndarray
    known: np.ndarray
    log_price_level: np.ndarray


def _autoregressive(rng: np.random.Generator, shape: tuple[int, int], memory: float, sd: float) -> np.ndarray:
    """Stationary AR(1) noise along the first axis, with standard deviation `sd`."""
    out = rng.standard_normal(shape)
    for month in range(1, shape[0]):
        out[month] = memory * out[month - 1] + np.sqrt(1 - memory**2) * out[month]
    return sd * out


@cache
def market() -> Market:
    """The market of every zip and month: trend, season, rates and local noise."""
    rng = np.random.default_rng(WORLD_SEED)
    months = int((LAST_MONTH - FIRST_MONTH).astype(int)) + 1
    zips = len(ZIPS)
    m = np.arange(months, dtype=np.float64)[:, None]
    summer = np.cos(2 * np.pi * (m % 12 - 5.5) / 12)

    national = 6.3 + 0.75 * np.sin(2 * np.pi * (m - 107) / 37) + 0.3 * np.sin(2 * np.pi * (m - 112) / 14)
    state_rate = rng.normal(0, 0.08, len(STATES))[ZIP_STATE][None, :]
    rate = np.round(np.clip(national + state_rate, 2.5, 12), 2)

    level = rng.normal(0, 0.32, zips)
    base = np.log(np.array([row[4] for row in _STATES]))[ZIP_STATE] + level
    growth = rng.normal(0.0032, 0.0012, zips)
    cycle = 0.05 * np.sin(2 * np.pi * (m - 12 * rng.random(zips)) / 61)
    log_price = base + growth * (m - 120) + 0.025 * summer + cycle + _autoregressive(rng, (months, zips), 0.85, 0.03)
    price = 500 * np.round(np.exp(log_price) / 500)
    trend = np.full((months, zips), np.nan)
    trend[12:] = np.round(100 * (price[12:] / price[:-12] - 1), 1)

    log_inventory = (
        np.log(3.1)
        + rng.normal(0, 0.33, zips)
        - 0.22 * summer
        + 0.22 * (rate - 6.3)
        + _autoregressive(rng, (months, zips), 0.8, 0.2)
    )
    inventory = np.round(np.clip(np.exp(log_inventory), 0.3, 30), 1)
    days = np.round(np.clip(12 + 9.5 * inventory**0.9 * np.exp(rng.normal(0, 0.15, (months, zips))), 2, 400))
    known = rng.random((months, zips)) >= 0.02
    return Market(price, inventory, days, trend, rate, known, level)
