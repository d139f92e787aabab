"""The curated schema: what the feature table demands plus the categories that were seen, and its description.

SchemaGen infers a schema from one table and would accept whatever happens to be in it. The curated one states what a
dataset's owner declared: ranges, largest shares of missing values, closed vocabularies, drift thresholds. It is
reviewed as a text file (schema/<dataset>/schema.pbtxt) and ExampleValidator checks every run against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from modules.dataset import Dataset
from modules.drift import feature_statistics
from modules.features import Feature, Kind

Seen: TypeAlias = (
    schema_pb2.Schema
    | statistics_pb2.DatasetFeatureStatisticsList
    | Iterable[statistics_pb2.DatasetFeatureStatisticsList]
)
SHOWN_VALUES = 6
"""Categories named in a description; the rest is counted."""


def curate_schema(seen: Seen, dataset: Dataset) -> schema_pb2.Schema:
    """The schema of a dataset.

    Numeric features get the float domain [min, max] of the table (no NaN, no infinity), categorical ones a closed
    domain of the values seen, unless `open_vocabulary`; text is open. Presence follows `max_missing`. A value is one
    value (no lists). No feature has a fixed shape, so Transform parses it as a sparse tensor and a request may leave
    it out. The label is required and 0 or 1; id and time are required and otherwise free.

    Args:
      seen: where categories come from: an inferred schema, or statistics of one or several splits (better: a rare
        category may be missing from one split).
      dataset: the feature table, the names of label, id and time, the drift thresholds.

    Returns:
      The schema, features in the order of the table. A closed vocabulary of which the statistics hold only a part
      (they keep the 1000 most frequent values) stays open; `describe_schema` says so.
    """
    known = _known_values(seen)
    schema = schema_pb2.Schema()
    for row in dataset.features:
        feature = schema.feature.add(name=row.name, type=_TYPES[row.kind])
        feature.presence.min_fraction = round(1 - row.max_missing, 12)
        feature.presence.min_count = 1 if row.max_missing < 1 else 0
        feature.value_count.min, feature.value_count.max = 1, 1
        if row.group or row.description:
            feature.annotation.tag.append(row.group)
            feature.annotation.comment.extend([row.description] if row.description else [])
        if row.kind is Kind.NUMERIC:
            _float_domain(feature, row)
        elif row.kind is Kind.CATEGORICAL and not row.open_vocabulary and known.get(row.name):
            feature.domain = row.name
            schema.string_domain.add(name=row.name, value=sorted(known[row.name]))
        threshold = row.max_drift if row.max_drift is not None else dataset.max_drift
        if threshold is not None and row.kind is Kind.NUMERIC:
            feature.drift_comparator.jensen_shannon_divergence.threshold = threshold
        elif threshold is not None and row.kind is Kind.CATEGORICAL:
            feature.drift_comparator.infinity_norm.threshold = threshold
    label = schema.feature.add(name=dataset.label_feature, type=schema_pb2.INT)
    label.int_domain.min, label.int_domain.max = 0, 1
    label.shape.dim.add(size=1)
    _required(label)
    names = {f.name for f in schema.feature}
    if dataset.id_feature not in names:
        _required(schema.feature.add(name=dataset.id_feature, type=schema_pb2.BYTES))
    if dataset.time_feature is not None and dataset.time_feature not in names:
        _required(schema.feature.add(name=dataset.time_feature, type=schema_pb2.INT))
    return schema


def describe_schema(schema: schema_pb2.Schema) -> list[str]:
    """One line per feature: name, kind, and what is demanded of it."""
    width = max((len(f.name) for f in schema.feature), default=0)
    return [
        f"{feature.name:<{width}}  {', '.join(_facts(feature, schema).values())}".rstrip() for feature in schema.feature
    ]


def diff_schema(before: schema_pb2.Schema, after: schema_pb2.Schema) -> list[str]:
    """What changes, one line each: "+ name: ..." added, "- name: ..." removed, "~ name: ... -> ..." changed."""
    old, new = {f.name: f for f in before.feature}, {f.name: f for f in after.feature}
    lines: list[str] = []
    for name in [*new, *(n for n in old if n not in new)]:
        if name not in old:
            lines.append(f"+ {name}: {', '.join(_facts(new[name], after).values())}")
        elif name not in new:
            lines.append(f"- {name}: {', '.join(_facts(old[name], before).values())}")
        else:
            was, now = _facts(old[name], before), _facts(new[name], after)
            lines += [
                f"~ {name}: {was.get(key) or 'nothing'} -> {now.get(key) or 'nothing'}"
                for key in dict.fromkeys([*was, *now])
                if key != "values" and was.get(key) != now.get(key)
            ]
            lines += _value_changes(name, _values(old[name], before), _values(new[name], after))
    return lines


_TYPES = {Kind.NUMERIC: schema_pb2.FLOAT, Kind.CATEGORICAL: schema_pb2.BYTES, Kind.TEXT: schema_pb2.BYTES}


def _required(feature: schema_pb2.Feature) -> None:
    feature.presence.min_fraction, feature.presence.min_count = 1.0, 1


def _float_domain(feature: schema_pb2.Feature, row: Feature) -> None:
    domain = feature.float_domain
    domain.name = row.name
    domain.disallow_nan = domain.disallow_inf = True
    if row.min is not None:
        domain.min = row.min
    if row.max is not None:
        domain.max = row.max


def _known_values(seen: Seen) -> dict[str, set[str]]:
    """Categories by feature; a feature whose categories are not all known is left out."""
    if isinstance(seen, schema_pb2.Schema):
        return {f.name: set(_values(f, seen)) for f in seen.feature if _values(f, seen)}
    result: dict[str, set[str]] = {}
    partial: set[str] = set()
    for statistics in [seen] if isinstance(seen, statistics_pb2.DatasetFeatureStatisticsList) else seen:
        for table in statistics.datasets[:1]:
            for name, feature in feature_statistics(table).items():
                strings = feature.string_stats
                labels = {b.label for b in strings.rank_histogram.buckets}
                if len(labels) < strings.unique or "__BYTES_VALUE__" in labels:
                    partial.add(name)
                result.setdefault(name, set()).update(labels)
    return {name: values for name, values in result.items() if name not in partial}


def _values(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> list[str]:
    if feature.WhichOneof("domain_info") == "domain":
        return [v for domain in schema.string_domain if domain.name == feature.domain for v in domain.value]
    return list(feature.string_domain.value)


def _facts(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> dict[str, str]:
    """What a schema demands of a feature, by aspect, in words."""
    names = {schema_pb2.FLOAT: "number", schema_pb2.INT: "integer", schema_pb2.BYTES: "words"}
    facts = {"type": names.get(feature.type, schema_pb2.FeatureType.Name(feature.type))}
    for domain in (feature.float_domain, feature.int_domain):
        if feature.WhichOneof("domain_info") == domain.DESCRIPTOR.name.replace("Domain", "_domain").lower():
            low = f"from {domain.min:g}" if domain.HasField("min") else ""
            high = f"to {domain.max:g}" if domain.HasField("max") else ""
            facts["range"] = " ".join(filter(None, [low, high]))
    values = _values(feature, schema)
    if values:
        shown = ", ".join(map(repr, values[:SHOWN_VALUES]))
        facts["values"] = f"{len(values)} values: {shown}" + ("..." if len(values) > SHOWN_VALUES else "")
    elif feature.type == schema_pb2.BYTES:
        facts["values"] = "any value"
    missing = 1 - feature.presence.min_fraction
    facts["presence"] = "required" if missing <= 0 else f"at most {100 * missing:g} % missing" if missing < 1 else ""
    drift = feature.drift_comparator
    if drift.HasField("jensen_shannon_divergence"):
        facts["drift"] = f"drift at most {drift.jensen_shannon_divergence.threshold:g} (Jensen-Shannon)"
    elif drift.HasField("infinity_norm"):
        facts["drift"] = f"drift at most {drift.infinity_norm.threshold:g} (L-infinity)"
    return {key: fact for key, fact in facts.items() if fact}


def _value_changes(name: str, before: list[str], after: list[str]) -> list[str]:
    if before and not after:
        return [f"~ {name}: {len(before)} known values -> any value"]
    if after and not before:
        return [f"~ {name}: any value -> {len(after)} known values"]
    lines = []
    for sign, values in (
        ("new", sorted(set(after) - set(before))),
        ("no longer known", sorted(set(before) - set(after))),
    ):
        if values:
            more = "..." if len(values) > SHOWN_VALUES else ""
            lines.append(f"~ {name}: {len(values)} {sign}: {', '.join(map(repr, values[:SHOWN_VALUES]))}{more}")
    return lines
