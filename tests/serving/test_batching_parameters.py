"""BatchingParameters in text format: upstream's defaults, refusals and words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.batching.parameters import BatchingParameters, read
from serving.errors import Code, ServingError


def _read(tmp_path: Path, text: str) -> BatchingParameters:
    path = tmp_path / "batching.txt"
    path.write_text(text)
    return read(path)


def test_every_field_is_read(tmp_path: Path) -> None:
    parameters = _read(
        tmp_path,
        """
        max_batch_size { value: 128 }
        batch_timeout_micros { value: 2500 }
        max_enqueued_batches { value: 7 }
        num_batch_threads { value: 3 }
        thread_pool_name { value: "leads" }
        allowed_batch_sizes: 8
        allowed_batch_sizes: 32
        pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 32 }
        """,
    )
    assert parameters == BatchingParameters(
        max_batch_size=128,
        batch_timeout_micros=2500,
        max_enqueued_batches=7,
        num_batch_threads=3,
        thread_pool_name="leads",
        allowed_batch_sizes=(8, 32),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=32,
    )
    assert parameters.execution_batch_size == 32


def test_what_a_file_leaves_out_has_upstreams_defaults(tmp_path: Path) -> None:
    parameters = _read(tmp_path, "")
    assert (parameters.max_batch_size, parameters.batch_timeout_micros, parameters.max_enqueued_batches) == (
        1000,
        0,
        10,
    )
    assert parameters.thread_pool_name == "batch_threads"
    assert parameters.num_batch_threads == len(os.sched_getaffinity(0))
    assert (parameters.allowed_batch_sizes, parameters.pad_variable_length_inputs) == ((), False)
    assert parameters.execution_batch_size == 1000


def test_without_a_file_only_the_pool_has_another_name() -> None:
    assert read("") == read(None) == BatchingParameters(thread_pool_name="model_server_batch_threads")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_batch_size { value: 64 } allowed_batch_sizes: 8 allowed_batch_sizes: 32",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 32; expected 64",
        ),
        (
            "allowed_batch_sizes: 10",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 10; expected 1000",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: [4, 4, 8]",
            "allowed_batch_sizes entries must be positive and monotonically increasing; were 4, 4, 8",
        ),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("num_batch_threads { value: -2 }", "num_batch_threads must be positive; was -2"),
        ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
    ],
)
def test_a_value_out_of_range_is_refused_in_upstreams_words(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        _read(tmp_path, text)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_an_unknown_field_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ServingError) as caught:
        _read(tmp_path, "max_batch_size { value: 64 }\nbatch_timeout: 5\n")
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert caught.value.message.startswith(f"Invalid protobuf file: '{tmp_path / 'batching.txt'}' (2:1 : ")
    assert 'no field named "batch_timeout"' in caught.value.message


def test_a_bare_number_for_a_wrapped_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"\(1:17 :"):
        _read(tmp_path, "max_batch_size: 64")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ServingError) as caught:
        read(tmp_path / "none.txt")
    assert (caught.value.code, caught.value.message) == (
        Code.NOT_FOUND,
        f"{tmp_path / 'none.txt'}; No such file or directory",
    )
