"""GetModelMetadata: the signatures of a version.

Reference: tensorflow_serving/servables/tensorflow/get_model_metadata_impl.cc.
"""

from __future__ import annotations

from modules.native.protos import get_model_metadata_pb2
from serving.errors import invalid
from serving.servable import Servable

SIGNATURE_DEF = "signature_def"


def check(request: get_model_metadata_pb2.GetModelMetadataRequest) -> None:
    """What can be wrong with a request before the model is looked up.

    Raises:
      ServingError: INVALID_ARGUMENT, no field asked for, or another than `signature_def`.
    """
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid(f"Metadata field {field} is not supported")


def respond(
    servable: Servable, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """All signatures, as a SignatureDefMap in an Any under `signature_def`.

    Raises:
      ServingError: as `check`.
    """
    check(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.id.name
    response.model_spec.version.value = servable.id.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response
