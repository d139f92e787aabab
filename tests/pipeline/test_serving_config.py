"""The real server's configuration: one source, committed files that agree with it, and a server that accepts them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

from modules.errors import ConfigError
from pipeline.config import InfraSettings
from pipeline.serving_config import (
    FOLDER,
    MODELS,
    SOURCE,
    Batching,
    ServingConfig,
    batching_text,
    load_serving_config,
    models_text,
    render,
    write,
)
from pipeline.serving_manifests import CONFIG_DIR, METRICS_PATH, NAME, health_command
from serving import flags
from serving.batching import parameters
from serving.client import Client
from tests.pipeline.command import aiqleads
from tests.serving.client_models import lead_model, recommendation_model
from tests.serving.running import serve

# tensorflow_serving/model_servers/main.cc, flag_list.
_FLAG_NAMES = """
    port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms rest_api_enable_cors_support
    enable_batching allow_version_labels_for_unavailable_models batching_parameters_file
    enable_per_model_batching_parameters model_config_file model_config_file_poll_wait_seconds model_name
    model_base_path num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros
    file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
    tensorflow_session_config_file tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism
    use_alts_credentials ssl_config_file platform_config_file per_process_gpu_memory_fraction saved_model_tags
    grpc_channel_arguments grpc_max_threads enable_model_warmup num_request_iterations_for_warmup version
    monitoring_config_file remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
    num_tflite_interpreters_per_pool enable_signature_method_name_check xla_cpu_compilation_enabled
    xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file mixed_precision skip_initialize_tpu
    enable_grpc_healthcheck_service enable_serialization_as_tensor_content
"""
UPSTREAM_FLAGS = frozenset(_FLAG_NAMES.split())


@pytest.fixture(scope="module")
def config() -> ServingConfig:
    return load_serving_config(FOLDER / SOURCE)


def manifests(config: ServingConfig) -> dict[str, dict]:
    return {part["kind"]: part for part in yaml.safe_load_all(render(config)["kubernetes.yaml"])}


def container(config: ServingConfig) -> dict:
    (only,) = manifests(config)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return only


def test_the_committed_files_are_the_generated_ones(config: ServingConfig) -> None:
    found = {p.name: p.read_text() for p in FOLDER.iterdir() if p.name != SOURCE}
    assert found == render(config)
    done = aiqleads("serving-config", "--check")
    assert done.code == 0, done.output


def test_a_file_that_was_edited_by_hand_is_found(tmp_path: Path, config: ServingConfig) -> None:
    shutil.copytree(FOLDER, tmp_path / "serving")
    edited = tmp_path / "serving" / MODELS
    edited.write_text(edited.read_text().replace("num_versions: 1", "num_versions: 2"))
    done = aiqleads("serving-config", str(tmp_path / "serving" / SOURCE), "--check")
    assert done.code == 4 and "-        num_versions: 2\n" in done.output
    assert f"wrote {edited}" in aiqleads("serving-config", str(tmp_path / "serving" / SOURCE)).output
    assert "up to date" in aiqleads("serving-config", str(tmp_path / "serving" / SOURCE)).output
    assert write(config, tmp_path / "serving") == []


def test_models_that_have_not_been_pushed_can_be_left_out_for_now(tmp_path: Path) -> None:
    models, out = tmp_path / "models", tmp_path / "out"
    options = ("--out", str(out), "--set", "only_pushed=true", "--set", f"host_models_dir={models}")
    done = aiqleads("serving-config", *options)
    assert done.code == 4 and f"{models}: no version of lead-scoring, recommendation" in done.output
    for name, expected in (
        ("recommendation", ["recommendation"]),
        ("lead-scoring", ["lead-scoring", "recommendation"]),
    ):
        version = models / name / "7"
        version.mkdir(parents=True)
        (version / "saved_model.pb").write_bytes(b"")
        assert f"wrote {out / MODELS}" in aiqleads("serving-config", *options).output
        assert re.findall(r'name: "(.*)"', (out / MODELS).read_text()) == expected
        assert aiqleads("serving-config", *options, "--check").code == 0
    assert aiqleads("serving-config", "--out", str(out), "--check").code == 4, "another host_models_dir"


def test_every_flag_is_one_of_tensorflow_model_server_and_means_something_here(config: ServingConfig) -> None:
    names = {flag.removeprefix("--").partition("=")[0] for flag in config.flags}
    assert names <= UPSTREAM_FLAGS
    options, warnings = flags.parse(config.flags)
    assert warnings == []
    assert (options.port, options.rest_api_port, options.enable_batching) == (8500, 8501, True)


def test_a_server_started_with_the_generated_files_serves_and_is_healthy(tmp_path: Path) -> None:
    lead_model(tmp_path / "models" / "lead-scoring", 5)
    recommendation_model(tmp_path / "models" / "recommendation", 6)
    config = load_serving_config(FOLDER / SOURCE, {"models_dir": str(tmp_path / "models")})
    write(config, tmp_path / "etc")
    chosen = [f.replace(CONFIG_DIR, str(tmp_path / "etc")) for f in config.flags if "port=" not in f]
    with serve(*chosen) as running:
        with Client(running.grpc_address, timeout=30) as client:
            assert client.score([{"age": 40}])[0].version == 5
        with Client(running.grpc_address, model="recommendation", timeout=30) as client:
            assert client.recommend([{}])[0].version == 6
        here = config.model_copy(update={"rest_port": running.rest})
        assert subprocess.run(health_command(here), check=False).returncode == 0
        absent = here.model_copy(update={"models": (config.models[0].model_copy(update={"name": "nothing"}),)})
        assert subprocess.run(health_command(absent), check=False).returncode == 1
        probes = container(config)
        for probe in ("startupProbe", "readinessProbe"):
            with urllib.request.urlopen(running.url + probes[probe]["httpGet"]["path"]) as response:
                assert response.status == 200 and json.load(response)
        with urllib.request.urlopen(running.url + METRICS_PATH) as response:
            assert b":tensorflow:serving:request_count" in response.read()
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        with grpc.insecure_channel(running.grpc_address) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_what_the_client_sends_at_once_fits_into_a_batch(config: ServingConfig) -> None:
    with Client() as client:
        assert client.max_batch <= config.batching.max_batch_size


def test_the_image_is_the_one_that_candidates_are_checked_with(config: ServingConfig) -> None:
    assert config.image == f"tensorflow/serving:{InfraSettings().image_tag}"


def test_versions_and_labels_become_a_policy() -> None:
    config = ServingConfig.model_validate(
        {
            "image": "x",
            "models": [
                {"name": "a", "latest": 2},
                {"name": "b", "specific": [3, 4], "labels": {"stable": 3, "canary": 4}},
            ],
        }
    )
    text = " ".join(models_text(config).split())
    assert (
        'base_path: "/models/a" model_platform: "tensorflow" model_version_policy { latest { num_versions: 2 } }'
        in text
    )
    assert "specific { versions: 3 versions: 4 }" in text
    assert 'version_labels { key: "canary" value: 4 } version_labels { key: "stable" value: 3 }' in text


def test_batching_parameters_say_what_the_source_says(tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    path.write_text(batching_text(Batching(max_batch_size=64, batch_timeout_micros=7, allowed_batch_sizes=(8, 64))))
    read = parameters.read(path)
    assert (read.max_batch_size, read.allowed_batch_sizes) == (64, (8, 64))
    assert read.batch_timeout_micros == 7


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"modls": []}, "did you mean 'models'?"),
        ({"models": [{"name": "a", "labels": {"stable": 3}}]}, "label 'stable' names version 3, which `specific`"),
        ({"models": [{"name": "a"}, {"name": "a"}]}, "model 'a' is listed twice"),
        ({"batching.allowed_batch_sizes": [8, 64]}, "must ascend and end with max_batch_size 1024"),
        ({"kubernetes.replicas": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_the_server_would_refuse_are_refused_here(setting: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_serving_config(FOLDER / SOURCE, setting)
    assert message in " ".join([str(caught.value), *caught.value.details])


def test_containers_have_no_rights_and_read_the_models_only(config: ServingConfig) -> None:
    pod = manifests(config)["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert container(config)["securityContext"]["readOnlyRootFilesystem"]
    mounts = {m["name"]: m.get("readOnly", False) for m in container(config)["volumeMounts"]}
    assert mounts == {"models": True, "config": True, "tmp": False}
    service = yaml.safe_load(render(config)["compose.yaml"])["services"][NAME]
    assert service["read_only"] and service["user"] == "65532:65532" and service["cap_drop"] == ["ALL"]
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_a_pod_leaves_the_service_before_it_is_told_to_end(config: ServingConfig) -> None:
    pod = manifests(config)["Deployment"]["spec"]["template"]["spec"]
    command, seconds = container(config)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep" and int(seconds) >= container(config)["readinessProbe"]["periodSeconds"]
    assert pod["terminationGracePeriodSeconds"] > int(seconds)


def test_deployment_service_and_configuration_belong_together(config: ServingConfig) -> None:
    parts = manifests(config)
    spec = parts["Deployment"]["spec"]
    assert parts["Service"]["spec"]["selector"] == spec["selector"]["matchLabels"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    files = set(parts["ConfigMap"]["data"])
    named = {f.rpartition("/")[2] for f in container(config)["args"] if CONFIG_DIR in f}
    assert named == files
