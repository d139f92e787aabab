"""Which of the versions that exist are to be served, and which loaded ones may go.

Reference: tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc,
tensorflow_serving/core/availability_preserving_policy.cc.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias

from modules.native.protos import file_system_storage_path_source_pb2

VersionPolicy: TypeAlias = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy


def aspired(policy: VersionPolicy, found: Mapping[int, Path]) -> dict[int, Path]:
    """The versions to serve, newest first.

    Args:
      policy: latest (1 unless it says more; also the default), all, or specific versions.
      found: version directories by number.
    """
    newest_first = sorted(found, reverse=True)
    match policy.WhichOneof("policy_choice"):
        case "all":
            chosen = newest_first
        case "specific":
            wanted = set(policy.specific.versions)
            chosen = [version for version in newest_first if version in wanted]
        case _:
            chosen = newest_first[: max(1, policy.latest.num_versions)]
    return {version: found[version] for version in chosen}


def missing(policy: VersionPolicy, found: Collection[int]) -> tuple[int, ...]:
    """Versions that a specific policy asks for and that do not exist, ascending."""
    if policy.WhichOneof("policy_choice") != "specific":
        return ()
    return tuple(sorted(set(policy.specific.versions) - set(found)))


def evictable(superseded: Collection[int], aspired_total: int, aspired_available: int) -> list[int]:
    """Which loaded versions may go, lowest first.

    Every aspired version that does not serve (it loads, or will not load) keeps one superseded version in service, the
    newest; without any aspired version all stay. Upstream lets go as soon as one aspired version serves, so that with
    two versions to serve a broken third costs one of them.

    Args:
      superseded: loaded versions that are no longer aspired; a number may occur twice (from two base paths).
      aspired_total: how many versions are aspired.
      aspired_available: how many of them serve.
    """
    if not aspired_total:
        return []
    keep = aspired_total - aspired_available
    return sorted(superseded)[: max(0, len(superseded) - keep)]
