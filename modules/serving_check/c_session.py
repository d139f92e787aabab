"""Answers requests with a SavedModel in a session of TensorFlow's C library: the loader of the C++ server itself.

Runs in a process of its own without the tensorflow package (`python -m modules.serving_check.c_session requests.json
answers.json`), as a server does: what only works because Python's TensorFlow registered it cannot pass.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modules.native.session import Session
from modules.native.tensor import DTYPES

if TYPE_CHECKING:
    from modules.serving_check.signatures import Signature


class CSession:
    """A SavedModel in a session of the C library.

    Raises:
      RuntimeError: whatever the library reports, e.g. a missing variable.
    """

    def __init__(self, model_dir: str) -> None:
        self._session = Session(model_dir)

    def run(self, inputs: Mapping[str, tuple[int, np.ndarray]], outputs: Sequence[str]) -> list[np.ndarray]:
        """Runs the graph.

        Args:
          inputs: tensor name -> (TF_DataType, array; objects of bytes for strings).
          outputs: tensor names.
        """
        function = self._session.function([(name, dtype) for name, (dtype, _) in inputs.items()], outputs)
        return function([np.asarray(array, DTYPES[dtype]) for dtype, array in inputs.values()])


def ask(model_dir: Path, requests: Sequence[tuple[Signature, Mapping[str, np.ndarray]]]) -> list[dict[str, np.ndarray]]:
    """What a process without the tensorflow package answers.

    Args:
      model_dir: SavedModel.
      requests: signature, and inputs by key.

    Returns:
      Outputs by key, for each request.

    Raises:
      RuntimeError: the model cannot be loaded or run there, or the process died.
    """
    asked = [
        {
            "inputs": [
                {"tensor": t.name, "type": t.dtype.as_datatype_enum, "value": encode(feeds[t.key])}
                for t in signature.inputs
            ],
            "outputs": [{"key": t.key, "tensor": t.name} for t in signature.outputs],
        }
        for signature, feeds in requests
    ]
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "requests.json", Path(folder) / "answers.json"
        question.write_text(json.dumps({"model": str(model_dir.absolute()), "requests": asked}))
        process = subprocess.run(
            [sys.executable, "-m", "modules.serving_check.c_session", str(question), str(answer)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        if process.returncode or not answer.is_file():
            tail = process.stderr.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
            raise RuntimeError(f"the process ended: {tail[0]}")
        received = json.loads(answer.read_text())
    if "error" in received:
        raise RuntimeError(received["error"])
    return [{key: decode(value) for key, value in values.items()} for values in received["answers"]]


def encode(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON; `dtype` is numpy's name, "object" for bytes."""
    if array.dtype == object:
        values = [base64.b64encode(v).decode() for v in array.reshape(-1)]
        return {"dtype": "object", "shape": list(array.shape), "strings": values}
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": data}


def decode(value: dict[str, Any]) -> np.ndarray:
    """The inverse of `encode`."""
    if value["dtype"] == "object":
        result = np.empty(len(value["strings"]), object)
        result[:] = [base64.b64decode(v) for v in value["strings"]]
        return result.reshape(value["shape"])
    return np.frombuffer(base64.b64decode(value["data"]), value["dtype"]).reshape(value["shape"])


def main(requests_file: str, answers_file: str) -> None:
    """Answers {"model": dir, "requests": [{"inputs", "outputs"}]} with {"answers": [...]} or {"error"}."""
    asked = json.loads(Path(requests_file).read_text())
    result: dict[str, Any]
    try:
        session = CSession(asked["model"])
        answers = []
        for request in asked["requests"]:
            inputs = {i["tensor"]: (i["type"], decode(i["value"])) for i in request["inputs"]}
            values = session.run(inputs, [o["tensor"] for o in request["outputs"]])
            keys = [o["key"] for o in request["outputs"]]
            answers.append({key: encode(value) for key, value in zip(keys, values, strict=True)})
        result = {"answers": answers}
    except RuntimeError as error:
        result = {"error": str(error)}
    Path(answers_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:3])
