"""A client for TensorFlow Serving's gRPC API that takes leads as plain dicts. Imports no TensorFlow and no NumPy."""

from __future__ import annotations

from serving.client.answers import (
    LeadScore,
    ModelMetadata,
    RankedAction,
    Recommendation,
    Signature,
    TensorInfo,
    VersionStatus,
)
from serving.client.client import Client
from serving.client.errors import ClientError, LeadError, SettingError
from serving.client.explanations import ActionExplanation, EventReason, LeadExplanation, Reason
from serving.client.leads import Feature, Features
from serving.client.transport import Tls

__all__ = [
    "ActionExplanation",
    "Client",
    "ClientError",
    "EventReason",
    "Feature",
    "Features",
    "LeadError",
    "LeadExplanation",
    "LeadScore",
    "ModelMetadata",
    "RankedAction",
    "Reason",
    "Recommendation",
    "SettingError",
    "Signature",
    "TensorInfo",
    "Tls",
    "VersionStatus",
]
