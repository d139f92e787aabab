"""Stock Pusher with an executor whose push to a file system is atomic, and where a push went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.components.pusher import component
from tfx.components.pusher import executor as stock
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, path_utils, proto_utils

from modules.publishing import publish

PUSHED_PROPERTY = "pushed"
DESTINATION_PROPERTY = "pushed_destination"
VERSION_PROPERTY = "pushed_version"
_HAS_MODEL_PROPERTY = "has_model"

Artifacts = dict[str, list[types.Artifact]]


class AtomicExecutor(stock.Executor):
    """Pushes blessed models, as TFX's executor does, but a model server sees whole versions or none.

    TFX copies into `<base>/<time>/` file by file. Here see `modules.publishing`. Of a model and an infrastructure
    blessing that holds the same model with warm-up requests, the latter is pushed. Destinations that are not a local
    file system go to TFX's own implementation.
    """

    def GetModelPath(self, input_dict: Artifacts) -> str:
        for blessing in input_dict.get(standard_component_specs.INFRA_BLESSING_KEY) or []:
            if blessing.get_int_custom_property(_HAS_MODEL_PROPERTY):
                return path_utils.stamped_model_path(blessing.uri)
        return super().GetModelPath(input_dict)

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Writes the version and the PushedModel artifact.

        Raises:
          PublishError: the version could not be written (no space, no permission); nothing is visible of it.
        """
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        if destination.WhichOneof("destination") != "filesystem" or "://" in base:
            super().Do(input_dict, output_dict, exec_properties)
            return
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        source = self.GetModelPath(input_dict)
        # The archive first: should it fail, nothing has been published yet.
        io_utils.copy_dir(source, pushed.uri)
        published = publish(source, base)
        self._MarkPushed(pushed, pushed_destination=str(published.path), pushed_version=str(published.version))
        logging.info("%s %s", "published" if published.new else "already published", published.path)


def atomic_pusher(**arguments: Any) -> component.Pusher:
    """TFX's Pusher with `AtomicExecutor`; arguments as there."""
    return component.Pusher(custom_executor_spec=executor_spec.ExecutorClassSpec(AtomicExecutor), **arguments)


def pushed_path(artifact: types.Artifact) -> Path | None:
    """Where a PushedModel artifact was published; None when nothing was pushed. It may have vanished since."""
    if artifact.get_int_custom_property(PUSHED_PROPERTY) != 1:
        return None
    return Path(artifact.get_string_custom_property(DESTINATION_PROPERTY))
