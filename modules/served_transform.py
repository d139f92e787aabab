"""The part of a Transform graph that an exported model needs: some outputs, and the inputs these depend on.

`TFTransformOutput.transform_features_layer()` carries the whole graph into the model, feeds what a request lacks (the
label, the id) with empty values and throws their outputs away. Here they are not in the graph at all, nor are the
constants behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow.python.eager import wrap_function
from tensorflow.python.ops.op_selector import UnliftableError


class ServedTransform(tf.Module):
    """Raw features by name -> some of Transform's outputs by name; to be called in a graph.

    Args:
      output: the Transform graph; its lookup tables and files become part of the model that owns this module.
      inputs: names of the raw features.
      outputs: names of outputs that depend on nothing else.

    Raises:
      ValueError: an output depends on another raw feature.
    """

    def __init__(self, output: tft.TFTransformOutput, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__(name="transform")
        imported = tf.saved_model.load(output.transform_savedmodel_dir)
        whole = imported.transform_fn
        # Tables are owned by their module, not by the function that looks things up.
        self._resources, self._initializers, self._assets = imported.resources, imported.initializers, imported.assets
        structure = whole.structured_input_signature[0][0]
        flat = tf.nest.flatten(structure, expand_composites=True)
        feeds = tf.nest.pack_sequence_as(structure, whole.graph.inputs[: len(flat)], expand_composites=True)
        found = tf.nest.pack_sequence_as(whole.structured_outputs, whole.graph.outputs, expand_composites=True)
        # tft prunes in the same way before it writes the graph, and offers no way to do so for a part of the inputs.
        holder = wrap_function.VariableHolder(share_variables=True)
        self._inputs = tuple(inputs)
        try:
            self._pruned = wrap_function.WrappedFunction(whole.graph, holder).prune(
                [feeds[name] for name in self._inputs], {name: found[name] for name in outputs}
            )
        except UnliftableError as error:
            raise ValueError(
                f"outputs {', '.join(outputs)} of Transform depend on more than the features {', '.join(self._inputs)}"
            ) from error
        self._shapes = {name: found[name].shape for name in outputs}

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        flat = tf.nest.flatten([raw[name] for name in self._inputs], expand_composites=True)
        return {k: tf.ensure_shape(v, self._shapes[k]) for k, v in self._pruned(*flat).items()}
