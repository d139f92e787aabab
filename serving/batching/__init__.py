"""Where graphs run: each request by itself (DirectRunner), or those that wait together in one run (BatchingRunner)."""

from serving.batching.direct import DirectRunner
from serving.batching.runner import BatchingRunner

__all__ = ["BatchingRunner", "DirectRunner"]
