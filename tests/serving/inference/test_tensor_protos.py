"""TensorProtos in and out, against TensorFlow's own reader and writer."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modules.native.protos import TensorProto
from modules.native.tensor import DTYPES, STRING
from serving import tensors
from serving.errors import Code, ServingError

NUMBERS = sorted(set(DTYPES) - {STRING})
DIMENSIONS = st.sampled_from([0, 1, 1, 2, 3, 5, 70, -1, 1 << 20, 1 << 40, 1 << 62, (1 << 63) - 1])


def tensor(dtype: int, shape: list[int], **values) -> TensorProto:
    proto = TensorProto(dtype=dtype, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def as_tensorflow_reads(proto: TensorProto) -> np.ndarray:
    """Through the op whose kernel is Tensor::FromProto."""
    return tf.io.parse_tensor(proto.SerializeToString(), tf.dtypes.as_dtype(proto.dtype)).numpy()


def same(left: np.ndarray, right: np.ndarray) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        return left.tolist() == right.tolist()
    return bits(left) == bits(right)


def bits(array: np.ndarray) -> bytes:
    """Its bytes; every NaN counts as the same one."""
    parts = {np.dtype(np.complex64): np.float32, np.dtype(np.complex128): np.float64}
    flat = array.reshape(-1)
    flat = flat.view(parts.get(array.dtype, array.dtype)).copy()
    with np.errstate(invalid="ignore"):
        unlike_itself = flat != flat
    if unlike_itself.any():
        flat[unlike_itself] = np.nan
    return flat.tobytes()


@st.composite
def tensor_protos(draw, dimensions=DIMENSIONS, most_dimensions: int = 3) -> TensorProto:
    """Anything a client may send, sound or not."""
    int32 = st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=6)
    floats = st.lists(st.floats(width=32), max_size=6)
    repeated = draw(st.sampled_from([0, 0, 0, 80]))
    proto = TensorProto(
        dtype=draw(st.one_of(st.sampled_from(sorted(DTYPES)), st.integers(-3, 140))),
        tensor_content=draw(st.one_of(st.just(b""), st.just(b""), st.binary(max_size=24))),
        float_val=draw(floats) + [0.5] * repeated,
        double_val=draw(st.lists(st.floats(), max_size=6)) + [0.5] * repeated,
        int_val=draw(int32) + [7] * repeated,
        string_val=draw(st.lists(st.binary(max_size=5), max_size=6)),
        scomplex_val=draw(floats) + [0.5] * repeated,
        int64_val=draw(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=6)),
        bool_val=draw(st.lists(st.booleans(), max_size=6)) + [True] * repeated,
        dcomplex_val=draw(st.lists(st.floats(), max_size=6)),
        half_val=draw(int32),
        uint32_val=draw(st.lists(st.integers(0, (1 << 32) - 1), max_size=6)),
        uint64_val=draw(st.lists(st.integers(0, (1 << 64) - 1), max_size=6)),
    )
    for size in draw(st.lists(dimensions, max_size=most_dimensions)):
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.unknown_rank = draw(st.booleans())
    return proto


@given(tensor_protos(most_dimensions=80))
@settings(max_examples=300, deadline=None)
def test_whatever_is_sent_is_read_or_refused_as_an_invalid_argument(proto: TensorProto) -> None:
    try:
        dtype, array = tensors.decode(proto, "x")
    except ServingError as error:
        assert (error.code, error.message) == (Code.INVALID_ARGUMENT, "tensor parsing error: x")
    else:
        assert dtype == proto.dtype
        assert array.dtype == DTYPES[dtype]
        assert array.shape == tuple(dim.size for dim in proto.tensor_shape.dim)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_random_bytes_that_are_a_tensor_proto_are_read_or_refused(data: bytes) -> None:
    proto = TensorProto()
    try:
        proto.MergeFromString(data)
    except Exception:
        return
    try:
        tensors.decode(proto)
    except ServingError as error:
        assert error.code == Code.INVALID_ARGUMENT


@given(tensor_protos(dimensions=st.sampled_from([-1, 0, 1, 2, 3, 5, 70])))
@settings(max_examples=300, deadline=None)
def test_every_supported_type_is_read_as_tensorflow_reads_it(proto: TensorProto) -> None:
    if proto.dtype not in DTYPES:
        return
    try:
        expected = as_tensorflow_reads(proto)
    except tf.errors.InvalidArgumentError:
        with pytest.raises(ServingError, match=r"^tensor parsing error: x$"):
            tensors.decode(proto, "x")
        return
    _, array = tensors.decode(proto, "x")
    if proto.dtype == STRING:
        assert array.tolist() == np.asarray(expected, object).tolist()
    else:
        assert same(array, expected)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_an_array_survives_both_ways_and_agrees_with_tensorflow(dtype: int, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
    count = int(np.prod(shape))
    if dtype == STRING:
        flat = np.empty(count, object)
        flat[:] = data.draw(st.lists(st.binary(max_size=6), min_size=count, max_size=count))
    else:
        raw = data.draw(st.binary(min_size=16 * count, max_size=16 * count))
        flat = np.frombuffer(raw[: count * DTYPES[dtype].itemsize], np.uint8 if dtype == 10 else DTYPES[dtype])
        flat = flat % 2 == 1 if dtype == 10 else flat
    array = flat.reshape(shape)

    encoded = tensors.encode(array, dtype)
    assert not encoded.tensor_content
    assert same(tensors.decode(encoded)[1], array)
    if dtype == STRING:
        assert tf.make_ndarray(encoded).tolist() == array.tolist()
    else:
        assert same(tf.make_ndarray(encoded), array)
    assert same(tensors.decode(tf.make_tensor_proto(array, dtype, shape))[1], array)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_a_large_tensor_survives_both_ways(dtype: int) -> None:
    raw = np.random.default_rng(5).integers(0, 256, 3000 * 16, np.uint8)
    values = raw[:3000] > 99 if dtype == 10 else raw.view(DTYPES[dtype])[:3000]
    array = values.reshape(30, 100)
    assert same(tensors.decode(tensors.encode(array, dtype))[1], array)


def test_numbers_come_in_the_typed_field_and_not_as_content() -> None:
    proto = tensors.encode(np.array([[1.5], [2.5]], np.float32), 1)
    assert (list(proto.float_val), proto.tensor_content) == ([1.5, 2.5], b"")
    assert [dim.size for dim in proto.tensor_shape.dim] == [2, 1]


def test_an_answer_of_a_type_without_values_cannot_be_encoded() -> None:
    with pytest.raises(ServingError) as caught:
        tensors.encode(np.zeros(1), 20)
    assert caught.value.code == Code.UNIMPLEMENTED


def test_a_bool_in_content_is_zero_or_one() -> None:
    assert tensors.decode(tensor(10, [2], tensor_content=b"\x00\x01"))[1].tolist() == [False, True]
    with pytest.raises(ServingError, match=r"^tensor parsing error: b$"):
        tensors.decode(tensor(10, [2], tensor_content=b"\x00\x02"), "b")


def test_one_value_is_repeated_over_the_shape() -> None:
    assert tensors.decode(tensor(9, [2, 2], int64_val=[7]))[1].tolist() == [[7, 7], [7, 7]]


def test_a_short_list_is_filled_up_with_its_last_value() -> None:
    assert tensors.decode(tensor(STRING, [4], string_val=[b"a", b"b"]))[1].tolist() == [b"a", b"b", b"b", b"b"]


def test_a_long_list_is_cut_to_the_shape() -> None:
    assert tensors.decode(tensor(1, [2], float_val=[1, 2, 3]))[1].tolist() == [1, 2]


def test_no_values_are_zeros_and_empty_strings() -> None:
    assert tensors.decode(tensor(2, [2]))[1].tolist() == [0, 0]
    assert tensors.decode(tensor(STRING, [2]))[1].tolist() == [b"", b""]


def test_strings_in_content_are_lengths_and_then_characters() -> None:
    assert tensors.decode(tensor(STRING, [3], tensor_content=b"\x01\x00\x02abc"))[1].tolist() == [b"a", b"", b"bc"]


@pytest.mark.parametrize("content", [b"\x01", b"\x05ab", b"\x01ab", b"\xff" * 1000, b"\xff\xff\xff\xff\xff\xff\x01"])
def test_strings_in_content_that_do_not_add_up_are_refused(content: bytes) -> None:
    with pytest.raises(ServingError, match=r"^tensor parsing error: s$"):
        tensors.decode(tensor(STRING, [1], tensor_content=content), "s")


@pytest.mark.parametrize("dtype", [1, 9, 10, STRING])
@pytest.mark.parametrize("shape", [[10**12], [1 << 31], [10**6, 10**6], [1 << 62, 1 << 62]])
def test_a_huge_declared_shape_takes_no_memory(dtype: int, shape: list[int]) -> None:
    values: dict[int, dict[str, list]]
    values = {1: {"float_val": [1.0]}, 9: {"int64_val": [1]}, 10: {"bool_val": [True]}, STRING: {"string_val": [b"x"]}}
    tracemalloc.start()
    try:
        for proto in (tensor(dtype, shape), tensor(dtype, shape, **values[dtype])):
            with pytest.raises(ServingError, match="tensor parsing error: x"):
                tensors.decode(proto, "x")
        proto = tensor(dtype, shape, tensor_content=b"0123")
        with pytest.raises(ServingError, match="tensor parsing error: x"):
            tensors.decode(proto, "x")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_long_string_is_not_repeated_without_end() -> None:
    proto = tensor(STRING, [1000], string_val=[b"x" * (1 << 20)])
    with pytest.raises(ServingError, match="tensor parsing error: s"):
        tensors.decode(proto, "s")


def test_a_value_repeated_up_to_the_limit_is_read() -> None:
    count = tensors.MAX_FILL_BYTES // 4
    array = tensors.decode(tensor(1, [count], float_val=[2.0]))[1]
    assert array.shape == (count,) and array.min() == array.max() == 2.0
    with pytest.raises(ServingError):
        tensors.decode(tensor(1, [count + 1], float_val=[2.0]))
