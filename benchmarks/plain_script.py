"""What a data scientist would write first: pandas, XGBoost, a handful of metrics. Usage: plain_script.py TABLE."""

from __future__ import annotations

import re
import sys
from collections import Counter

import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn import metrics

from benchmarks.pipeline import MODEL

WORDS = 100


def main(path: str) -> dict[str, float]:
    """Reads, encodes, fits and evaluates; returns the metrics of the test part."""
    table = pd.read_csv(path)
    label = table.pop("converted").to_numpy()
    table = table.drop(columns="lead_id")
    rng = np.random.default_rng(0)
    part = rng.random(len(table))
    test, calibration = part < 0.2, (part >= 0.2) & (part < 0.35)
    validation = ~test & ~calibration & (rng.random(len(table)) < 0.2)
    train = ~test & ~calibration & ~validation
    words = [re.findall(r"\w+", text.lower()) for text in table.pop("enquiry").fillna("")]
    counts = Counter(w for i in np.flatnonzero(train) for w in words[i])
    index = {word: i for i, (word, _) in enumerate(counts.most_common(WORDS))}
    bag = np.zeros((len(table), len(index)), np.float32)
    for i, found in enumerate(words):
        for word in found:
            if word in index:
                bag[i, index[word]] = 1
    columns = []
    for name in table:
        values = table[name]
        if values.dtype == object:
            order = values[train].value_counts().index
            values = values.map({v: i for i, v in enumerate(order)})
        columns.append(values.to_numpy(np.float32))
    features = np.hstack([np.column_stack(columns), bag])
    fit = xgb.QuantileDMatrix(features[train], label[train])
    stop = xgb.QuantileDMatrix(features[validation], label[validation], ref=fit)
    booster = xgb.train(
        {"objective": "binary:logistic", "max_depth": 6, "learning_rate": MODEL["learning_rate"], "seed": 0},
        fit,
        int(MODEL["num_rounds"]),
        evals=[(stop, "validation")],
        early_stopping_rounds=int(MODEL["early_stopping_rounds"]),
        verbose_eval=False,
    )
    p = booster.inplace_predict(features[test])
    y = label[test]
    return {
        "auc": metrics.roc_auc_score(y, p),
        "auc_precision_recall": metrics.average_precision_score(y, p),
        "log_loss": metrics.log_loss(y, p),
        "accuracy": metrics.accuracy_score(y, p > 0.5),
        "precision": metrics.precision_score(y, p > 0.5, zero_division=0.0),
        "recall": metrics.recall_score(y, p > 0.5),
        "f1_score": metrics.f1_score(y, p > 0.5),
    }


if __name__ == "__main__":
    print(main(sys.argv[1]))
