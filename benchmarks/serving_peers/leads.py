"""The pushed model under test, and leads of its test part as every server wants to be asked about them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PROJECT = Path(__file__).resolve().parent.parent.parent
MODEL = "lead-scoring"


@dataclass(frozen=True)
class Leads:
    """Leads and what to expect for them, computed by XGBoost itself.

    Attributes:
      records: serialized raw tf.Examples.
      rows: float32 [n, columns], the same after Transform: what the booster was trained on.
      probability: float32 [n], calibrated: what the pushed model should answer.
      booster_probability: float32 [n], 0-1: the booster's own, without calibration.
    """

    records: list[bytes]
    rows: NDArray[np.float32]
    probability: NDArray[np.float32]
    booster_probability: NDArray[np.float32]


def find_version(root: Path) -> Path | None:
    """The newest pushed version under a pipeline root that also has the artifacts it was made from."""
    versions = sorted((root / "serving" / MODEL).glob("[0-9]*"), key=lambda path: int(path.name))
    return versions[-1] if versions and _newest(root, "Transform/transform_graph") else None


def make_model(work: Path, rows: int) -> Path:
    """Runs the pipeline with its default settings on a synthetic marketplace.

    Returns:
      The pipeline root, under `work`.

    Raises:
      RuntimeError: the pipeline did not push a model.
    """
    from modules.marketplace.settings import MarketplaceSettings
    from modules.marketplace.write import write_marketplace

    write_marketplace(work / "data", MarketplaceSettings(rows=rows, seed=1))
    command = [sys.executable, "-m", "pipeline.cli", "run", str(PROJECT / "configs" / "lead_scoring.yaml")]
    command += ["--root", str(work / "root"), "--set", f"dataset.files=['{work / 'data' / 'leads.csv'}']"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pipeline run: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return work / "root"


def read_leads(root: Path, version: Path, count: int) -> Leads:
    """Leads of the test part, and what XGBoost and the version's calibration say about them.

    Args:
      root: pipeline root that pushed the version.
      version: directory of the pushed model.
      count: how many leads at most.
    """
    import tensorflow_transform as tft
    import xgboost

    from modules.lead_scoring.calibration import Calibration
    from modules.lead_scoring.manifest import BOOSTER, CALIBRATION, Manifest
    from modules.manifest import EXTRA
    from modules.transform_batches import TransformedBatches, files_of, record_dataset
    from modules.transform_features import FEATURES

    graph = _newest(root, "Transform/transform_graph")
    examples = _newest(root, "ColumnarExampleGen/examples")
    assert graph is not None and examples is not None
    files = files_of([str(examples / "Split-test" / "*")])
    records = next(iter(record_dataset(files, count).as_numpy_iterator()))
    batches = TransformedBatches(files, tft.TFTransformOutput(str(graph)), [FEATURES], rows=count)
    positions = [column.position for column in Manifest.load(version).columns]
    rows = np.ascontiguousarray(batches.transform(records)[FEATURES].numpy()[:, positions])
    booster = xgboost.Booster(model_file=str(version / EXTRA / BOOSTER))
    margins = booster.inplace_predict(rows, predict_type="margin")
    calibration = Calibration.from_json((version / EXTRA / CALIBRATION).read_text())
    return Leads(list(records), rows, calibration(margins)["probability"], booster.inplace_predict(rows))


def predict_requests(leads: Leads) -> list[bytes]:
    """Serialized PredictRequests of one lead each, for `serving_default`."""
    from modules.native.protos import predict_pb2

    requests = []
    for record in leads.records:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = MODEL
        examples = request.inputs["examples"]
        examples.dtype = 7  # DT_STRING
        examples.tensor_shape.dim.add(size=1)
        examples.string_val.append(record)
        requests.append(request.SerializeToString())
    return requests


def rest_requests(leads: Leads) -> list[bytes]:
    """HTTP requests of one lead each, for `serving_default` in row format."""
    requests = []
    for record in leads.records:
        body = json.dumps({"instances": [{"b64": base64.b64encode(record).decode()}]}).encode()
        head = (
            f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def _newest(root: Path, kind: str) -> Path | None:
    found = [p for p in (root / "artifacts").glob(f"*/{kind}/*") if p.name.isdigit()]
    return max(found, key=lambda path: int(path.name), default=None)
