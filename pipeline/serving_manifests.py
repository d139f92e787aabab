"""The server in containers: compose.yaml for one machine, kubernetes.yaml for a cluster.

Stock image only: its bash instead of curl, httpGet and grpc probes. Kubernetes 1.27 or later for the latter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pipeline.serving_config import ServingConfig

CONFIG_DIR = "/etc/serving"
METRICS_PATH = "/monitoring/prometheus/metrics"
SERVER = "/usr/bin/tensorflow_model_server"
USER = 65532
"""A user without a name, home or rights."""
NAME = "model-server"


def compose(config: ServingConfig) -> dict[str, Any]:
    """One server for one machine, on loopback."""
    return {
        "services": {
            NAME: {
                "image": config.image,
                # The image's own entry point is a shell that stays in front of the server and keeps its signals.
                "entrypoint": [SERVER],
                "command": list(config.flags),
                "ports": [f"127.0.0.1:{port}:{port}" for port in (config.grpc_port, config.rest_port)],
                "volumes": [f"{config.host_models_dir}:{config.models_dir}:ro", f".:{CONFIG_DIR}:ro"],
                "user": f"{USER}:{USER}",
                "read_only": True,
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "tmpfs": ["/tmp"],
                "healthcheck": {
                    "test": ["CMD", *health_command(config)],
                    "interval": "10s",
                    "timeout": "3s",
                    "start_period": f"{config.kubernetes.start_seconds}s",
                    "start_interval": "2s",
                },
                "restart": "unless-stopped",
            }
        }
    }


def health_command(config: ServingConfig) -> list[str]:
    """Asks for the first model's status with what the image has: bash, no curl."""
    request = rf"GET /v1/models/{config.models[0].name} HTTP/1.0\r\n\r\n"
    script = f"exec 3<>/dev/tcp/127.0.0.1/{config.rest_port} && printf '{request}' >&3 && grep -q AVAILABLE <&3"
    return ["bash", "-c", script]


def kubernetes(config: ServingConfig, texts: Mapping[str, str]) -> Sequence[dict[str, Any]]:
    """ConfigMap with `texts`, Deployment, Service."""
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "aiqleads"}
    metadata = {"name": NAME, "labels": labels}
    k = config.kubernetes
    status = f"/v1/models/{config.models[0].name}"
    container = {
        "name": NAME,
        "image": config.image,
        "command": [SERVER],
        "args": list(config.flags),
        "ports": [
            {"name": "grpc", "containerPort": config.grpc_port},
            {"name": "rest", "containerPort": config.rest_port},
        ],
        "resources": {
            "requests": {"cpu": k.cpu, "memory": k.memory},
            "limits": {"memory": k.memory},
        },
        # The server opens its ports once every model has loaded and warmed up.
        "startupProbe": {
            "httpGet": {"path": status, "port": "rest"},
            "periodSeconds": 2,
            "failureThreshold": -(-k.start_seconds // 2),
        },
        # Metadata comes from a loaded version only; the plain status also answers while none is.
        "readinessProbe": {
            "httpGet": {"path": f"{status}/metadata", "port": "rest"},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
        },
        "livenessProbe": {
            "grpc": {"port": config.grpc_port},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(k.drain_seconds)]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "models", "mountPath": config.models_dir, "readOnly": True},
            {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": k.drain_seconds + 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": k.claim, "readOnly": True}},
            {"name": "config", "configMap": {"name": NAME}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(config.rest_port),
        "prometheus.io/path": METRICS_PATH,
    }
    deployment = {
        "replicas": k.replicas,
        "selector": {"matchLabels": dict(labels)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": dict(labels), "annotations": annotations}, "spec": pod},
    }
    service = {
        # gRPC keeps its connections: without one address per pod a client would stay with one of them.
        "clusterIP": "None",
        "selector": dict(labels),
        "ports": [
            {"name": "grpc", "port": config.grpc_port, "targetPort": "grpc", "appProtocol": "grpc"},
            {"name": "rest", "port": config.rest_port, "targetPort": "rest", "appProtocol": "http"},
        ],
    }
    return (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(texts)},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    )


class _Dumper(yaml.SafeDumper):
    """Text of several lines stays readable, and nothing is abbreviated by anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(value: Any) -> str:
    """A document, keys in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=200)
