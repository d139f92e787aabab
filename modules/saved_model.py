"""Writing a SavedModel and what travels beside it, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from modules.manifest import EXTRA


def save(
    model: tf.Module,
    signatures: Mapping[str, Any],
    path: str | Path,
    extra: Mapping[str, bytes | str],
    method_names: Mapping[str, str] | None = None,
) -> None:
    """Writes the SavedModel and its assets.extra beside `path`, then renames: a reader sees all of it or nothing.

    Args:
      model: the model.
      signatures: tf.functions by name of their signature.
      path: directory to create; an older one is replaced.
      extra: content by file name under assets.extra/.
      method_names: by signature, where it is not TensorFlow Serving's Predict.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    tf.saved_model.save(model, str(beside), signatures=dict(signatures))
    if method_names:
        names = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(beside))
        for signature, method in method_names.items():
            names.replace_method_name(signature_key=signature, method_name=method, tags="serve")
        names.save()
    folder = beside / EXTRA
    folder.mkdir()
    for name, content in extra.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    shutil.rmtree(path, ignore_errors=True)
    beside.rename(path)
