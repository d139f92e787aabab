"""The networks as a request needs them: their mean answer, at the end of the history only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from modules.recommendation.averaging import mean_logits


class AtLength(keras.layers.Layer):
    """The slot behind the last event: [n, S, D], length int32 [n] -> [n, 1, D]."""

    def call(self, slots: Any, length: Any) -> Any:
        return tf.gather(slots, length[:, tf.newaxis], batch_dims=1)

    def compute_output_shape(self, slots_shape: Any, length_shape: Any) -> Any:
        return (slots_shape[0], 1, *slots_shape[2:])


def last_slot_network(network: keras.Model) -> keras.Model:
    """The same network, with the same weights, computed for one slot only.

    Behind the attention of the last block every layer looks at one slot at a time, so what follows is computed for slot
    `length` alone: the queries of all other slots are the only thing left that nobody asks for.

    Args:
      network: of build_network.

    Returns:
      A network with the same inputs and outputs [n, 1, A] instead of [n, T + 1, A].
    """
    blocks = sum(layer.name.startswith("block_") and layer.name.endswith("_add_1") for layer in network.layers)
    residual = network.get_layer(f"block_{blocks - 1}_add_1")
    counts = network.get_layer("action_counts")
    inputs = {name: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=name) for name, x in network.input.items()}
    pick = AtLength(name="at_length")

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer is residual:
            args = ([pick(x, inputs["length"]) for x in args[0]], *args[1:])
        found = layer(*args, **kwargs)
        return pick(found, inputs["length"]) if layer is counts else found

    return keras.models.clone_model(
        network, input_tensors=inputs, clone_function=lambda layer: layer, call_function=call
    )


class AtLastSlot(tf.Module):
    """Inputs of the network, a dict -> (action_logits, conversion_logits) at slot `length`, float32 [n, A] each.

    Of several networks, which share the inputs, the logits of their mean probabilities.

    Keras objects stay outside of what TensorFlow tracks: only the plain variables are saved, which is what the session
    loader of TensorFlow Serving finds again.
    """

    def __init__(self, networks: Sequence[keras.Model]) -> None:
        super().__init__(name="network")
        self.variables_ = [weight.value for network in networks for weight in network.weights]
        last = [last_slot_network(network) for network in networks]
        specs = {name: tf.TensorSpec(x.shape, x.dtype, name=name) for name, x in networks[0].input.items()}

        # One function of its own: all signatures share one copy of the networks.
        @tf.function(input_signature=[specs], autograph=False)
        def run(inputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            found = [network(dict(inputs), training=False) for network in last]
            return mean_logits([(one["action_logits"][:, 0], one["conversion_logits"][:, 0]) for one in found])

        self._specs, self._run = specs, run

    def __call__(self, inputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return self._run({name: tf.cast(inputs[name], spec.dtype) for name, spec in self._specs.items()})
