"""The curated schema: what the feature table demands plus the categories that were seen, and its description.

SchemaGen infers a schema from one table and would accept whatever happens to be in it. The curated one states what a
dataset's owner declared: ranges, largest shares of missing values, closed vocabularies, drift thresholds. It is
reviewed as a text file (schema/<dataset>/schema.pbtxt) and ExampleValidator checks every run against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from modules.columns import AnyDataset, Column, columns
from modules.drift import feature_statistics
from modules.features import Kind

Seen: TypeAlias = (
    schema_pb2.Schema
    | statistics_pb2.DatasetFeatureStatisticsList
    | Iterable[statistics_pb2.DatasetFeatureStatisticsList]
)
SHOWN_VALUES = 6
"""Categories named in a description; the rest is counted."""

DATE_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""What dates look like in tf.Examples, the longest form; without the time at midnight."""


def curate_schema(seen: Seen, dataset: AnyDataset) -> schema_pb2.Schema:
    """The schema of a dataset.

    Numeric features get the float domain [min, max] of the table (no NaN, no infinity), categorical ones a closed
    domain of the values seen, unless `open_vocabulary`; dates a time domain; text is open. Presence follows
    `max_missing`. A value is one value, except in the lists of a history, which hold 0 to `history.length` values each,
    may be absent, and know "no value here" as '' or NaN (how many of those is for the gate to judge: a schema cannot
    say it). The actions of a history and the next one share a domain. Of texts and dates only the absence can drift,
    which the gate measures: no comparator is set on what they say.

    Only the label of a table of leads has a fixed shape. Transform parses everything else as a sparse tensor, and a
    request may leave it out.

    Args:
      seen: where categories come from: an inferred schema, or statistics of one or several splits (better: a rare
        category may be missing from one split).
      dataset: the feature table, the names of label, id and time, the drift thresholds.

    Returns:
      The schema, features in the order of `modules.columns`. A closed vocabulary of which the statistics hold only a
      part (they keep the 1000 most frequent values) stays open; `describe_schema` says so.
    """
    known = _known_values(seen)
    schema = schema_pb2.Schema()
    every = columns(dataset)
    for column in every:
        feature = schema.feature.add(name=column.name, type=_TYPES[column.type])
        _presence(feature, column)
        _notes(feature, column)
        if column.feature is not None and column.feature.kind is Kind.DATE:
            feature.time_domain.string_format = DATE_FORMAT
        elif column.type == "bytes":
            _string_domain(schema, feature, column, _words(column, every, known))
        else:
            _number_domain(feature, column)
        if column.max_drift is None or column.measure != "values":
            continue
        if column.type == "bytes":
            feature.drift_comparator.infinity_norm.threshold = column.max_drift
        else:
            feature.drift_comparator.jensen_shannon_divergence.threshold = column.max_drift
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


_TYPES = {"float": schema_pb2.FLOAT, "integer": schema_pb2.INT, "bytes": schema_pb2.BYTES}


def _presence(feature: schema_pb2.Feature, column: Column) -> None:
    if column.is_list:
        feature.value_count.min, feature.value_count.max = 0, column.length
        return
    feature.presence.min_fraction = round(1 - column.max_missing, 12)
    feature.presence.min_count = 1 if column.max_missing < 1 else 0
    if column.fixed:
        feature.shape.dim.add(size=1)
    else:
        feature.value_count.min, feature.value_count.max = 1, 1


def _notes(feature: schema_pb2.Feature, column: Column) -> None:
    group = column.feature.group if column.feature is not None else ""
    if group or column.what:
        feature.annotation.tag.extend([group] if group else [])
        feature.annotation.comment.extend([column.what] if column.what else [])


def _number_domain(feature: schema_pb2.Feature, column: Column) -> None:
    if column.type == "integer":
        if column.least is not None:
            feature.int_domain.min = int(column.least)
        if column.most is not None:
            feature.int_domain.max = int(column.most)
        return
    domain = feature.float_domain
    domain.name = column.name
    domain.disallow_inf = True
    domain.disallow_nan = not column.is_list
    if column.least is not None:
        domain.min = column.least
    if column.most is not None:
        domain.max = column.most


def _words(column: Column, every: Iterable[Column], known: dict[str, set[str] | None]) -> set[str]:
    """The closed vocabulary of a column; empty when it is open."""
    if column.values is None:
        return set()
    if column.values != "seen":
        return set(column.values)
    words: set[str] = set()
    for other in every:
        if other.vocabulary == column.vocabulary:
            found = known.get(other.name, set())
            if found is None:
                return set()
            words |= found
    return words


def _string_domain(schema: schema_pb2.Schema, feature: schema_pb2.Feature, column: Column, words: set[str]) -> None:
    if not words:
        return
    if column.is_list and column.feature is not None:
        words = words | {""}
    feature.domain = column.vocabulary or column.name
    if all(domain.name != feature.domain for domain in schema.string_domain):
        schema.string_domain.add(name=feature.domain, value=sorted(words))


def _known_values(seen: Seen) -> dict[str, set[str] | None]:
    """Categories by feature; None where not all of them are known."""
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
    return {name: None if name in partial else values for name, values in result.items()}


def _values(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> list[str]:
    if feature.WhichOneof("domain_info") == "domain":
        return [v for domain in schema.string_domain if domain.name == feature.domain for v in domain.value]
    return list(feature.string_domain.value)


def _facts(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> dict[str, str]:
    """What a schema demands of a feature, by aspect, in words."""
    names = {schema_pb2.FLOAT: "number", schema_pb2.INT: "integer", schema_pb2.BYTES: "words"}
    facts = {"type": names.get(feature.type, schema_pb2.FeatureType.Name(feature.type))}
    is_date = feature.WhichOneof("domain_info") == "time_domain"
    if is_date:
        facts["type"] = "date"
    for domain in (feature.float_domain, feature.int_domain):
        if feature.WhichOneof("domain_info") == domain.DESCRIPTOR.name.replace("Domain", "_domain").lower():
            low = f"from {domain.min:g}" if domain.HasField("min") else ""
            high = f"to {domain.max:g}" if domain.HasField("max") else ""
            facts["range"] = " ".join(filter(None, [low, high]))
    values = _values(feature, schema)
    if values:
        shown = ", ".join(map(repr, values[:SHOWN_VALUES]))
        facts["values"] = f"{len(values)} values: {shown}" + ("..." if len(values) > SHOWN_VALUES else "")
    elif feature.type == schema_pb2.BYTES and not is_date:
        facts["values"] = "any value"
    if feature.value_count.max > 1:
        facts["count"] = f"up to {feature.value_count.max} of them"
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
