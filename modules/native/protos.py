"""Protocol buffers of TensorFlow and TensorFlow Serving, imported without TensorFlow itself.

`from tensorflow.core.framework import tensor_pb2` runs `tensorflow/__init__.py` first: 5 to 17 s and half a gigabyte
for a few message classes. Here a bare package stands in for `tensorflow` while the generated modules are imported and
is taken away again; a later `import tensorflow` works and uses the same classes, since protobuf keeps one per
descriptor. It can go once TensorFlow's wheel offers its protocol buffers as a package of their own.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator

from modules.native.library import wheel


@contextlib.contextmanager
def _bare_tensorflow() -> Iterator[None]:
    if "tensorflow" in sys.modules:
        yield
        return
    package = types.ModuleType("tensorflow")
    package.__path__ = [str(wheel())]
    sys.modules["tensorflow"] = package
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n == "tensorflow" or n.startswith("tensorflow.")]:
            del sys.modules[name]


with _bare_tensorflow():
    from tensorflow.core.example.example_pb2 import Example
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
    from tensorflow.core.framework.types_pb2 import DataType
    from tensorflow.core.protobuf.config_pb2 import ConfigProto, RunOptions
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef, TensorInfo
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        input_pb2,
        model_management_pb2,
        model_pb2,
        model_service_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_log_pb2,
        prediction_service_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
        status_pb2,
    )
    from tensorflow_serving.config import (
        file_system_storage_path_source_pb2,
        model_server_config_pb2,
    )

__all__ = [
    "ConfigProto",
    "DataType",
    "Example",
    "MetaGraphDef",
    "RunOptions",
    "SavedModel",
    "SignatureDef",
    "TensorInfo",
    "TensorProto",
    "TensorShapeProto",
    "classification_pb2",
    "file_system_storage_path_source_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "input_pb2",
    "model_management_pb2",
    "model_pb2",
    "model_server_config_pb2",
    "model_service_pb2",
    "model_service_pb2_grpc",
    "predict_pb2",
    "prediction_log_pb2",
    "prediction_service_pb2",
    "prediction_service_pb2_grpc",
    "regression_pb2",
    "status_pb2",
]
