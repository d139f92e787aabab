"""What figures draw: the numbers they were given, in places a person can check."""

from __future__ import annotations

import numpy as np
import pytest

from modules.convergence import Training
from modules.explanation.report import FeatureImportance, FeatureSample, Worsening
from modules.reporting import formats
from modules.reporting.confusion import Confusion, ThresholdTable
from modules.reporting.document import Bars
from modules.reporting.figures import binary, comparison, importance, training, tuning
from modules.reporting.figures.graph import Node, layers, reduced
from modules.reporting.intervals import Interval
from modules.reporting.score_bins import ScoreBins
from modules.reporting.sparkline import sparkline
from modules.tuning.report import TrialReport, TuningReport
from modules.tuning.settings import Parameter


def test_the_step_in_use_stands_in_the_loss_curve_under_the_number_people_know():
    curves = {"train": {"logloss": (0.6, 0.5, 0.4)}, "validation": {"logloss": (0.7, 0.55, 0.6)}}
    one = Training(
        name="booster", unit="round", curves=curves, loss="logloss", watched="logloss", steps=9, used=2, first=11
    )
    train, validation, used = training.loss_curve(one, "logloss").data
    assert list(train.x) == [11, 12, 13] and list(validation.y) == [0.7, 0.55, 0.6]
    assert list(used.x) == [12, 12] and list(used.y) == [0.4, 0.7]
    assert training.metrics_of(one) == ["logloss"]


def test_the_threshold_in_use_is_a_point_of_the_curves():
    bins = ScoreBins(np.array([0.1, 0.6]), np.array([1.0, 3.0]), np.array([5.0, 1.0]), np.array([0.6, 2.4]))
    scored = {"candidate": binary.Scored(bins, Confusion(3, 1, 5, 1))}
    curve, point, _ = binary.roc(scored, 0.5).data
    np.testing.assert_allclose(curve.x, [0, 1 / 6, 1])
    np.testing.assert_allclose(curve.y, [0, 3 / 4, 1])
    assert (point.x[0], point.y[0]) == pytest.approx((1 / 6, 3 / 4))
    _, point, _, perfect = binary.gains(scored).data
    assert (point.x[0], point.y[0]) == pytest.approx((0.4, 0.75))
    assert list(perfect.x) == [0, 0.4, 1]


def test_rates_by_threshold_by_hand():
    table = ThresholdTable((0.0, 0.5), (Confusion(4, 6, 0, 0), Confusion(3, 1, 5, 1)))
    precision, recall, f1, selected, _ = binary.by_threshold(table, 0.5).data
    np.testing.assert_allclose(precision.y, [0.4, 0.75])
    np.testing.assert_allclose(recall.y, [1, 0.75])
    np.testing.assert_allclose(f1.y, [8 / 14, 6 / 8])
    np.testing.assert_allclose(selected.y, [1, 0.4])


def test_dots_carry_their_intervals_and_equal_names_stay_apart():
    values = [Interval(0.5, 0.4, 0.7), Interval(0.2)]
    (trace,) = comparison.dots(["a", "a"], {"auc": ("#000", values)}, "auc").data
    np.testing.assert_allclose(trace.error_x.array, [0.2, 0])
    np.testing.assert_allclose(trace.error_x.arrayminus, [0.1, 0])
    assert list(trace.customdata) == ["a", "a (2)"]


def test_importances_come_largest_first_and_leave_out_what_does_nothing():
    features = [
        FeatureImportance(name=n, permutation={"auc": Worsening(mean=m, deviation=d)}, gain_share=m)
        for n, m, d in (("a", 0.1, 0.01), ("b", 0.3, 0.02), ("c", 0.0, 0.0))
    ]
    (trace,) = importance.permutation(features, "auc").data
    assert list(trace.customdata) == ["b", "a"] and list(trace.x) == [0.3, 0.1]
    assert list(trace.error_x.array) == [0.02, 0.01]
    assert list(importance.gain(features).data[0].customdata) == ["b", "a"]


def test_the_beeswarm_colours_numbers_by_rank_and_leaves_words_grey():
    numbers = FeatureSample(feature="n", values=(10.0, 1000.0, 20.0, None), contributions=(-0.5, 0.5, 0.1, 0.2))
    words = FeatureSample(feature="w", values=("x", "y", "x", "y"), contributions=(0.1, 0.1, 0.1, 0.1))
    grey, coloured = importance.beeswarm([words, numbers]).data
    assert list(coloured.x) == [-0.5, 0.5, 0.1] and list(coloured.marker.color) == [0, 1, 0.5]
    assert sorted(grey.x) == [0.1, 0.1, 0.1, 0.1, 0.2]
    assert np.abs(np.asarray(coloured.y)).max() < 0.5  # the stronger feature is on top


def test_trials_cross_the_axes_where_their_settings_lie():
    space = {"learning_rate": Parameter(low=0.01, high=1, log=True), "kind": Parameter(choices=("a", "b"))}
    trials = tuple(
        TrialReport(number=i, state="complete", parameters={"learning_rate": r, "kind": k}, scores=(s,), score=s)
        for i, (r, k, s) in enumerate(((0.01, "a", 0.6), (0.1, "b", 0.8), (1.0, "a", 0.7)))
    )
    report = TuningReport(
        model="lead_scoring", objective="auc", direction="maximize", validation="3 folds", folds=1, sampler="tpe",
        pruner="none", seed=0, workers=1, space=space, planned=3, trials=trials, best=1,
    )  # fmt: skip
    lines = {trace.name: trace for trace in tuning.parallel(report).data}
    np.testing.assert_allclose(lines["trial 1"].y, [0.5, 1, 1])
    np.testing.assert_allclose(lines["trial 2"].y, [1, 0, 0.5])
    assert lines["trial 1"].line.width > lines["trial 2"].line.width
    assert list(tuning.history(report).data[-1].y) == [0.6, 0.8, 0.8]


def test_a_graph_has_layers_and_only_edges_that_no_longer_way_implies():
    nodes = [Node(1, "a", "", ()), Node(2, "b", "", (1,)), Node(3, "c", "", (1, 2)), Node(4, "d", "", (9,))]
    assert layers(nodes) == {1: 0, 2: 1, 3: 2, 4: 0}
    assert reduced(nodes) == [(1, 2), (2, 3)]


def test_small_drawings_scale_to_their_highest_bar():
    first, second = sparkline(Bars({"train": (0.5, 0.25), "test": (0.0, 0.5)}, ("0 to 1", "1 to 2"), "histogram of n"))
    assert first.path == "M0 33.0V1.0H80.0V17.0H160.0V33.0z" and (first.series, second.series) == (0, 1)
    assert second.path == "M0 33.0V33.0H80.0V1.0H160.0"
    words = sparkline(Bars({"train": (0.5,), "test": (0.25,)}, ("portal",), "most frequent values of source"))
    assert [w.title for w in words] == ["portal: 50.0 % of the train part", "portal: 25.0 % of the test part"]


def test_names_for_plots_are_short_and_hold_no_markup():
    assert formats.name("<b>a</b> & b") == "&lt;b&gt;a&lt;/b&gt; &amp; b"
    assert formats.name("x" * 50) == "x" * 39 + "…"


def test_numbers_read_as_people_write_them():
    assert (formats.number(2170.0), formats.number(0.84241), formats.number(float("nan"))) == ("2,170", "0.8424", "–")
    assert (formats.short(1771234.0), formats.short(0.00001), formats.short(86400)) == (
        "1,771,234",
        "1.00e-05",
        "86,400",
    )
    assert formats.percent_interval(Interval(0.5, 0.25, 0.75)) == "50.0\N{NO-BREAK SPACE}% (25.0 to 75.0)"
    assert formats.metric("auc_precision_recall") == "AUC precision recall"
    assert (formats.seconds(3.21), formats.seconds(125), formats.seconds(7300)) == ("3.2 s", "2 min 5 s", "2 h 1 min")
