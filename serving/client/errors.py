"""What can go wrong on the caller's side. Each message says what was expected, what was received and what to do."""

from __future__ import annotations

from modules.errors import AiqleadsError


class ClientError(AiqleadsError):
    """A model server that cannot be reached, that refused, or that answered something else.

    Attributes:
      code: name of the gRPC status, e.g. "NOT_FOUND"; None if no server was asked.
    """

    exit_code = 5

    def __init__(self, message: str, details: list[str] | None = None, code: str | None = None) -> None:
        super().__init__(message, details)
        self.code = code


class SettingError(ClientError):
    """Settings of a client that cannot be used; no server was asked."""

    exit_code = 4


class LeadError(ClientError):
    """A lead that cannot be sent.

    Attributes:
      index: which lead of those given, counted from 0.
      feature: the feature at fault, e.g. "age" or "history[3].time"; None if it is the lead as a whole.
      reason: what is wrong, without index and feature.
    """

    exit_code = 4

    def __init__(self, index: int, feature: str | None, reason: str) -> None:
        where = f"lead {index}" if feature is None else f"lead {index}, {feature}"
        super().__init__(f"{where}: {reason}")
        self.index, self.feature, self.reason = index, feature, reason
