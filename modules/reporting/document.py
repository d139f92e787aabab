"""What a report is made of: sections of blocks, all of them plain data. The template draws them.

Texts are escaped when they are drawn; nothing here holds markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Tone = Literal["good", "bad", "warn", "plain"]


@dataclass(frozen=True)
class Paragraph:
    """A sentence or a few. `tone` colours a verdict."""

    text: str
    tone: Tone = "plain"
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True)
class Missing:
    """Why a part of the report is not there, and what to set to get it."""

    text: str
    kind: Literal["missing"] = "missing"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: Literal["heading"] = "heading"


@dataclass(frozen=True)
class Items:
    """A list of short lines."""

    items: tuple[str, ...]
    kind: Literal["items"] = "items"


@dataclass(frozen=True)
class Card:
    """One figure of a summary: its name, the figure, and a line below it."""

    title: str
    value: str
    note: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True)
class Cards:
    """Cards in a row."""

    cards: tuple[Card, ...]
    kind: Literal["cards"] = "cards"


@dataclass(frozen=True)
class Bars:
    """A small drawing inside a table: shares of two parts of the data, bin by bin.

    Attributes:
      series: name of the part -> share by bin, 0-1.
      labels: what the bins are called, for screen readers and tooltips.
      caption: what it shows, in words.
    """

    series: dict[str, tuple[float, ...]]
    labels: tuple[str, ...]
    caption: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than text."""

    text: str = ""
    note: str = ""
    tone: Tone = "plain"
    bars: Bars | None = None


CellValue: TypeAlias = str | Cell


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      columns: headings.
      rows: one cell per column each.
      caption: what it shows, in a sentence.
      numeric: indices of columns to align right.
      folded: drawn closed, under its caption; for long tables.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[CellValue, ...], ...]
    caption: str = ""
    numeric: tuple[int, ...] = ()
    folded: bool = False
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Plot:
    """A plotly figure.

    Attributes:
      name: unique in the document; part of its element's id.
      figure: plotly.graph_objects.Figure.
      caption: what it shows and how to read it, in a sentence or two; also the text for those who do not see it.
      wide: takes the whole width.
    """

    name: str
    figure: Any
    caption: str
    wide: bool = False
    kind: Literal["plot"] = "plot"


@dataclass(frozen=True)
class Explorer:
    """Confusion matrices by threshold behind a slider.

    Attributes:
      thresholds: ascending.
      counts: per threshold: true positives, false positives, true negatives, false negatives.
      chosen: index of the threshold in use.
      caption: what it shows.
    """

    thresholds: tuple[float, ...]
    counts: tuple[tuple[float, float, float, float], ...]
    chosen: int
    caption: str
    kind: Literal["explorer"] = "explorer"


Block: TypeAlias = Paragraph | Missing | Heading | Items | Cards | Table | Plot | Explorer


@dataclass(frozen=True)
class Section:
    """A part of the report with an anchor of its own."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    facts: dict[str, str] = field(default_factory=dict)

    def plots(self) -> list[Plot]:
        """All plots, in order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Plot)]
