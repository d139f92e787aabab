"""Layers of the network (model.py): embeddings, slots, attention, what is counted and compared, the effects.

Only keras.ops, so they run on every Keras backend; each can be saved and loaded by name.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from modules.recommendation.layout import FIRST_WORD, UNKNOWN

KNOTS = (-1.5, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 1.5, 2.5)
"""Where numbers of a lead, standardised, change what they mean."""

SOFTNESS = 0.1
"""Width of the change, in standard deviations."""

PACKAGE = "aiqleads"


class Embeddings(keras.layers.Layer):
    """One embedding per column of codes.

    In training a code becomes UNKNOWN with probability `unknown_rate`.

    Args:
      columns: names and sizes of the C columns.
      width: D.
      unknown_rate: 0 to 1.
      seed: of the choice of codes.

    Call: int32 [..., C] -> list of C tensors [..., D].
    """

    def __init__(
        self, columns: list[dict[str, Any]], width: int, unknown_rate: float, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.columns, self.width, self.unknown_rate, self.seed = columns, width, unknown_rate, seed
        self.random = keras.random.SeedGenerator(seed)
        self.tables = [
            keras.layers.Embedding(
                column["size"],
                width,
                embeddings_initializer=keras.initializers.RandomNormal(stddev=0.05, seed=seed + 1 + i),
                name=f"embed_{column['name']}",
            )
            for i, column in enumerate(columns)
        ]

    def build(self, input_shape: Any) -> None:
        for table in self.tables:
            table.build((*input_shape[:-1],))
        self.built = True

    def call(self, codes: Any, training: bool = False) -> list[Any]:
        codes = ops.cast(codes, "int32")
        if training and self.unknown_rate > 0:
            drop = keras.random.uniform(ops.shape(codes), seed=self.random) < self.unknown_rate
            codes = ops.where(drop & (codes > 0), UNKNOWN, codes)
        return [table(codes[..., i]) for i, table in enumerate(self.tables)]

    def compute_output_shape(self, input_shape: Any) -> list[Any]:
        return [(*input_shape[:-1], self.width) for _ in self.columns]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "columns": self.columns,
            "width": self.width,
            "unknown_rate": self.unknown_rate,
            "seed": self.seed,
        }


class Slots(keras.layers.Layer):
    """The slots of a journey: the start, then the events, each with its position and a mix of the latest slots.

    Args:
      length: L, most events.
      recent: slots that are mixed.
      seed: of the weights.

    Call: start [n, D], events [n, T, D] -> [n, T + 1, D].
    """

    def __init__(self, length: int, recent: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length, self.recent, self.seed = length, recent, seed

    def build(self, start_shape: Any, events_shape: Any) -> None:
        width = start_shape[-1]
        normal = keras.initializers.RandomNormal
        self.embed_position = self.add_weight(
            name="embed_position", shape=(self.length + 1, width), initializer=normal(stddev=0.05, seed=self.seed)
        )
        self.mix = keras.layers.Dense(
            width, kernel_initializer=keras.initializers.GlorotUniform(seed=self.seed + 1), name="mix"
        )
        self.mix.build((None, None, self.recent * width))
        self.built = True

    def call(self, start: Any, events: Any) -> Any:
        slots = ops.concatenate([start[:, None, :], events], axis=1)
        count = ops.shape(slots)[1]
        slots = slots + ops.cast(self.embed_position, slots.dtype)[None, :count]
        padded = ops.pad(slots, [[0, 0], [self.recent, 0], [0, 0]])
        latest = [padded[:, self.recent - i : self.recent - i + count] for i in range(self.recent)]
        return slots + ops.relu(self.mix(ops.concatenate(latest, axis=-1)))

    def compute_output_shape(self, start_shape: Any, events_shape: Any) -> Any:
        slots = None if events_shape[1] is None else events_shape[1] + 1
        return (start_shape[0], slots, start_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "length": self.length, "recent": self.recent, "seed": self.seed}


class Attention(keras.layers.Layer):
    """Multi-head attention of slots to the lead's tokens and to the slots before them.

        softmax over keys of (q k / sqrt(D / heads) + bias[head, i - j]) where key j may be seen by slot i

    Slot i sees all tokens of the lead (without a bias), and slots j <= i.

    Args:
      heads: number of heads.
      length: L, most events.
      dropout: share of attention weights dropped in training.
      seed: of weights and dropout.

    Call: slots [n, S, D], lead [n, F, D] (F may be 0) -> [n, S, D].
    """

    def __init__(self, heads: int, length: int, dropout: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.length, self.dropout, self.seed = heads, length, dropout, seed
        self.drop = keras.layers.Dropout(dropout, seed=seed)

    def build(self, slots_shape: Any, lead_shape: Any) -> None:
        width = slots_shape[-1]

        def dense(name: str, units: int, step: int) -> keras.layers.Dense:
            layer = keras.layers.Dense(
                units, kernel_initializer=keras.initializers.GlorotUniform(seed=self.seed + step), name=name
            )
            layer.build((None, None, width))
            return layer

        self.query = dense("query", width, 1)
        self.key_value = dense("key_value", 2 * width, 2)
        self.out = dense("out", width, 3)
        self.distance_bias = self.add_weight(
            name="distance_bias", shape=(self.heads, self.length + 1), initializer="zeros"
        )
        self.built = True

    def _split(self, x: Any) -> Any:
        shape = ops.shape(x)
        x = ops.reshape(x, (shape[0], shape[1], self.heads, x.shape[-1] // self.heads))
        return ops.transpose(x, (0, 2, 1, 3))

    def call(self, slots: Any, lead: Any, training: bool = False) -> Any:
        width = slots.shape[-1]
        count, others = ops.shape(slots)[1], lead.shape[1]
        query = self._split(self.query(slots)) * (width // self.heads) ** -0.5
        key_value = self.key_value(ops.concatenate([lead, slots], axis=1) if others else slots)
        key, value = self._split(key_value[..., :width]), self._split(key_value[..., width:])

        index = ops.arange(count)
        distance = index[:, None] - index[None, :]
        bias = ops.take(ops.cast(self.distance_bias, slots.dtype), ops.maximum(distance, 0), axis=1)
        bias = ops.where(distance[None] >= 0, bias, ops.cast(-3e4, slots.dtype))  # float16 ends at 6.5e4
        if others:
            bias = ops.pad(bias, [[0, 0], [0, 0], [others, 0]])
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) + bias[None]
        weights = self.drop(ops.softmax(scores, axis=-1), training=training)
        mixed = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        return self.out(ops.reshape(mixed, (ops.shape(mixed)[0], count, width)))

    def compute_output_shape(self, slots_shape: Any, lead_shape: Any) -> Any:
        return slots_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "heads": self.heads,
            "length": self.length,
            "dropout": self.dropout,
            "seed": self.seed,
        }


class ActionCounts(keras.layers.Layer):
    """How often each action has been taken: log(1 + number among the first i events).

    Args:
      actions: A.

    Call: codes of actions int32 [n, T] -> [n, T + 1, A].
    """

    def __init__(self, actions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.actions = actions

    def call(self, codes: Any) -> Any:
        taken = ops.one_hot(ops.cast(codes, "int32") - FIRST_WORD, self.actions, dtype=self.compute_dtype)
        return ops.log1p(ops.cumsum(ops.pad(taken, [[0, 0], [1, 0], [0, 0]]), axis=1))

    def compute_output_shape(self, codes_shape: Any) -> Any:
        slots = None if codes_shape[1] is None else codes_shape[1] + 1
        return (codes_shape[0], slots, self.actions)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "actions": self.actions}


class Repeats(keras.layers.Layer):
    """Says which codes of an event are those of an event shortly before, e.g. whether the same agent acted again.

        output[t, (k - 1) C + c] = 1 if codes[t, c] = codes[t - k, c] else 0, k = 1 ... back; 0 where there is no t - k

    Args:
      back: how many events before are compared.

    Call: int32 [n, T, C] -> [n, T, back * C].
    """

    def __init__(self, back: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.back = back

    def call(self, codes: Any) -> Any:
        codes = ops.cast(codes, "int32")
        count = ops.shape(codes)[1]
        padded = ops.pad(codes, [[0, 0], [self.back, 0], [0, 0]], constant_values=-1)
        same = [ops.equal(codes, padded[:, self.back - k : self.back - k + count]) for k in range(1, self.back + 1)]
        return ops.cast(ops.concatenate(same, axis=-1), self.compute_dtype)

    def compute_output_shape(self, codes_shape: Any) -> Any:
        return (*codes_shape[:-1], self.back * codes_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "back": self.back}


class Knots(keras.layers.Layer):
    """Numbers as steps, so that a linear layer can say "60 or older".

        output[g, k] = sigmoid((x[g] - knot[k]) / SOFTNESS), and x itself

    Standardised numbers lie around the knots -1.5 to 2.5. Call: float32 [n, G] -> [n, G * (knots + 1)].
    """

    def call(self, x: Any) -> Any:
        steps = ops.sigmoid((x[..., None] - ops.convert_to_tensor(KNOTS, dtype=x.dtype)) / SOFTNESS)
        steps = ops.reshape(steps, (-1, x.shape[-1] * len(KNOTS)))
        return ops.concatenate([ops.clip(x, -5.0, 5.0), steps], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[1] * (len(KNOTS) + 1))


class Beside(keras.layers.Layer):
    """A journey's vector repeated beside each of its slots: [n, S, D], [n, E] -> [n, S, D + E]."""

    def call(self, slots: Any, vector: Any) -> Any:
        shape = ops.shape(slots)
        repeated = ops.broadcast_to(vector[:, None, :], (shape[0], shape[1], vector.shape[-1]))
        return ops.concatenate([slots, repeated], axis=-1)

    def compute_output_shape(self, slots_shape: Any, vector_shape: Any) -> Any:
        return (*slots_shape[:-1], slots_shape[-1] + vector_shape[-1])


class Effects(keras.layers.Layer):
    """Conversion as the value of a state plus the effect of an action, which is nil on average under the likelihoods:

        value + effect[a] - sum over b of p[b] effect[b],   p = softmax(action_logits)

    No gradient reaches p from here. What a state is worth is thus learned by the value, whichever action was taken, and
    an action gets the credit only for what differs from it (dueling networks, Wang et al. 2016; the residual on the
    propensity is that of the R-learner, Nie & Wager 2021). Without this a rare action that agents take with good leads
    looks good itself.

    Call: value [n, S, 1], effect [n, S, A], action_logits [n, S, A] -> [n, S, A].
    """

    def call(self, value: Any, effect: Any, action_logits: Any) -> Any:
        likelihood = ops.stop_gradient(ops.softmax(action_logits, axis=-1))
        return value + effect - ops.sum(likelihood * effect, axis=-1, keepdims=True)

    def compute_output_shape(self, value_shape: Any, effect_shape: Any, action_logits_shape: Any) -> Any:
        return effect_shape


class Used(keras.layers.Layer):
    """Sets the slots behind a journey's last event to 0: [n, S, A], length int32 [n] -> [n, S, A]."""

    def call(self, logits: Any, length: Any) -> Any:
        used = ops.arange(ops.shape(logits)[1])[None, :] <= ops.cast(length, "int32")[:, None]
        return ops.where(used[..., None], logits, ops.zeros_like(logits))

    def compute_output_shape(self, logits_shape: Any, length_shape: Any) -> Any:
        return logits_shape


class Start(keras.layers.Layer):
    """A learned vector for every journey: any [n, ...] -> [n, width]."""

    def __init__(self, width: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.seed = width, seed

    def build(self, input_shape: Any) -> None:
        self.embed_start = self.add_weight(
            name="embed_start",
            shape=(self.width,),
            initializer=keras.initializers.RandomNormal(stddev=0.05, seed=self.seed),
        )
        self.built = True

    def call(self, x: Any) -> Any:
        vector = ops.cast(self.embed_start, self.compute_dtype)
        return ops.broadcast_to(vector[None], (ops.shape(x)[0], self.width))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "seed": self.seed}


for _layer in (Effects, Embeddings, Slots, Attention, ActionCounts, Repeats, Knots, Beside, Used, Start):
    keras.saving.register_keras_serializable(package=PACKAGE)(_layer)
