"""From a table that nobody described to answers about its leads: propose, check, schema, run, predict, score."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import yaml

from modules.encoding.dates import date_columns
from serving.client import Client
from tests.pipeline.command import CONFIG, QUICK, Done, aiqleads
from tests.pipeline.own_leads import HEADER, write_own_leads
from tests.serving.running import Running, serve

pytestmark = pytest.mark.slow

ROWS = 3000
LAST_BIT = 1e-6
"""TensorFlow's sigmoid differs in the last bit with the size of a batch."""
SERVABLE = "lead-scoring-meine-leads-2024"
SETTINGS = [part for s in QUICK if "slices" not in s and "per_slice" not in s for part in ("--set", s)]


@dataclass(frozen=True)
class OwnRun:
    """What each command said; `folder` is where they ran."""

    folder: Path
    proposal: str
    check: Done
    schema: Done
    run: Done

    @property
    def dataset(self) -> str:
        return str(self.folder / "mine.yaml")

    @property
    def versions(self) -> Path:
        return self.folder / "build" / "serving" / SERVABLE


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRun]:
    folder = tmp_path_factory.mktemp("own")
    write_own_leads(folder / "Meine Leads 2024.csv", ROWS)
    with contextlib.chdir(folder):
        proposed = aiqleads("data", "propose", "Meine Leads 2024.csv")
        assert proposed.code == 0, proposed.output
        Path("mine.yaml").write_text(proposed.output)
        check = aiqleads("data", "check", "mine.yaml")
        schema = aiqleads("schema", CONFIG, "--dataset", "mine.yaml", "--save")
        run = aiqleads("run", CONFIG, "--dataset", "mine.yaml", *SETTINGS)
        yield OwnRun(folder, proposed.output, check, schema, run)


@pytest.fixture(scope="module")
def server(own: OwnRun) -> Iterator[Running]:
    assert own.run.code == 0, own.run.output
    with serve("--model_name=mine", f"--model_base_path={own.versions}") as running:
        yield running


@pytest.fixture(scope="module")
def predicted(own: OwnRun) -> dict[str, float]:
    """Probabilities of all leads by id, from the table itself."""
    done = aiqleads("predict", CONFIG, "--dataset", "mine.yaml", "--input", "Meine Leads 2024.csv", "--output", "out",
                    "--format", "csv")  # fmt: skip
    assert done.code == 0, done.output
    with open(own.folder / "out" / "Meine Leads 2024.csv", newline="") as file:
        return {row["Kunden-ID"]: float(row["probability"]) for row in csv.DictReader(file)}


def test_the_proposal_says_what_every_column_is(own: OwnRun) -> None:
    proposal = yaml.safe_load(own.proposal)
    assert proposal["csv"] == {"delimiter": ";", "decimal": ",", "thousands": "."}
    assert proposal["id"] == "Kunden-ID"
    assert proposal["label"] == {"column": "Gewonnen?", "positive": ["ja"], "negative": ["nein"]}
    assert proposal["time"] == {"column": "Erstellt am", "format": "%d.%m.%Y %H:%M"}
    assert {f["name"]: f["kind"] for f in proposal["features"]} == {
        "erstellt_am_date": "date", "letzter_besuch": "date", "umsatz": "numeric", "quelle_kanal": "categorical",
        "Nachricht": "text", "groesse": "numeric", "Alter": "numeric", "Gutschein": "categorical",
    }  # fmt: skip
    assert [p["column"] for p in proposal["personal_data"]] == ["E-Mail", "Telefon"]
    assert [c["column"] for c in proposal["leave_out"]] == ["", "PLZ", "Land", "leer"]
    spoken_for = {HEADER.index(c) for c in ("Kunden-ID", "Gewonnen?")}
    assert len(proposal["features"]) + 2 + 4 + len(spoken_for) == len(HEADER)


def test_the_check_finds_nothing_wrong_with_the_proposal(own: OwnRun) -> None:
    assert own.check.code == 0
    assert own.check.output == "meine_leads_2024: 8 features, 0 errors, 0 warnings\n"


def test_the_schema_knows_dates(own: OwnRun) -> None:
    assert own.schema.code == 0
    assert "  letzter_besuch    date\n" in own.schema.output
    text = (own.folder / "schema" / "meine_leads_2024" / "schema.pbtxt").read_text()
    assert text.count('string_format: "%Y-%m-%dT%H:%M:%SZ"') == 2
    assert "drift_comparator" not in text[text.index('"letzter_besuch"') : text.index('"umsatz"')]


def test_the_run_is_pushed_and_says_which_slices_went(own: OwnRun) -> None:
    assert own.run.code == 0, own.run.output
    assert "slices without features in meine_leads_2024, left out: source, device" in own.run.output


def examples(own: OwnRun) -> list[bytes]:
    """Test rows as the Evaluator reads them."""
    (folder,) = (own.folder / "build").glob("artifacts/*/ColumnarExampleGen/examples/*/Split-test")
    files = sorted(str(p) for p in folder.iterdir())
    return list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


def test_examples_rows_and_requests_get_the_same_answers(
    own: OwnRun, server: Running, predicted: dict[str, float]
) -> None:
    records = examples(own)
    ids = [tf.train.Example.FromString(r).features.feature["Kunden-ID"].bytes_list.value[0].decode() for r in records]
    expected = np.array([predicted[i] for i in ids])
    # A few leads travel as tf.Examples, many as columns; the text of their dates is the one in the table's examples.
    leads = [lead(record) for record in records]
    with Client(server.grpc_address, model="mine") as client:
        few, many = client.score(leads[:3], ignore=True), client.score(leads[:50], ignore=True)
    np.testing.assert_allclose([s.probability for s in few], expected[:3], rtol=LAST_BIT)
    np.testing.assert_allclose([s.probability for s in many], expected[:50], rtol=LAST_BIT)


def test_dates_have_the_same_bits_in_training_and_in_a_request_of_one_lead(own: OwnRun) -> None:
    records = examples(own)[:200]
    (folder,) = (own.folder / "build").glob("artifacts/*/Transform/transform_graph/*")
    output = tft.TFTransformOutput(str(folder))
    raw = output.raw_feature_spec()
    names = yaml.safe_load(own.proposal)["features"]
    spec = {feature["name"]: raw[feature["name"]] for feature in names}
    layer = output.transform_features_layer()

    def matrix(some: list[bytes]) -> np.ndarray:
        return layer(tf.io.parse_example(some, spec))["features"].numpy()

    together = matrix(records)
    alone = np.concatenate([matrix([record]) for record in records[:20]])
    assert together[:20].tobytes() == alone.tobytes()
    leads = [lead(record) for record in records]
    text = [[str(row.get(name, "")) for name in ("erstellt_am_date", "letzter_besuch")] for row in leads]
    made = date_columns(tf.constant(text), [["weekday", "month", "hour"], ["age", "weekday", "month"]], [None, 0])
    assert together[:, -11:].tobytes() == made.numpy().tobytes()
    assert np.isnan(made[:, 6]).any() and not np.isnan(made[:, 6]).all()


def lead(record: bytes) -> dict[str, str | float]:
    """A tf.Example as a request."""
    found: dict[str, str | float] = {}
    for name, feature in tf.train.Example.FromString(record).features.feature.items():
        if feature.bytes_list.value:
            found[name] = feature.bytes_list.value[0].decode()
        elif feature.float_list.value:
            found[name] = feature.float_list.value[0]
    return found


def test_score_reads_the_table_as_the_run_did(own: OwnRun, server: Running, predicted: dict[str, float]) -> None:
    done = aiqleads("score", "Meine Leads 2024.csv", "--dataset", "mine.yaml", "--model", "mine", "--format", "csv",
                    "--output", "scores.csv", "--server", server.grpc_address)  # fmt: skip
    assert done.code == 0, done.output
    with open(own.folder / "scores.csv", newline="") as file:
        found = {row["Kunden-ID"]: float(row["probability"]) for row in csv.DictReader(file)}
    assert found.keys() == predicted.keys()
    np.testing.assert_allclose(list(found.values()), [predicted[i] for i in found], rtol=LAST_BIT)


def test_dates_of_a_lead_may_be_objects_or_text_and_malformed_ones_are_missing(server: Running) -> None:
    created, seen = dt.datetime(2024, 1, 8, 10, 30), dt.date(2024, 1, 5)
    berlin = dt.timezone(dt.timedelta(hours=1))
    lead = {"umsatz": 900.0, "quelle_kanal": "Web", "Nachricht": "bitte Angebot", "groesse": 50.0, "Alter": 40.0}
    same = [
        {**lead, "erstellt_am_date": created, "letzter_besuch": seen},
        {**lead, "erstellt_am_date": "2024-01-08T10:30:00", "letzter_besuch": "2024-01-05"},
        {**lead, "erstellt_am_date": "2024-01-08 11:30+01:00", "letzter_besuch": "2024-01-05T00:00:00Z"},
        {
            **lead,
            "erstellt_am_date": created.replace(hour=11, tzinfo=berlin),
            "letzter_besuch": dt.datetime(2024, 1, 5),
        },
    ]
    missing = [
        {**lead, "erstellt_am_date": created},
        {**lead, "erstellt_am_date": created, "letzter_besuch": ""},
        {**lead, "erstellt_am_date": created, "letzter_besuch": "05.01.2024"},
        {**lead, "erstellt_am_date": created, "letzter_besuch": "2024-02-30"},
    ]
    long_ago = {**lead, "erstellt_am_date": created, "letzter_besuch": dt.date(2023, 9, 1)}
    with Client(server.grpc_address, model="mine") as client:
        one, *equal = (s.probability for s in client.score(same))
        other, *also = (s.probability for s in client.score(missing))
        late = client.score([long_ago])[0].probability
    assert equal == pytest.approx([one] * 3, rel=LAST_BIT)
    assert also == pytest.approx([other] * 3, rel=LAST_BIT)
    assert abs(one - other) > 0.01
    assert late < one / 2
