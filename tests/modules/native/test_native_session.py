"""TensorFlow's C library through ctypes: loading, running, types, errors, closing; with and without the package."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from modules.native.library import NativeError
from modules.native.protos import MetaGraphDef, TensorProto
from modules.native.session import Session
from modules.native.tensor import DTYPES, STRING, to_array, to_tensor
from tests.serving.running import PROJECT
from tests.serving.saved_models import half_plus, half_plus_two_v1, vocabulary_model

FLOAT, INT64 = 1, 9


@pytest.fixture(scope="module")
def v2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return half_plus(tmp_path_factory.mktemp("v2"), 1)


def signature(session: Session, name: str = "serving_default"):
    return MetaGraphDef.FromString(session.meta_graph).signature_def[name]


def halves(session: Session):
    found = signature(session)
    return session.function([(found.inputs["x"].name, FLOAT)], [found.outputs["y"].name])


def test_a_tensorflow_2_model_runs(v2):
    session = Session(v2)
    (y,) = halves(session)([np.array([1, 2, 4], np.float32)])
    assert y.dtype == np.float32
    assert y.tolist() == [2.5, 3.0, 4.0]
    session.close()


def test_a_tensorflow_1_model_runs_with_its_variables(tmp_path):
    session = Session(half_plus_two_v1(tmp_path, 1, b=7.0))
    (y,) = halves(session)([np.array([[2.0]], np.float32)])
    assert y.tolist() == [[8.0]]
    session.close()


def test_tables_and_assets_are_loaded(tmp_path):
    session = Session(vocabulary_model(tmp_path, 1, ["ann", "bob"]))
    found = signature(session)
    look_up = session.function([(found.inputs["word"].name, STRING)], [found.outputs["id"].name])
    words = np.array([b"bob", b"zoe", b"", b"ann"], object)
    assert look_up([words])[0].tolist() == [1, -1, -1, 0]
    session.close()


def test_strings_of_all_lengths_and_zero_rows_survive(v2):
    session = Session(v2)
    found = signature(session, "many")
    inputs = sorted(found.inputs)
    function = session.function(
        [(found.inputs[name].name, found.inputs[name].dtype) for name in inputs],
        [found.outputs[name].name for name in ("s_out", "i_out")],
    )
    for strings in ([b"", b"\0", b"x" * 22, b"x" * 23, b"y" * 100_000, "née".encode()], []):
        n = len(strings)
        column = np.empty(n, object)
        column[:] = strings
        feeds = {"x": np.zeros(n, np.float32), "i": np.arange(n), "s": column}
        s, i = function([feeds[name] for name in inputs])
        assert s.tolist() == strings
        assert i.tolist() == list(range(1, n + 1))
    session.close()


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_type_survives_the_way_there_and_back(dtype):
    from modules.native.library import fast_library

    numpy_dtype = DTYPES[dtype]
    if dtype == STRING:
        array = np.array([[b"a", b""], [b"b" * 50, b"\xff"]], object)
    else:
        array = np.array([[0, 1], [1, 0]]).astype(numpy_dtype)
    for value in (array, array[:0], array[0, 0:1].reshape(()), array.T):
        tensor = to_tensor(dtype, value)
        back = to_array(tensor)
        fast_library().TF_DeleteTensor(tensor)
        assert back.dtype == numpy_dtype
        assert back.shape == value.shape
        assert back.tolist() == value.tolist()


def test_errors_keep_the_librarys_code_and_words(v2, tmp_path):
    with pytest.raises(NativeError, match="Could not find SavedModel") as missing:
        Session(tmp_path / "nothing")
    assert missing.value.code == 5
    session = Session(v2)
    with pytest.raises(NativeError, match="not in the graph") as unknown:
        session.function([("nobody:0", FLOAT)], ["nothing:0"])
    assert unknown.value.code == 5
    found = signature(session, "many")
    names = sorted(found.inputs)
    function = session.function(
        [(found.inputs[n].name, found.inputs[n].dtype) for n in names], [found.outputs["x_out"].name]
    )
    wrong = {"x": np.zeros((2, 2), np.float32), "i": np.zeros(3, np.int64), "s": np.array([b""], object)}
    assert function([wrong[n] for n in names])[0].shape == (2, 2)
    session.close()


def test_a_closed_session_refuses_and_closing_waits_for_runs(v2):
    session = Session(v2)
    function = halves(session)
    errors: list[Exception] = []
    begun = threading.Barrier(5)

    def ask() -> None:
        begun.wait()
        try:
            for _ in range(10_000):
                assert function([np.array([2], np.float32)])[0].tolist() == [3.0]
        except NativeError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    session.close()
    session.close()
    for thread in threads:
        thread.join()
    assert len(errors) == 4
    assert all("closed" in str(error) and error.code == 9 for error in errors if isinstance(error, NativeError))
    with pytest.raises(NativeError, match="closed"):
        halves(session)


def test_the_process_needs_no_tensorflow_package_and_can_import_it_later(v2):
    script = f"""
import sys
from modules.native.protos import MetaGraphDef, TensorProto
from modules.native.session import Session
import numpy as np
session = Session({str(v2)!r})
assert "tensorflow" not in sys.modules
found = MetaGraphDef.FromString(session.meta_graph).signature_def["serving_default"]
function = session.function([(found.inputs["x"].name, 1)], [found.outputs["y"].name])
assert function([np.array([2], np.float32)])[0].tolist() == [3.0]
import tensorflow as tf
assert isinstance(tf.make_tensor_proto([1.0]), TensorProto)
assert function([np.array([4], np.float32)])[0].tolist() == [4.0]
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_message_classes_are_tensorflows_own():
    assert isinstance(tf.make_tensor_proto([1.0]), TensorProto)
