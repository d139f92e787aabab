"""Windows of journeys: what JourneyExampleGen makes of a table of events, against pandas making the same.

python -m benchmarks.recommend_sequences --repeat 20
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from modules.ingest.units import pieces, plan_units
from modules.ingest.wire import framed_examples
from modules.journeys import names, tables
from modules.journeys.dataset import JourneyDataset
from modules.journeys.examples import Partition
from modules.journeys.read import ACTION, LEAD, MICROS, event_column, lead_column, type_rows
from modules.journeys.windows import find_journeys, training_positions

BPI_2012 = Path(__file__).resolve().parents[2] / "shared" / "data" / "bpi2012" / "bpi_challenge_2012.csv.gz"
LENGTH = 40
MARKETPLACE_ROWS = 50_000
PATIENCE_S = 120
SAMPLE = 4


def _dataset(temporary: Path) -> JourneyDataset:
    """BPI Challenge 2012, or the synthetic marketplace where that is not at hand."""
    if BPI_2012.is_file():
        values: dict[str, Any] = {
            "name": "bpi2012",
            "events": {
                "files": [str(BPI_2012)], "lead": "case_id", "time": "timestamp", "action": "activity",
                "features": [{"name": "lifecycle", "kind": "categorical"}, {"name": "resource", "kind": "categorical"}],
            },
            "features": [{"name": "amount_req", "kind": "numeric"}],
            "outcome": {"action": "A_APPROVED"},
        }  # fmt: skip
    else:
        from modules.marketplace.settings import MarketplaceSettings
        from modules.marketplace.write import write_marketplace

        write_marketplace(temporary, MarketplaceSettings(rows=MARKETPLACE_ROWS, seed=1))
        values = {
            "name": "marketplace",
            "events": {
                "files": [str(temporary / "events.csv")], "lead": "lead_id", "time": "time", "action": "action",
                "features": [{"name": "response", "kind": "categorical"}],
            },
            "outcome": {"action": "showing"},
        }  # fmt: skip
    return JourneyDataset.model_validate({**values, "history": {"length": LENGTH, "min": 0}})


def _events(dataset: JourneyDataset, repeat: int) -> pa.Table:
    """The typed events, `repeat` times over with other ids."""
    found = tables.resolve(dataset)
    table = found.events
    (file,) = found.event_files
    batches = [
        type_rows(dataset, table, piece(), (0, 0, 0)).batch
        for unit in plan_units(table.view, file, table.layout(file))
        for piece in pieces(table.view, unit)
    ]
    once = pa.Table.from_batches(batches).combine_chunks()
    copies = []
    for number in range(repeat):
        ids = pa.compute.binary_join_element_wise(
            once.column(LEAD).cast(pa.large_string()),
            pa.scalar(str(number), pa.large_string()),
            pa.scalar("-", pa.large_string()),
        )
        copies.append(once.set_column(once.schema.get_field_index(LEAD), LEAD, ids.cast(pa.large_binary())))
    return pa.concat_tables(copies).combine_chunks()


def _ours(dataset: JourneyDataset, events: pa.Table) -> list[pa.RecordBatch]:
    """The windows as JourneyExampleGen makes them: Arrow columns, the lists as list views."""
    journeys = find_journeys(events.column(LEAD).chunk(0), events.column(MICROS).to_numpy())
    whole = Partition(dataset, dataset.features, events, journeys, None, None, None)
    return [whole.batch(decisions) for decisions in whole.chunks(0, len(whole.decisions))]


def _pandas(dataset: JourneyDataset, frame: pd.DataFrame) -> pd.DataFrame:
    """The same in pandas: sort, one list per case and column, one slice of it per decision, the rest in columns."""
    length = dataset.history.length
    frame = frame.sort_values([LEAD, MICROS], kind="stable", ignore_index=True)
    frame["seconds"] = frame[MICROS] // 1_000_000
    cases = frame.groupby(LEAD, sort=False)
    earlier = cases.cumcount()
    out = pd.DataFrame({dataset.id_feature: frame[LEAD]})
    for feature in dataset.features:
        out[feature.name] = cases[lead_column(feature)].shift(1)
    sources = {names.HISTORY_ACTION: ACTION, names.HISTORY_TIME: "seconds"}
    sources |= {names.history(f.name): event_column(f) for f in dataset.events.features}
    for name, source in sources.items():
        lists = cases[source].agg(list)
        out[name] = [
            values[j - length if j > length else 0 : j] for values in lists for j in range(len(values))
        ]  # fmt: skip
    out[names.HISTORY_LENGTH] = earlier
    out[names.JOURNEY_START] = cases["seconds"].transform("first").where(earlier > 0)
    out[names.NEXT_ACTION] = frame[ACTION]
    assert dataset.outcome is not None
    happened = frame[ACTION] == (dataset.outcome.action or "").encode()
    out[names.OUTCOME] = happened.groupby(frame[LEAD], sort=False).transform("max").astype("int64")
    out[names.DECISION_TIME] = frame["seconds"]
    edges = [*(least for least, _ in names.STAGES), np.inf]
    out[names.STAGE] = pd.cut(earlier, edges, right=False, labels=[name.encode() for _, name in names.STAGES])
    last = cases[MICROS].transform("size") - 1
    out[names.TRAINING_POSITIONS] = training_positions(earlier.to_numpy(), last.to_numpy(), length)
    return out


def _frame(events: pa.Table) -> pd.DataFrame:
    """The events in pandas, text as objects, '' for a missing word, as the lists hold it."""
    frame = events.to_pandas()
    words = [f.name for f in events.schema if pa.types.is_large_binary(f.type)]
    return frame.fillna(dict.fromkeys(words, b""))


def _ours_encoded(dataset: JourneyDataset, events: pa.Table) -> list[bytes]:
    found = []
    for batch in _ours(dataset, events):
        framed, offsets = framed_examples(batch)
        found += [bytes(framed[a + 12 : b - 4]) for a, b in pairwise(offsets.tolist())]
    return found


def _pandas_encoded(dataset: JourneyDataset, frame: pd.DataFrame) -> list[bytes]:
    from tensorflow.core.example import example_pb2

    windows = _pandas(dataset, frame)
    columns = {name: windows[name].tolist() for name in windows}
    found = []
    for i in range(len(windows)):
        example = example_pb2.Example()
        feature = example.features.feature
        for name, values in columns.items():
            value = values[i]
            if isinstance(value, float) and value != value:
                continue
            many = value if isinstance(value, list) else [value]
            if name.startswith(names.HISTORY_PREFIX) and isinstance(value, list) and not many:
                feature[name].SetInParent()
            elif isinstance(many[0], bytes):
                feature[name].bytes_list.value.extend(many)
            elif isinstance(many[0], float) and name != names.JOURNEY_START:
                feature[name].float_list.value.extend(many)
            else:
                feature[name].int64_list.value.extend(map(int, many))
        found.append(example.SerializeToString())
    return found


def _check_windows(ours: list[pa.RecordBatch], theirs: pd.DataFrame) -> None:
    """Every value of every decision; AssertionError names the first column that differs."""
    table = pa.Table.from_batches(ours)
    if set(table.column_names) != set(theirs.columns) or table.num_rows != len(theirs):
        raise AssertionError(f"{table.column_names} x {table.num_rows}, {list(theirs.columns)} x {len(theirs)}")
    # Pandas orders the cases by id, the component by first appearance.
    keys = [(lead, j) for lead, j in zip(*(table.column(n).to_pylist() for n in _key(table)), strict=True)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for name in table.column_names:
        values = table.column(name).to_pylist()
        expected = theirs[name].astype(object).where(theirs[name].notna(), None).tolist()
        for row, i in enumerate(order):
            if values[i] != expected[row]:
                raise AssertionError(f"{name} of {keys[i]}: {values[i]!r}, pandas has {expected[row]!r}")


def _key(table: pa.Table) -> tuple[str, str]:
    return table.column_names[0], names.HISTORY_LENGTH


def _check_examples(ours: list[bytes], theirs: list[bytes]) -> None:
    from tensorflow.core.example import example_pb2

    def content(record: bytes) -> bytes:
        example = example_pb2.Example.FromString(record)
        for feature in example.features.feature.values():
            kind = feature.WhichOneof("kind")
            if kind and not getattr(feature, kind).value:
                feature.ClearField(kind)
        return example.SerializeToString(deterministic=True)

    if sorted(map(content, ours)) != sorted(map(content, theirs)):
        raise AssertionError("the examples differ")


def _compare(dataset: JourneyDataset) -> tuple[int, float, float, float]:
    """Events of the table itself; seconds of pandas for its windows, and of pandas and of ours for its examples.

    Raises:
      AssertionError: the two sides differ in any value.
    """
    events = _events(dataset, 1)
    frame = _frame(events)
    windows_s, windows = _timed(lambda: _pandas(dataset, frame))
    _check_windows(_ours(dataset, events), windows)
    ours_s, ours = _timed(lambda: _ours_encoded(dataset, events))
    pandas_s, theirs = _timed(lambda: _pandas_encoded(dataset, frame))
    _check_examples(ours, theirs)
    return events.num_rows, windows_s, pandas_s, ours_s


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds: both sides compute on one thread and wait for nothing, and other programs do not count."""
    begin = time.process_time()
    result = call()
    return time.process_time() - begin, result


def sequences_ratio(as_json: bool = False, repeat: int = 20) -> dict[str, Any]:
    """Times both sides in turn, on the same events in memory, and checks that their outputs are the same.

    The windows (all columns of a decision) are timed on the table `repeat` times over with distinct ids; windows and
    encoding to tf.Examples together on the table itself, since pandas has to build every tf.Example in Python. All
    values are compared on the table itself, counts on the repeated one.

    Args:
      as_json: print the result as one line of JSON instead of a sentence.
      repeat: copies of the table, 1 or more.

    Returns:
      `dataset`, `events`; CPU seconds `pandas_s`, `ours_s` and their `ratio` for the windows (ours: median of three;
      pandas: once, scaled up from a quarter of the copies where all of them would take more than two minutes, which
      `pandas_scaled_from` says); `encoded_events`, `pandas_encoded_s`, `ours_encoded_s` and `encoded_ratio` for
      windows and encoding.
    """
    with tempfile.TemporaryDirectory() as temporary:
        dataset = _dataset(Path(temporary))
        encoded_events, expected_s, pandas_encoded_s, ours_encoded_s = _compare(dataset)
        events = _events(dataset, repeat)
    seconds = []
    batches: list[pa.RecordBatch] = []
    for _ in range(3):
        del batches[:]
        took, batches = _timed(lambda: _ours(dataset, events))
        seconds.append(took)
    shown = sum(int(b.column(names.HISTORY_ACTION).sizes.to_numpy().sum()) for b in batches)
    decisions = sum(batch.num_rows for batch in batches)
    del batches[:]
    # What takes minutes is timed on a part of the copies.
    part = SAMPLE if expected_s * repeat > PATIENCE_S and repeat % SAMPLE == 0 else 1
    frame = _frame(events.slice(0, events.num_rows // part))
    pandas_s, theirs = _timed(lambda: _pandas(dataset, frame))
    pandas_s *= part
    if (decisions, shown) != (len(theirs) * part, int(theirs[names.HISTORY_ACTION].map(len).sum()) * part):
        raise AssertionError(f"{decisions} decisions with {shown} events, pandas has {len(theirs) * part}")
    ours_s = sorted(seconds)[1]
    result = {
        "dataset": dataset.name,
        "events": events.num_rows,
        "pandas_s": round(pandas_s, 2),
        "pandas_scaled_from": f"1/{part}" if part > 1 else None,
        "ours_s": round(ours_s, 2),
        "ratio": round(pandas_s / ours_s, 1),
        "encoded_events": encoded_events,
        "pandas_encoded_s": round(pandas_encoded_s, 2),
        "ours_encoded_s": round(ours_encoded_s, 2),
        "encoded_ratio": round(pandas_encoded_s / ours_encoded_s, 1),
    }
    if as_json:
        print(json.dumps(result))
    else:
        print(
            f"windows of {result['events']} events of {dataset.name}: pandas {result['pandas_s']} s, JourneyExampleGen "
            f"{result['ours_s']} s, {result['ratio']} times as fast; with encoding to tf.Examples, {encoded_events} "
            f"events: {result['pandas_encoded_s']} s, {result['ours_encoded_s']} s, {result['encoded_ratio']} times as "
            "fast; the outputs are the same"
        )
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sequences_ratio(arguments.json, arguments.repeat)
