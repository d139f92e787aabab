"""A batch of raw rows as encoders and the analysis pass see it, so that what is learned is what is encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import tensorflow as tf

from modules.analysis import VOCABULARY_FILES, Analyzer
from modules.encoding.crosses import joined
from modules.encoding.inputs import dense_column
from modules.encoding.ratios import quotients
from modules.encoding.tokens import ngrams, tokenize
from modules.features import Feature, Kind
from modules.transform_config import TransformConfig

NAN = float("nan")

T = TypeVar("T")

Words: TypeAlias = Mapping[str, Sequence[str]]
"""The learned words by name of the vocabulary, most frequent first."""


class Batch:
    """A batch of n raw rows; what several encoders need is computed once.

    Args:
      inputs: raw features by name, dense [n] or [n, 1], or sparse with at most one value per row.
      config: dataset and settings.
      learned: what the analysis pass learned, by key and name; with the paths of vocabularies under
        VOCABULARY_FILES. Empty while learning.
    """

    def __init__(
        self, inputs: Mapping[str, Any], config: TransformConfig, learned: Mapping[str, Any] | None = None
    ) -> None:
        self.inputs = inputs
        self.config = config
        self.learned: Mapping[str, Any] = learned or {}
        self._strings: dict[str, tf.Tensor] = {}
        self._tokens: dict[str, tf.RaggedTensor] = {}
        self._made: dict[str, Any] = {}

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns, made for this batch the first time that the key is asked for."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def vocabulary(self, row: Feature) -> Any:
        """Path of the row's vocabulary file."""
        return self.learned[VOCABULARY_FILES][row.name]

    def strings(self, row: Feature) -> tf.Tensor:
        """Values of a categorical, text, date or cross row: string [n, 1], missing is ''."""
        if row.name not in self._strings:
            if row.kind is Kind.CROSS:
                first, second = (self._raw_strings(name) for name in row.of)
                self._strings[row.name] = joined(first, second)
            else:
                self._raw_strings(row.name)
        return self._strings[row.name]

    def _raw_strings(self, name: str) -> tf.Tensor:
        if name not in self._strings:
            self._strings[name] = dense_column(self.inputs[name], "")
        return self._strings[name]

    def tokens(self, row: Feature) -> tf.RaggedTensor:
        """Words of a text row: ragged string [n, (words)], in order, repetitions kept."""
        if row.name not in self._tokens:
            self._tokens[row.name] = tokenize(tf.squeeze(self.strings(row), 1))
        return self._tokens[row.name]

    def words(self, row: Feature) -> tf.RaggedTensor:
        """Words and n-grams of a text row, of 1 to `row.ngrams` words each: ragged string [n, (words)]."""
        return ngrams(self.tokens(row), row.ngrams)

    def numbers(self, rows: Sequence[Feature]) -> tf.Tensor:
        """Values of numeric rows and, behind them, of ratio rows: float32 [n, rows]; missing and infinite are NaN."""
        ratios = [row for row in rows if row.kind is Kind.RATIO]
        names = [row.name for row in rows if row.kind is Kind.NUMERIC]
        wanted = list(dict.fromkeys([*names, *(name for row in ratios for name in row.of)]))
        values = tf.concat([dense_column(self.inputs[name], NAN) for name in wanted], axis=1)
        values = tf.where(tf.math.is_finite(values), values, NAN)
        if not ratios:
            return values
        of = [[wanted.index(name) for name in row.of] for row in ratios]
        made = quotients(*(tf.gather(values, [pair[i] for pair in of], axis=1) for i in (0, 1)))
        return tf.concat([values[:, : len(names)], made], axis=1)


@dataclass(frozen=True)
class Learning:
    """Something that the analysis pass learns for a family.

    Attributes:
      analyzer: what is learned.
      columns: the tensors that the analyzer reduces, from a batch.
      reads: names of the features of raw tf.Examples that `columns` looks at.
    """

    analyzer: Analyzer
    columns: Callable[[Batch], Sequence[Any]]
    reads: tuple[str, ...]
