"""What the data gate decides: schema anomalies and drift as findings a person can act on, one line each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from modules.columns import AnyDataset, Column, columns
from modules.drift import Distance, distances, entries, feature_statistics, missing_share
from modules.errors import GateClosed

Mode = Literal["stop", "warn", "off"]
_Type = anomalies_pb2.AnomalyInfo


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data.

    column: the feature, or "" for the table as a whole.
    cause: "anomaly" or "drift".
    message: what is wrong, with numbers.
    splits: the parts of the data in which it was found; the numbers are of the worst one.
    severity: orders findings of one column and kind; a share or a distance, 0-1.
    """

    column: str
    cause: Literal["anomaly", "drift"]
    message: str
    splits: tuple[str, ...]
    severity: float

    def line(self, all_splits: Iterable[str]) -> str:
        """One line for people; names the splits unless the finding is about all of them."""
        where = "" if set(self.splits) >= set(all_splits) else f" ({', '.join(self.splits)})"
        return f"{self.column}: {self.message}{where}" if self.column else f"{self.message}{where}"


@dataclass(frozen=True)
class GateReport:
    """What the gate saw and decided.

    opened: whether the run may go on.
    stops, warnings: lines, those that close the gate and those that do not.
    drift: distance of every feature to the baseline; empty without one.
    skew: distance of every feature between train and test, for information only.
    """

    opened: bool
    splits: tuple[str, ...]
    rows: dict[str, int]
    against: str | None
    stops: tuple[str, ...]
    warnings: tuple[str, ...]
    drift: tuple[Distance, ...]
    skew: tuple[Distance, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    def raise_if_closed(self) -> None:
        """Raises GateClosed with one line per finding in `details`."""
        if not self.opened:
            count = f"{len(self.stops)} finding{'s' * (len(self.stops) != 1)}"
            raise GateClosed(
                f"the data gate is closed: {count}; nothing was trained. Correct the data, or, if the data are "
                "right, the dataset file or the schema, and run again",
                list(self.stops),
            )


def inspect(
    anomalies: Mapping[str, anomalies_pb2.Anomalies],
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatistics],
    schema: schema_pb2.Schema,
    dataset: AnyDataset,
    *,
    baseline: statistics_pb2.DatasetFeatureStatistics | None = None,
    against: str | None = None,
    anomalies_mode: Mode = "stop",
    drift_mode: Mode = "stop",
) -> GateReport:
    """Decides whether the pipeline may go on.

    Args:
      anomalies: ExampleValidator's result by split.
      statistics: StatisticsGen's result by split.
      schema: what the anomalies were found against.
      dataset: its columns say what can drift, how far, and how much may be missing in lists.
      baseline: train statistics of the last accepted run; None when there is none yet.
      against: what the baseline is called in messages, e.g. "span 1".
      anomalies_mode: "stop" closes the gate on a schema anomaly, "warn" only says so, "off" does not look.
      drift_mode: the same for drift.
    """
    splits = tuple(statistics)
    every = columns(dataset)
    stops: list[str] = []
    warnings: list[str] = []
    if anomalies_mode != "off":
        found = [*anomaly_findings(anomalies, statistics, schema), *list_findings(statistics, every)]
        found.sort(key=lambda finding: finding.column)
        (stops if anomalies_mode == "stop" else warnings).extend(f.line(splits) for f in found)
    drift: list[Distance] = []
    if drift_mode != "off" and baseline is not None and "train" in statistics:
        drift = distances(statistics["train"], baseline, every)
        lines = [drift_line(d, against or "the last accepted run") for d in drift if d.drifted]
        (stops if drift_mode == "stop" else warnings).extend(lines)
    skew: list[Distance] = []
    if statistics.get("test") is not None and "train" in statistics and statistics["test"].num_examples:
        skew = distances(statistics["test"], statistics["train"], [replace(c, max_drift=None) for c in every])
    return GateReport(
        opened=not stops,
        splits=splits,
        rows={name: int(s.num_examples) for name, s in statistics.items()},
        against=against if baseline is not None else None,
        stops=tuple(stops),
        warnings=tuple(warnings),
        drift=tuple(drift),
        skew=tuple(skew),
    )


def drift_line(distance: Distance, against: str) -> str:
    """A drifted feature as one line."""
    return (
        f"{distance.column}: drift {distance.value:.2f} ({distance.measure}) above {distance.threshold:.2f} "
        f"against {against}: {distance.reason}"
    )


def anomaly_findings(
    anomalies: Mapping[str, anomalies_pb2.Anomalies],
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatistics],
    schema: schema_pb2.Schema,
) -> list[Finding]:
    """Every anomaly of ExampleValidator with the numbers the statistics hold.

    The same anomaly in several splits is one finding, with the numbers of the worst split. Parts that hold no rows
    (a calibration share of 0, say) are no finding, except train.
    """
    merged: dict[tuple[str, int], Finding] = {}
    for split, result in anomalies.items():
        table = statistics.get(split)
        if table is None or not table.num_examples:
            if split == "train":
                merged[("", -1)] = Finding("", "anomaly", "there are no rows to train on", (split,), 1.0)
            continue
        features = feature_statistics(table)
        for key, info in result.anomaly_info.items():
            column = info.path.step[0] if info.path.step else key
            for reason in info.reason:
                message, severity = _explain(reason, column, features.get(column), schema)
                _add(merged, (column, reason.type), Finding(column, "anomaly", message, (split,), severity))
        for reason in result.dataset_anomaly_info.reason:
            _add(merged, ("", reason.type), Finding("", "anomaly", _plain(reason.description), (split,), 1.0))
    # TFDV reports an absent value twice where a fixed shape is asked for; the share of missing values says it all.
    for column, kind in list(merged):
        if kind == _Type.INVALID_FEATURE_SHAPE and (column, _Type.FEATURE_TYPE_LOW_FRACTION_PRESENT) in merged:
            del merged[(column, kind)]
    return sorted(merged.values(), key=lambda f: f.column)


def list_findings(
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatistics], columns: Iterable[Column]
) -> list[Finding]:
    """What a schema cannot say about lists: each has one entry per event, and few of them are '' or NaN."""
    merged: dict[tuple[str, int], Finding] = {}
    lists = [column for column in columns if column.is_list]
    for split, table in statistics.items():
        features = feature_statistics(table)
        for column in lists:
            found, expected = (entries(features.get(c.name)) for c in (column, lists[0]))
            if found != expected:
                message = f"{found:,} entries where {lists[0].name} has {expected:,}; every event needs one, '' or NaN"
                share = abs(found - expected) / max(found, expected)
                _add(merged, (column.name, 0), Finding(column.name, "anomaly", message, (split,), share))
            missing = missing_share(features.get(column.name), is_list=True) if found else 0.0
            if missing > column.max_missing:
                allowed = 100 * column.max_missing
                message = f"{100 * missing:.1f} % of events have none, at most {allowed:.1f} % allowed"
                _add(merged, (column.name, 1), Finding(column.name, "anomaly", message, (split,), missing))
    return list(merged.values())


def _add(merged: dict[tuple[str, int], Finding], key: tuple[str, int], new: Finding) -> None:
    old = merged.get(key)
    if old is None:
        merged[key] = new
        return
    worst = max(old, new, key=lambda f: f.severity)
    splits = (*old.splits, *new.splits)
    merged[key] = Finding(worst.column, worst.cause, worst.message, splits, worst.severity)


def _explain(
    reason: anomalies_pb2.AnomalyInfo.Reason,
    column: str,
    feature: statistics_pb2.FeatureNameStatistics | None,
    schema: schema_pb2.Schema,
) -> tuple[str, float]:
    """Message and severity of one reason of an anomaly."""
    rule = next((f for f in schema.feature if f.name == column), schema_pb2.Feature())
    kind = reason.type
    if kind == _Type.SCHEMA_NEW_COLUMN:
        return "is not in the schema", 1.0
    if kind == _Type.SCHEMA_MISSING_COLUMN or feature is None:
        return "is in the schema but not in the data", 1.0
    if kind == _Type.ENUM_TYPE_UNEXPECTED_STRING_VALUES:
        return _unknown_values(feature, rule, schema)
    if kind in (_Type.FEATURE_TYPE_LOW_FRACTION_PRESENT, _Type.FEATURE_TYPE_LOW_NUMBER_PRESENT):
        missing = missing_share(feature)
        allowed = 1 - rule.presence.min_fraction
        return f"{100 * missing:.1f} % missing, at most {100 * allowed:.1f} % allowed", missing
    if kind == _Type.FEATURE_TYPE_HIGH_NUMBER_VALUES and rule.value_count.max:
        most = max(s.common_stats.max_num_values for s in (feature.num_stats, feature.string_stats))
        return f"up to {most} values in a row, at most {rule.value_count.max} allowed", 1.0
    numbers = feature.num_stats
    if kind in (_Type.FLOAT_TYPE_BIG_FLOAT, _Type.INT_TYPE_BIG_INT):
        limit = rule.int_domain.max if rule.HasField("int_domain") else rule.float_domain.max
        low, high = share_beyond(numbers, limit, above=True)
        return f"max {numbers.max:g} above {limit:g}{_in_share(low, high)}", high
    if kind in (_Type.FLOAT_TYPE_SMALL_FLOAT, _Type.INT_TYPE_SMALL_INT):
        limit = rule.int_domain.min if rule.HasField("int_domain") else rule.float_domain.min
        low, high = share_beyond(numbers, limit, above=False)
        return f"min {numbers.min:g} below {limit:g}{_in_share(low, high)}", high
    if kind == _Type.UNEXPECTED_DATA_TYPE:
        received = statistics_pb2.FeatureNameStatistics.Type.Name(feature.type)
        expected = schema_pb2.FeatureType.Name(rule.type)
        return f"expected values of type {expected}, received {received}", 1.0
    return _plain(reason.description or reason.short_description), 1.0


def _unknown_values(
    feature: statistics_pb2.FeatureNameStatistics, rule: schema_pb2.Feature, schema: schema_pb2.Schema
) -> tuple[str, float]:
    known = set(rule.string_domain.value)
    for domain in schema.string_domain:
        if domain.name == rule.domain:
            known |= set(domain.value)
    strings = feature.string_stats
    total = max(1, entries(feature))
    # Numbers where words are expected arrive without a rank histogram.
    unknown = [(b.label, b.sample_count / total) for b in strings.rank_histogram.buckets if b.label not in known]
    if not unknown:
        return f"holds values that are not in the {len(known)} known ones", 1.0
    share = sum(s for _, s in unknown)
    shown = ", ".join(f"{label!r} ({100 * s:.1f} %)" for label, s in unknown[:3])
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    return f"{100 * share:.1f} % of values are not in the {len(known)} known ones: {shown}{more}", share


def share_beyond(numbers: statistics_pb2.NumericStatistics, limit: float, above: bool) -> tuple[float, float]:
    """Bounds on the share of values beyond a limit, 0-1, as tight as the histograms permit.

    A bucket that lies beyond the limit counts for both bounds, one that straddles it for the upper one only. TFDV
    counts its buckets approximately, so these bounds are approximate, too.
    """
    lower, upper = 0.0, 1.0
    for histogram in numbers.histograms:
        count = np.array([b.sample_count for b in histogram.buckets])
        if not len(count) or count.sum() <= 0:
            continue
        low = np.array([b.low_value for b in histogram.buckets])
        high = np.array([b.high_value for b in histogram.buckets])
        surely, maybe = (low > limit, high > limit) if above else (high < limit, low < limit)
        lower = max(lower, float(count[surely].sum() / count.sum()))
        upper = min(upper, float(count[maybe].sum() / count.sum()))
    return lower, max(lower, upper)


def _in_share(low: float, high: float) -> str:
    if high - low < 0.0005:
        return f" in {100 * high:.1f} %" if high >= 0.0005 else ""
    return f" in about {100 * low:.1f} %" if low >= 0.0005 else f" in up to {100 * high:.1f} %"


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(". ")
