"""Settings of the recommendation model: the `model` section of configs/recommendation.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FROZEN = ConfigDict(frozen=True, extra="forbid")


class ActionRule(BaseModel):
    """Forbids actions for a lead, e.g. no call after an opt-out.

    The rule holds when all of its conditions hold; without conditions it always holds.

        {forbid: [call, text], after: {response: [declined]}}
        {forbid: [email], where: {source: [walk_in, partner]}}
    """

    model_config = FROZEN
    forbid: tuple[str, ...] = Field(min_length=1, description="actions that are then never recommended")
    after: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="some event of the history has one of the values in each of these columns: `action` or the name "
        "of a categorical event feature",
    )
    last_event_only: bool = Field(default=False, description="`after` looks at the last event only")
    where: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="the lead has one of the values in each of these categorical features; '' is missing",
    )


class PolicySettings(BaseModel):
    """How actions are ranked.

    likelihood: by the probability that an agent would take the action.
    value: by the probability that the lead converts if the action is next.
    mix: by value among the actions whose likelihood reaches `floor`; the others come after them, by likelihood.
    """

    model_config = FROZEN
    kind: Literal["likelihood", "value", "mix"] = "mix"
    floor: float = Field(
        default=0.05, ge=0, le=1, description="mix only: smallest likelihood of an action that value may promote"
    )
    allow: tuple[str, ...] = Field(default=(), description="the only actions that may be recommended; all when empty")
    rules: tuple[ActionRule, ...] = ()
    top_k: int | None = Field(default=None, ge=1, description="actions in an answer; all of them when null")


class RecommendationSettings(BaseModel):
    """The network, its training, and the policy."""

    model_config = FROZEN
    # Network
    embedding_dim: int = Field(default=128, ge=4, le=1024, description="width of a token")
    num_heads: int = Field(default=4, ge=1, le=32)
    num_layers: int = Field(default=1, ge=1, le=12, description="attention blocks")
    hidden_layers: tuple[int, ...] = Field(default=(256, 128, 64), description="dense layers behind the attention")
    dropout_rate: float = Field(default=0.3, ge=0, lt=1)
    unknown_rate: float = Field(
        default=0.005,
        ge=0,
        lt=1,
        description="share of codes that training replaces by 'unknown', so that a word never seen has an embedding",
    )
    # Training
    learning_rate: float = Field(default=0.001, gt=0, le=1)
    learning_rate_decay: Literal["none", "cosine"] = Field(
        default="none", description="cosine: the learning rate falls to 0 over `epochs`"
    )
    weight_decay: float = Field(default=0.0, ge=0)
    weight_averaging: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="the model is the average of the weights over the last steps, with this momentum (0.999: about the "
        "last 1,000); 0: the weights of the last step",
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    batch_size: int = Field(default=64, ge=1, description="journeys (causal training) or decisions per step")
    epochs: int = Field(default=100, ge=1)
    early_stopping_rounds: int | None = Field(
        default=10, ge=1, description="epochs without a better validation loss; null: train all epochs"
    )
    validation_split: float = Field(
        default=0.2, ge=0, lt=1, description="share of the training journeys that stops training early"
    )
    refit: bool = Field(
        default=False,
        description="after early stopping, train again on training and validation journeys for the epochs found",
    )
    causal: bool = Field(
        default=True,
        description="learn from every position of a journey in one pass; false: one decision at a time, same loss",
    )
    conversion_weight: float = Field(default=1.0, ge=0, description="weight of the conversion head in the loss")
    effect_penalty: float = Field(
        default=0.01,
        ge=0,
        description="weight in the loss of the variance, over the actions, of the logits of conversion: actions are "
        "taken to differ little in their effect unless the data say so",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced: an action weighs as much as the inverse of its frequency, at most 10"
    )
    recency_half_life_days: float | None = Field(
        default=None, gt=0, description="a journey's weight halves with its age at the newest training journey"
    )
    shuffle_buffer: int = Field(default=10_000, ge=1, description="journeys or decisions")
    prefetch_buffer: int = Field(default=2, ge=0, description="batches made ahead; 0: as many as tf.data likes")
    mixed_precision: bool = Field(default=False, description="float16 or bfloat16 arithmetic on a GPU or TPU")
    multi_device: bool = Field(default=False, description="one replica per GPU of this machine (MirroredStrategy)")
    resume: bool = Field(default=True, description="continue from the last checkpoint of a killed run")
    seed: int = Field(default=0, ge=0)
    ensemble: int = Field(
        default=1,
        ge=1,
        le=16,
        description="networks trained with different seeds whose probabilities are averaged; cost grows with it",
    )
    # Transform
    text_words: int = Field(default=100, ge=0, description="words of each text feature kept as indicators")
    clock: tuple[Literal["gap", "age", "hour", "weekday"], ...] = Field(
        default=("gap", "age", "hour", "weekday"),
        description="what the network sees of the time of an event: since the event before, since the start of the "
        "journey, hour of the day, day of the week",
    )
    # Answer
    policy: PolicySettings = PolicySettings()

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> RecommendationSettings:
        if self.embedding_dim % self.num_heads:
            raise ValueError(f"embedding_dim {self.embedding_dim} must be a multiple of num_heads {self.num_heads}")
        return self
