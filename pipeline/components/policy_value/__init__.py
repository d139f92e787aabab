"""The policy value: what the candidate's recommendations would have been worth, from logged decisions."""

from pipeline.components.policy_value.component import PolicyValue

__all__ = ["PolicyValue"]
