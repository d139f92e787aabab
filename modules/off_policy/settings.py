"""Settings of the policy value: the `value` section of configs/recommendation.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PolicyValueSettings(BaseModel):
    """How the value of the new policy is estimated from logged decisions; see docs/policy_value.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: float = Field(default=0.95, gt=0, lt=1, description="nominal coverage of the intervals")
    max_weight: float | None = Field(
        default=None, gt=0, description="importance weights are cut at this value, which biases the estimate; null: not"
    )
    max_estimated_weight: float | None = Field(
        default=50, gt=0, description="the same where propensities were not logged and the model's likelihoods stand in"
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="null: the new policy always takes the next best action; otherwise it draws one of the ranked "
        "actions with a probability that rises e-fold for every `temperature` of conversion probability",
    )
