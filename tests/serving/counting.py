"""A model that takes as long as it is asked to, and what a process has worked meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf


def counting_model(folder: Path, version: int) -> Path:
    """TensorFlow 2: counts in a loop of `turns` turns, int64 scalar, and answers `turns`."""

    class Counting(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.int64, "turns")])
        def serving_default(self, turns):
            (counted,) = tf.while_loop(lambda i: i < turns, lambda i: (i + 1,), (tf.constant(0, tf.int64),))
            return {"turns": counted}

    module = Counting()
    path = folder / str(version)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serving_default})
    return path


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, all threads."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
