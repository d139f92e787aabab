"""Model card: intended use, data, limits, and fairness by slice (Mitchell et al. 2019, Model Cards for Model "
"Reporting)."""

from __future__ import annotations

from modules.reporting.document import Block, Cell, Heading, Items, Paragraph, Plot, Section, Table, Tone
from modules.reporting.fairness import RATES, GroupFairness, group_fairness
from modules.reporting.figures.comparison import dots
from modules.reporting.figures.theme import BASELINE, CANDIDATE, GOOD
from modules.reporting.formats import count, percent_interval
from modules.reporting.intervals import Interval
from pipeline.report.sections.common import missing, slices_by_feature, value_text
from pipeline.report.source import Absent, RunSource

WORDS = {
    "selection_rate": "selected",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
    "calibration": "calibration",
}
MOST_GROUPS = 40
LEAST_EXAMPLES = 30


def model_card(source: RunSource) -> Section:
    """The card of the model of this run."""
    return Section("model-card", "Model card", [*_use(source), *_data(source), *_limits(source), *fairness(source)])


def _use(source: RunSource) -> list[Block]:
    if source.recommends:
        intended: tuple[str, ...] = (
            "To rank what an agent could do next with a lead, by what agents do in such a state and by how leads "
            "converted afterwards.",
            "A person decides; the ranking is advice. It was learned from what was logged, so it knows no action that "
            "was never taken and no reason that was not written down.",
            "Not meant for decisions with legal or similarly serious effects on a person, nor for leads of another "
            "market or process than the one in the data.",
        )
    else:
        intended = (
            "To order leads by how likely they are to convert, and to say how likely, with an interval, so that agents "
            "can spend their time well.",
            "Not meant for decisions with legal or similarly serious effects on a person (credit, housing, prices), "
            "nor for leads of another market or channel than those in the data.",
        )
    return [Heading("Intended use"), Items(intended)]


def _data(source: RunSource) -> list[Block]:
    dataset = source.dataset
    lines = []
    if dataset.get("description"):
        lines.append(str(dataset["description"]))
    features = dataset.get("features", ())
    groups: dict[str, int] = {}
    for feature in features:
        groups[feature.get("group", "other")] = groups.get(feature.get("group", "other"), 0) + 1
    lines.append(f"{len(features)} features: " + ", ".join(f"{n} {group}" for group, n in groups.items()))
    split = dataset.get("split", {})
    how = {
        "time": "the newest rows are the test part",
        "hash": "rows are held out at random, by a hash of their id",
        "column": "a column of the file says which rows are held out",
        "order": "the last rows of the files are the test part",
    }
    lines.append(
        f"Evaluated on rows the model has not seen: {how.get(split.get('method', 'hash'), split.get('method'))}"
    )
    maturity = dataset.get("label_maturity_days") or (dataset.get("outcome") or {}).get("maturity_days")
    if maturity:
        lines.append(f"A lead counts as not converted only when it is at least {maturity:g} days old")
    return [Heading("Data"), Items(tuple(lines))]


def _limits(source: RunSource) -> list[Block]:
    lines = []
    method = source.dataset.get("split", {}).get("method", "hash")
    if method in ("hash", "column"):
        lines.append(
            "Rows held out at random come from the same time as the training rows: how the model does on later leads "
            "is not measured here, and is usually worse."
        )
    ingest = source.ingest
    if not isinstance(ingest, Absent) and ingest.as_of:
        lines.append(f"It knows nothing after {ingest.as_of}; when the market or the channels change, train again.")
    if source.recommends:
        lines.append(
            "A priority is observational: it says how leads fared after an action, with whatever else the agents "
            "knew; it is no promise that the action causes the outcome."
        )
    else:
        level = source.option("model.calibration.level", 0.9)
        lines.append(
            f"The interval of a lead is one of the conversion rate of leads with such a score ({100 * level:g} %), "
            "not of what this one lead will do."
        )
    verdict = source.verdict
    if not isinstance(verdict, Absent) and verdict.unjudged:
        lines.append(f"{len(verdict.unjudged)} slices are too small to be judged; their figures may be chance.")
    lines.append("Contributions and importances say what the model uses, not what causes the outcome.")
    return [Heading("Limits"), Items(tuple(lines))]


def fairness(source: RunSource) -> list[Block]:
    """Differences in selection rate, error rates and calibration between slices, at the threshold."""
    blocks: list[Block] = [Heading("Fairness by slice")]
    verdict = source.verdict
    if isinstance(verdict, Absent):
        return [*blocks, *missing(verdict)]
    groups = slices_by_feature(verdict.slices)
    if not groups:
        return [*blocks, *missing(None, "no slices to compare: set `evaluation.slices`")]
    found = {feature: _compared(parts, verdict.candidate) for feature, parts in groups.items()}
    if not any(found.values()):
        return [
            *blocks,
            *missing(
                None, "no rates by slice: this model does not select leads at a threshold; see Slices for its accuracy"
            ),
        ]
    blocks.append(Paragraph(_plain_words(source, found)))
    for index, (feature, rows) in enumerate(found.items()):
        if rows:
            blocks += _group(feature, rows, index)
    return blocks


def _compared(parts, whole) -> list[GroupFairness]:
    rows = [group_fairness(value_text(p.key), p.candidate, whole) for p in parts[:MOST_GROUPS]]
    return [row for row in rows if row is not None]


def _plain_words(source: RunSource, found: dict[str, list[GroupFairness]]) -> str:
    compared = [row for rows in found.values() for row in rows]
    gaps = 4 * len(compared)
    differ = sum(len(row.differs) for row in compared if row.examples >= LEAST_EXAMPLES)
    return (
        f"Each slice is compared with all other rows at the threshold {source.threshold:g}: how many of its leads are "
        "selected, how many of its converting leads are found, how many of the others are taken for converting, and "
        f"whether predictions promise too much there. {differ} of {gaps} differences are larger than chance explains "
        f"at 95 %; of so many, about {gaps // 20} would look like that by chance alone. A difference is not yet a "
        "wrong: slices convert at different rates, and then no model can have equal selection, equal error rates and "
        "equal calibration at once (Kleinberg, Mullainathan, Raghavan 2016). And no difference is no acquittal: it "
        "holds for these slices and this threshold only, for the outcomes as they were logged, and says nothing about "
        "people who are not in the data."
    )


def _group(feature: str, rows: list[GroupFairness], index: int) -> list[Block]:
    shown = rows[:16]
    colours = dict(zip(RATES, (CANDIDATE, GOOD, BASELINE), strict=True))
    series = {WORDS[rate]: (colours[rate], [r.gaps[rate] for r in shown]) for rate in RATES}
    return [
        Plot(
            f"fairness-{index}",
            dots([f"{r.name} ({r.examples:,})" for r in shown], series, "difference to all other rows", reference=0.0,
                 tickformat="+.0%"),
            f"Differences by {feature} with 95 % intervals (Newcombe); an interval that leaves out 0 is more than "
            "chance.",
        ),
        Table(
            (feature, "rows", *(WORDS[r] for r in RATES), "mean prediction - rate"),
            tuple(
                (
                    r.name,
                    count(r.examples),
                    *(_cell(r.rates[rate], r.gaps[rate]) for rate in RATES),
                    _cell(r.calibration, r.calibration_gap),
                )
                for r in rows
            ),
            f"Rates by {feature} with 95 % intervals; below each the difference to all other rows, bold where it is "
            "more than chance explains.",
            (1, 2, 3, 4, 5),
            folded=len(rows) > 8,
        ),
    ]  # fmt: skip


def _cell(rate: Interval, gap: Interval) -> Cell:
    tone: Tone = "warn" if gap.known and not gap.low <= 0 <= gap.high else "plain"
    return Cell(percent_interval(rate), f"difference {percent_interval(gap, signed=True)}", tone)
