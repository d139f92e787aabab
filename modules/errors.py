"""The errors a user can meet. Each carries the exit code of the `aiqleads` command.

A message says what was expected, what was received, where, and what to do about it. The command prints it
without a traceback; anything that is not an `AiqleadsError` is a defect, exits 1 and keeps its traceback in the log.
"""

from __future__ import annotations


class AiqleadsError(Exception):
    """Base of all errors a user can act on.

    Attributes:
      exit_code: what the `aiqleads` command exits with.
      details: lines shown below the message, one fact a line (offending rows, columns, thresholds).
    """

    exit_code: int = 1

    def __init__(self, message: str, details: list[str] | None = None) -> None:
        super().__init__(message)
        self.details: list[str] = list(details or [])


class ConfigError(AiqleadsError):
    """A setting, a config file or a command line that cannot be used."""

    exit_code = 4


class DataError(AiqleadsError):
    """Input data that cannot be used: missing or empty files, missing columns, too many bad rows, no label."""

    exit_code = 4


class GateClosed(AiqleadsError):
    """The data gate stopped the run: schema anomalies or drift."""

    exit_code = 3


class NotBlessed(AiqleadsError):
    """A candidate model that failed a threshold or the infrastructure check."""

    exit_code = 2


class UnsupportedModelError(AiqleadsError):
    """A booster that cannot be expressed in stock TensorFlow ops."""

    exit_code = 4
