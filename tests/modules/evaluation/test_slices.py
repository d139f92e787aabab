"""Slices of batches against TFMA's own slicing of single examples."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.utils import util

from modules.errors import DataError
from modules.evaluation.slices import slice_members

SPECS = [
    config_pb2.SlicingSpec(),
    config_pb2.SlicingSpec(feature_keys=["source"]),
    config_pb2.SlicingSpec(feature_keys=["rooms"]),
    config_pb2.SlicingSpec(feature_keys=["tags"]),
    config_pb2.SlicingSpec(feature_keys=["tags", "source"]),
    config_pb2.SlicingSpec(feature_keys=["tags", "rooms", "source"]),
    config_pb2.SlicingSpec(feature_values={"source": "portal"}),
    config_pb2.SlicingSpec(feature_keys=["tags"], feature_values={"rooms": "2", "source": "web"}),
    config_pb2.SlicingSpec(feature_keys=["absent"]),
]


def var_len(rows: list[list]) -> types.VarLenTensorValue:
    return types.VarLenTensorValue(
        values=np.array([value for row in rows for value in row], dtype=object),
        indices=np.array([[i, j] for i, row in enumerate(rows) for j in range(len(row))], np.int64).reshape(-1, 2),
        dense_shape=np.array([len(rows), max(map(len, rows), default=0)]),
    )


Lead = st.tuples(
    st.sampled_from([b"portal", b"web", "käufer".encode()]),
    st.integers(1, 3),
    st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(Lead, min_size=1, max_size=12))
def test_slices_equal_those_of_tfma(leads):
    source, rooms, tags = zip(*leads, strict=True)
    features = {
        "source": np.array(source, dtype=object),
        "rooms": np.array(rooms, dtype=np.int64).reshape(-1, 1),
        "tags": var_len(list(tags)),
    }
    expected: Counter = Counter()
    for row, example in enumerate(util.split_extracts({"features": features})):
        for spec in SPECS:
            found = slicer_lib.get_slices_for_features_dicts(
                [], example["features"], [slicer_lib.SingleSliceSpec(spec=spec)]
            )
            expected.update((str(spec), row, key) for key in found)
    got: Counter = Counter()
    for spec, members in zip(SPECS, slice_members([features], len(leads), SPECS), strict=True):
        got.update(
            (str(spec), row, members.keys[group])
            for row, group in zip(members.rows.tolist(), members.groups.tolist(), strict=True)
        )
    assert got == expected


def test_ragged_values_belong_to_their_outermost_row():
    nested = types.RaggedTensorValue(
        values=np.array([b"a", b"b", b"a", b"c"], dtype=object),
        nested_row_splits=[np.array([0, 2, 2, 3]), np.array([0, 1, 3, 4])],
    )
    (members,) = slice_members([{"tags": nested}], 3, [config_pb2.SlicingSpec(feature_keys=["tags"])])
    got = {(row, members.keys[group][0][1]) for row, group in zip(members.rows, members.groups, strict=True)}
    assert got == {(0, "a"), (0, "b"), (2, "c")}


def test_a_nan_and_none_are_missing():
    features = {"price": np.array([1.5, np.nan, 1.5]), "source": np.array([None, b"web", None], dtype=object)}
    specs = [config_pb2.SlicingSpec(feature_keys=[name]) for name in ("price", "source")]
    price, source = slice_members([features], 3, specs)
    assert price.keys == [(("price", 1.5),)]
    assert price.rows.tolist() == [0, 2]
    assert source.keys == [(("source", "web"),)]
    assert source.rows.tolist() == [1]


def test_a_value_that_is_no_text_is_refused():
    features = {"source": np.array([b"\xff"], dtype=object)}
    with pytest.raises(DataError, match="must be UTF-8 text, but 'source' holds"):
        list(slice_members([features], 1, [config_pb2.SlicingSpec(feature_keys=["source"])]))
