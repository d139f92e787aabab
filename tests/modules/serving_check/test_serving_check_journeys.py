"""The serving check on a model that reads journeys: a sound one, and ones with one fault each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from modules.journeys import names
from modules.serving_check import ranking
from modules.serving_check.requests import build_feeds, feature_names, with_words, without_features
from modules.serving_check.runner import ServingCheck
from modules.serving_check.settings import ServingCheckSettings
from modules.serving_check.signatures import read_signatures
from modules.serving_check.warmup import write_warmup
from serving.probe import probe
from tests.serving import journey_model
from tests.serving.journey_model import JourneyModel

IGNORED = ("lead_id", *names.NOT_INPUTS)
SETTINGS = ServingCheckSettings(requests=10, p99_ms=5000, ignored_features=IGNORED)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journey_model.save(tmp_path_factory.mktemp("models") / "sound")


def failures(folder: Path, model: JourneyModel, **settings: object) -> dict[str, str]:
    checked = SETTINGS.model_copy(update=settings)
    return ServingCheck(journey_model.save(folder, model), journey_model.records(), checked).run().failed


def test_a_sound_model_passes_every_check(sound: Path) -> None:
    check = ServingCheck(sound, journey_model.records(), SETTINGS).run()
    assert check.ok, check.failed
    for name in (
        "equal in TensorFlow's C library",
        "equal to what the Evaluator sees",
        "serving_default equals predict_columns",
        "predict_columns does not depend on padding",
        "predict_columns takes empty lists",
        "predict_columns answers a row without values",
        "recommends only what is allowed",
        "serving_default ranks its actions",
        "distribution:probabilities sums to one",
        f"does not read {', '.join(IGNORED)}",
    ):
        assert name in check.passed
    assert set(check.latency_ms) == {"serving_default", "predict_columns"}


def test_warm_up_requests_are_what_callers_send_and_the_server_answers_them(sound: Path, tmp_path: Path) -> None:
    check = ServingCheck(sound, journey_model.records(), SETTINGS)
    check.signatures = read_signatures(sound)
    warmup = tmp_path / "model" / "assets.extra" / "tf_serving_warmup_requests"
    write_warmup(warmup, "recommendation", check.served, check.records, (1, 7), check.names)
    asked = [
        prediction_log_pb2.PredictionLog.FromString(r).predict_log.request
        for r in tf.data.TFRecordDataset(str(warmup)).as_numpy_iterator()
    ]
    assert [r.model_spec.signature_name for r in asked] == ["predict_columns"] * 2 + ["serving_default"] * 2
    columns = {name: tf.make_ndarray(t) for name, t in asked[1].inputs.items()}
    assert set(columns) == set(journey_model.INPUTS)
    assert columns[names.HISTORY_ACTION].shape == columns["history_amount"].shape == (7, journey_model.LENGTH)
    assert columns[names.ALLOWED_ACTIONS].tolist() == [[b""]] * 7
    for record in tf.make_ndarray(asked[3].inputs["examples"]):
        assert not set(tf.train.Example.FromString(record).features.feature) & set(IGNORED)
    for part in sound.iterdir():
        if part.name != "assets.extra":
            (warmup.parent.parent / part.name).symlink_to(part)
    report = probe(warmup.parent.parent, "recommendation", requests=5)
    assert report.ok, report.failed
    assert report.answered == report.compared == 4


def test_a_model_that_reads_what_was_done_or_recommends_what_is_not_allowed_fails(tmp_path: Path) -> None:
    class Cheating(JourneyModel):
        def parse(self, examples, label=False):
            row = super().parse(examples, label=True)
            row[names.HISTORY_ACTION] = tf.concat([row[names.NEXT_ACTION][:, None], row[names.HISTORY_ACTION]], axis=1)
            for name in (names.HISTORY_TIME, "history_response", "history_amount"):
                row[name] = tf.concat([row[name][:, :1], row[name]], axis=1)
            return row

        def allowed(self, row):
            return tf.ones([tf.shape(row["age"])[0], 3], tf.bool)

    found = failures(tmp_path / "m", Cheating())
    assert "differ" in found[f"does not read {', '.join(IGNORED)}"]
    assert found["recommends only what is allowed"].startswith("actions: allowed b'', received [")


def test_an_answer_that_depends_on_padding_fails(tmp_path: Path) -> None:
    class Padded(JourneyModel):
        def last(self, row):
            events, last = super().last(row)
            width = tf.shape(row[names.HISTORY_ACTION], tf.int64)[1]
            return events + width * 0, last & (tf.range(width)[None] >= width - journey_model.LENGTH)

    found = failures(tmp_path / "m", Padded())
    assert "predict_columns does not depend on padding" in found


def test_signatures_that_rank_differently_and_shares_that_do_not_add_up_fail(tmp_path: Path) -> None:
    class Careless(JourneyModel):
        def columns(self, row):
            answer = self.answer(row)
            turned = {n: answer[n][:, ::-1] for n in ("actions", "probabilities", "priorities")}
            return {**answer, **turned}

        def shares(self, row):
            shares, conversion = super().shares(row)
            return shares * 0.9, conversion

    found = failures(tmp_path / "m", Careless())
    assert found["serving_default equals predict_columns"] == "actions: 7 of 7 rows are ranked differently"
    assert found["predict_columns ranks its actions"].startswith("next_best_action: b'call' in row 0, but the first ac")
    assert found["distribution:probabilities sums to one"] == "rows sum to 0.9 to 0.9, expected 1"


def ranked(actions: list[list[bytes]], values: list[list[float]]) -> dict[str, np.ndarray]:
    names_ = np.empty((len(actions), len(actions[0])), object)
    names_[:] = actions
    return {"actions": names_, "probabilities": np.array(values), "next_best_action": names_[:, 0]}


def test_equal_actions_may_change_places_in_a_row_but_not_in_many() -> None:
    a = ranked([[b"x", b"y", b"z"]], [[0.4, 0.4, 0.2]])
    b = ranked([[b"y", b"x", b"z"]], [[0.4, 0.4, 0.2]])
    assert ranking.difference_fault(a, b, 1e-6) is None
    c = ranked([[b"y", b"x", b"z"]], [[0.5, 0.3, 0.2]])
    assert ranking.difference_fault(a, c, 1e-6) == "probabilities: differs by 0.1, at most 1e-06 allowed"
    many = [{k: np.concatenate([v] * 10) for k, v in r.items()} for r in (a, b)]
    assert ranking.difference_fault(*many, 1e-6) == "actions: 10 of 10 rows are ranked differently"
    assert (
        ranking.difference_fault(a, ranked([[b"x", b"y"]], [[0.4, 0.4]]), 1e-6)
        == "actions: shapes (1, 3) and (1, 2) differ"
    )
    cut = ranked([[b"z", b"x", b"w"]], [[0.2, 0.4, 0.2]])
    assert ranking.difference_fault(a, cut, 1e-6) is None, "another one at the end of the best"


def test_empty_entries_stand_behind_and_hold_nothing() -> None:
    assert ranking.order_fault(ranked([[b"x", b""], [b"", b""]], [[1, 0], [0, 0]])) is None
    assert ranking.order_fault(ranked([[b"", b"x"]], [[0, 1]])) == "actions: an action behind an empty entry"
    assert ranking.order_fault(ranked([[b"x", b""]], [[1, 0.1]])) == "probabilities: not 0 where there is no action"
    assert ranking.allowed_fault(ranked([[b"x", b""]], [[0.5, 0]]), [b"x"], 1e-6) is not None


def test_lists_are_filled_up_and_words_added() -> None:
    records = without_features(journey_model.records(3), IGNORED)
    assert not feature_names(records) & set(IGNORED)
    tensors = {t.key: t for t in _signature().inputs}
    assert set(tensors) == set(journey_model.INPUTS)
    feeds = build_feeds(_signature(), with_words(records, "allowed_actions", [[b"a"], [b"a", b"b"], []]), (), padding=2)
    assert feeds["allowed_actions"].tolist() == [[b"a", b"", b"", b""], [b"a", b"b", b"", b""], [b""] * 4]
    assert feeds["history_action"].shape == (3, 4) and np.isnan(feeds["history_amount"][0]).all()


def _signature():
    from modules.serving_check.signatures import Signature, Tensor

    inputs = tuple(Tensor(n, f"{n}:0", s.dtype, tuple(s.shape.as_list())) for n, s in journey_model.INPUTS.items())
    return Signature("predict_columns", "tensorflow/serving/predict", inputs, ())
