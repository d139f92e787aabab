"""How versions are looked for and loaded."""

from __future__ import annotations

from dataclasses import dataclass

# Upstream's default loads one version at a time; with a second thread a small model passes a large one.
DEFAULT_LOAD_THREADS = 2


@dataclass(frozen=True)
class ManagerSettings:
    """Flags of tensorflow_model_server that concern versions, under their own names.

    file_system_poll_wait_seconds: between two looks at the base paths; 0 looks at start and at reloads only, below 0
      never by itself (`ModelManager.poll` does).
    max_num_load_retries: after a first failure; a version whose files change is tried again in any case.
    load_retry_interval_micros: between two attempts.
    num_load_threads: versions that load at the same time; 0 is the default of 2.
    allow_version_labels_for_unavailable_models: a label that is new may name a version that does not serve.
    """

    file_system_poll_wait_seconds: float = 1.0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    num_load_threads: int = 0
    allow_version_labels_for_unavailable_models: bool = False
