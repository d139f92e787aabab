"""Status and metadata as protocol buffers print themselves in JSON: int64 as text, defaults shown, original names.

Reference: tensorflow_serving/model_servers/http_rest_api_util.cc (ToJsonString).
"""

from __future__ import annotations

from typing import Any

import orjson
from google.protobuf import json_format

from modules.native.protos import get_model_metadata_pb2, get_model_status_pb2
from serving.errors import Code, ServingError


def status(response: get_model_status_pb2.GetModelStatusResponse) -> bytes:
    """The body of a status request."""
    return _text(_dictionary(response))


def metadata(response: get_model_metadata_pb2.GetModelMetadataResponse) -> bytes:
    """The body of a metadata request: `model_spec` and the signatures.

    Raises:
      ServingError: INTERNAL: the response holds no signatures.
    """
    signatures = get_model_metadata_pb2.SignatureDefMap()
    if "signature_def" not in response.metadata:
        raise ServingError(
            Code.INTERNAL, "Failed to find 'signature_def' key in the GetModelMetadataResponse metadata map."
        )
    if not response.metadata["signature_def"].Unpack(signatures):
        raise ServingError(Code.INTERNAL, "Failed to unpack 'Any' object to 'SignatureDefMap'.")
    # Maps have no order of their own; sorted, the same version always prints the same.
    definitions = {
        name: {**definition, **{side: dict(sorted(definition[side].items())) for side in ("inputs", "outputs")}}
        for name, definition in sorted(_dictionary(signatures)["signature_def"].items())
    }
    return _text(
        {
            "model_spec": _dictionary(response.model_spec),
            "metadata": {"signature_def": {"signature_def": definitions}},
        }
    )


def _dictionary(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _text(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
