"""What Transform makes of journeys: which features are columns of which input of the network, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow_transform as tft

from modules.errors import DataError
from modules.features import Feature, Kind
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset
from modules.recommendation import clock
from modules.recommendation.layout import ACTION, FIRST_WORD, Codes, Layout
from modules.recommendation.numbers import number_names
from modules.recommendation.settings import RecommendationSettings
from modules.transform_config import ComponentConfig
from modules.vocabulary import VocabularySpec, read_vocabularies

EVENT_CODES = "event_codes"
EVENT_NUMBERS = "event_numbers"
LEAD_CODES = "lead_codes"
LEAD_NUMBERS = "lead_numbers"
LENGTH = "length"
START = "start"
"""Outputs of Transform beside those that keep the names of modules/journeys/names.py."""


class JourneyTransformConfig(ComponentConfig):
    """Journeys and settings; together with the learned vocabularies they decide the layout."""

    dataset: JourneyDataset
    model: RecommendationSettings = RecommendationSettings()

    @property
    def length(self) -> int:
        """Most events of a history, L."""
        return self.dataset.history.length

    @property
    def clock_columns(self) -> tuple[int, ...]:
        """Which of `clock.COLUMNS` the network sees, ascending."""
        return tuple(i for i, column in enumerate(clock.COLUMNS) if column.name in self.model.clock)

    def event_features(self, kind: Kind) -> tuple[Feature, ...]:
        """Attributes of events of a kind, named as their lists in tf.Examples."""
        found = (f for f in self.dataset.events.features if f.kind is kind)
        return tuple(f.model_copy(update={"name": names.history(f.name)}) for f in found)

    def lead_features(self, kind: Kind) -> tuple[Feature, ...]:
        """Features of the lead of a kind."""
        return tuple(f for f in self.dataset.features if f.kind is kind)

    def text_words(self, feature: Feature) -> int:
        """Words of a text that are kept."""
        return min(feature.top_k, self.model.text_words)

    def vocabularies(self) -> tuple[VocabularySpec, ...]:
        """Actions, attributes of events, categorical features of the lead, texts; in this order."""
        action = next(f for f in self.dataset.feature_columns if f.name == names.HISTORY_ACTION)
        categorical = (*self.event_features(Kind.CATEGORICAL), *self.lead_features(Kind.CATEGORICAL))
        return (
            VocabularySpec(ACTION, action.top_k, action.min_count),
            *(VocabularySpec(f.name, f.top_k, f.min_count) for f in categorical),
            *(VocabularySpec(f.name, self.text_words(f), f.min_count) for f in self.texts),
        )

    @property
    def texts(self) -> tuple[Feature, ...]:
        """Texts of which words are kept."""
        return tuple(f for f in self.lead_features(Kind.TEXT) if self.text_words(f))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Numeric features: attributes of events, then the lead's."""
        return tuple(f.name for f in self.numeric)

    @property
    def numeric(self) -> tuple[Feature, ...]:
        """Rows of `numbers`."""
        return (*self.event_features(Kind.NUMERIC), *self.lead_features(Kind.NUMERIC))


def layout(config: JourneyTransformConfig, transform_output: tft.TFTransformOutput) -> Layout:
    """The columns of the network's inputs as a Transform graph fills them.

    Raises:
      DataError: the training part holds no action.
    """
    specs = config.vocabularies()
    return layout_of(config, read_vocabularies(transform_output, [spec.name for spec in specs]))


def layout_of(config: JourneyTransformConfig, vocabularies: Mapping[str, Sequence[str]]) -> Layout:
    """As `layout`, from the learned words by name of the vocabulary.

    Raises:
      DataError: no action was learned.
    """
    if not vocabularies[ACTION]:
        raise DataError(
            f"no action was found in the training part of {config.dataset.name!r}: at least one value of "
            f"{config.dataset.events.action!r} is expected. Check the events' action column and the split."
        )
    events = (f.name for f in config.event_features(Kind.CATEGORICAL))
    leads = (f.name for f in config.lead_features(Kind.CATEGORICAL))

    def codes(name: str) -> Codes:
        # An empty vocabulary is a file with a placeholder word, which has a code too.
        return Codes(name=name, size=FIRST_WORD + max(1, len(vocabularies[name])))

    words = [f"{feature.name}:{word}" for feature in config.texts for word in _padded(feature, vocabularies, config)]
    return Layout(
        length=config.length,
        actions=tuple(vocabularies[ACTION]),
        event_codes=(codes(ACTION), *map(codes, events), *(clock.COLUMNS[i] for i in config.clock_columns)),
        event_numbers=number_names(config.event_features(Kind.NUMERIC)),
        lead_codes=tuple(map(codes, leads)),
        lead_numbers=(*number_names(config.lead_features(Kind.NUMERIC)), *words),
    )


def _padded(
    feature: Feature, vocabularies: Mapping[str, Sequence[str]], config: JourneyTransformConfig
) -> tuple[str, ...]:
    # The width of Transform's output is fixed before words are learned; columns without a word are always 0.
    words = tuple(vocabularies[feature.name])
    return words + tuple(f"#{i}" for i in range(len(words), config.text_words(feature)))
