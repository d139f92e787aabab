"""BatchingRunner over real SavedModels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvloop

from modules.native.protos import Example
from serving.batching import BatchingRunner, DirectRunner
from serving.batching.parameters import BatchingParameters
from serving.errors import Code, ServingError
from serving.servable import Call, Feed, Servable, ServableId
from tests.serving.saved_models import half_plus, half_plus_two_v1

FLOAT, STRING = 1, 7


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    half_plus(folder / "v2", 1)
    half_plus_two_v1(folder / "v1", 1)
    return folder


@pytest.fixture
def half(models: Path) -> Iterator[Servable]:
    servable = Servable(ServableId("half", 1), models / "v2" / "1")
    yield servable
    servable.close()


@pytest.fixture
def regressor(models: Path) -> Iterator[Servable]:
    servable = Servable(ServableId("regressor", 1), models / "v1" / "1")
    yield servable
    servable.close()


def _half_call(servable: Servable, *values: float) -> Call:
    signature = servable.signatures["serving_default"]
    feed = Feed(signature.inputs["x"].name, FLOAT, np.array(values, np.float32))
    return Call((feed,), (signature.outputs["y"].name,))


def _regress_call(servable: Servable, *serialized: bytes) -> Call:
    signature = servable.signatures["regress_x_to_y"]
    feed = Feed(signature.inputs["inputs"].name, STRING, np.array(serialized, object))
    return Call((feed,), (signature.outputs["outputs"].name,))


def _example(x: float) -> bytes:
    example = Example()
    example.features.feature["x"].float_list.value.append(x)
    return example.SerializeToString()


@pytest.mark.parametrize("batching", [True, False])
def test_many_callers_each_get_half_of_theirs_plus_two(half: Servable, batching: bool) -> None:
    async def test() -> None:
        parameters = BatchingParameters(max_batch_size=8, num_batch_threads=2, allowed_batch_sizes=(1, 4, 8))
        runner = BatchingRunner(parameters) if batching else DirectRunner(2)

        async def client(number: int) -> None:
            for i in range(20):
                x = float(100 * number + i)
                (y,) = await runner.run(half, _half_call(half, x, x + 1), time.monotonic() + 30)
                assert y.tolist() == [x / 2 + 2, x / 2 + 2.5]

        await asyncio.gather(*map(client, range(16)))
        await runner.close()

    uvloop.run(test())


def test_a_malformed_example_fails_alone(regressor: Servable) -> None:
    async def test() -> None:
        runner = BatchingRunner(BatchingParameters(max_batch_size=16, num_batch_threads=1))
        calls = [_regress_call(regressor, b"\xff not an example" if i == 5 else _example(i)) for i in range(12)]
        answers = await asyncio.gather(*[runner.run(regressor, call) for call in calls], return_exceptions=True)
        for i, answer in enumerate(answers):
            if i == 5:
                assert isinstance(answer, ServingError)
                assert answer.code == Code.INVALID_ARGUMENT
                assert answer.message.startswith("Could not parse example input")
            else:
                assert answer[0].tolist() == [[i / 2 + 2]]
        await runner.close()

    uvloop.run(test())
