"""The network as a request needs it: the answer at the end of the history only."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf


class AtLastSlot(tf.Module):
    """Inputs of the network, a dict -> (action_logits, conversion_logits) at slot `length`, float32 [n, A] each.

    Keras objects stay outside of what TensorFlow tracks: only the plain variables are saved, which is what the session
    loader of TensorFlow Serving finds again.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="network")
        self.variables_ = [weight.value for weight in network.weights]
        self._run = lambda inputs: network(inputs, training=False)

    def __call__(self, inputs: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        found = self._run(dict(inputs))
        at = inputs["length"]
        return (
            tf.gather(found["action_logits"], at, batch_dims=1),
            tf.gather(found["conversion_logits"], at, batch_dims=1),
        )
