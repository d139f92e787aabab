"""`aiqleads recommend`: what to do next with the leads of a file of events, through a running model server.

Exit codes: 0 recommended, 4 bad input, 5 the server cannot be reached or failed.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from modules.errors import ConfigError
from modules.journeys.dataset import JourneyDataset
from pipeline.client_io import Asked, by_versions, chosen_format, connect, count, digits, note, written
from pipeline.config import find_config, load_run
from pipeline.recommend_input import Reading, Report, read_latest
from serving.client import ClientError, EventReason, Recommendation
from serving.client.client import EXPLAINED_ACTIONS
from serving.client.journeys import seconds

CONFIG = "recommendation"
REASONS = 3
"""Reasons of each answer in the output."""
SHOWN_BAD_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class RecommendOptions(Asked):
    """What the command was asked.

    events, leads: paths, "-" for standard input. dataset: what their columns mean; that of configs/recommendation.yaml
    when None. lead: ids; all leads when empty. at: histories end before this moment. allow: the only actions to choose
    from. top: actions per lead in the output, at least 1. model: the one that `aiqleads run` pushes for the dataset
    when None.
    """

    events: str
    leads: str | None = None
    dataset: str | None = None
    lead: tuple[str, ...] = ()
    at: str | None = None
    allow: tuple[str, ...] = ()
    top: int = 3
    model: str | None = None


def recommend(options: RecommendOptions) -> int:
    """Recommends and writes; notes on the input and a summary go to standard error.

    Raises:
      ConfigError: options that cannot be used.
      DataError: input that cannot be used.
      ClientError: the server.
    """
    chosen = chosen_format(options)
    if options.events == "-" == options.leads:
        raise ConfigError("standard input can be the events or the leads, not both")
    at = _moment(options.at)
    # The model's name is the one under which `aiqleads run` pushes it for this dataset.
    run = load_run(find_config("", CONFIG), dataset=options.dataset)
    dataset, model = run.dataset, options.model or run.servable
    assert isinstance(dataset, JourneyDataset)
    begin = time.perf_counter()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(connect(options, model))
        features = client.features()
        if not features.journeys:
            raise ClientError(
                f"{model} reads no journeys; its features: {', '.join(features.names)}", code="INVALID_ARGUMENT"
            )
        reading = Reading(dataset, options.lead, at, options.skip_bad)
        latest = read_latest(reading, options.events, options.leads, features.names, options.allow)
        _notes(latest.report)
        out = stack.enter_context(written(options.output))
        writer = _WRITERS[chosen](out, dataset.id_feature, options.top, options.explain)
        versions: dict[int, None] = {}
        done = 0
        batch = min(options.batch, EXPLAINED_ACTIONS) if options.explain else options.batch
        chunks = [(b, min(b + batch, len(latest))) for b in range(0, len(latest), batch)]
        explained = client.explain_examples(latest.examples(*c) for c in chunks) if options.explain else None
        for answers in client.recommend_examples(latest.examples(*chunk) for chunk in chunks):
            end = done + len(answers)
            why = [()] * len(answers) if explained is None else [e.strongest[:REASONS] for e in next(explained)]
            writer.write(latest.ids[done:end], latest.length[done:end].tolist(), answers, why)
            versions.update(dict.fromkeys({a.version for a in answers}))
            done = end
    took = f"in {time.perf_counter() - begin:.1f} s"
    asked = f"{count(done, 'lead')} with {count(latest.report.events, 'event')}"
    note(f"{asked} answered by {model} {by_versions(list(versions))} {took}" if done else "no leads to ask about")
    return 0


Reasons = Sequence[Sequence[EventReason]]
"""Of each answer the strongest ones; none where they were not asked for."""


class Writer(Protocol):
    """Writes answers as they come; explain: with REASONS reasons each."""

    def __init__(self, out: TextIO, id_column: str, top: int, explain: bool = False) -> None: ...

    def write(
        self, ids: Sequence[str], lengths: Sequence[int], answers: Sequence[Recommendation], why: Reasons
    ) -> None: ...


class CsvWriter:
    """A header, then a line per lead: the next best action, then the ones after it."""

    def __init__(self, out: TextIO, id_column: str, top: int, explain: bool = False) -> None:
        self._csv, self._top = csv.writer(out, lineterminator="\n"), top
        names = ["next_best_action", "probability", "priority"]
        names += [f"{name}_{rank}" for rank in range(2, top + 1) for name in ("action", "probability", "priority")]
        reasons = [f"{name}_{rank}" for rank in range(1, REASONS + 1) for name in ("reason", "event", "contribution")]
        self._csv.writerow((id_column, "events", *names, "version", *(reasons if explain else ())))

    def write(
        self, ids: Sequence[str], lengths: Sequence[int], answers: Sequence[Recommendation], why: Reasons
    ) -> None:
        for lead, length, answer, reasons in zip(ids, lengths, answers, why, strict=True):
            row: list[Any] = [lead, length]
            for a in answer.actions[: self._top]:
                row += (a.action, digits(a.probability), digits(a.priority))
            row += [""] * (2 + 3 * self._top - len(row))
            cells = [c for r in reasons for c in (r.name, _ago(r), digits(r.contribution))]
            self._csv.writerow((*row, answer.version, *cells))


class JsonLinesWriter:
    """A JSON object per lead."""

    def __init__(self, out: TextIO, id_column: str, top: int, explain: bool = False) -> None:
        self._out, self._id, self._top, self._explain = out, id_column, top, explain

    def write(
        self, ids: Sequence[str], lengths: Sequence[int], answers: Sequence[Recommendation], why: Reasons
    ) -> None:
        for lead, length, answer, reasons in zip(ids, lengths, answers, why, strict=True):
            actions = [
                {"action": a.action, "probability": digits(a.probability), "priority": digits(a.priority)}
                for a in answer.actions[: self._top]
            ]
            row = {self._id: lead, "events": length, "next_best_action": answer.next_best_action or None}
            row |= {"actions": actions, "version": answer.version}
            if self._explain:
                row["reasons"] = [
                    {
                        "name": r.name,
                        "event": r.position,
                        "contribution": digits(r.contribution),
                        "conversion": digits(r.conversion),
                    }
                    for r in reasons
                ]
            self._out.write(json.dumps(row, ensure_ascii=False) + "\n")


class TableWriter:
    """For people: rounded, in columns of a fixed width."""

    def __init__(self, out: TextIO, id_column: str, top: int, explain: bool = False) -> None:
        self._out, self._top, self._width = out, top, max(12, len(id_column))
        then = "  then" if top > 1 else ""
        out.write(f"{id_column:<{self._width}}  events  {'next best action':<24}  likelihood  priority{then}\n")

    def write(
        self, ids: Sequence[str], lengths: Sequence[int], answers: Sequence[Recommendation], why: Reasons
    ) -> None:
        for lead, length, answer, reasons in zip(ids, lengths, answers, why, strict=True):
            line = f"{lead:<{self._width}}  {length:>6}  "
            if not answer.actions:
                self._out.write(f"{line}{'- (none is allowed)':<24}\n")
                continue
            best, *others = answer.actions[: self._top]
            then = ", ".join(f"{a.action} {a.probability:.1%} / {a.priority:.1f}" for a in others)
            line += f"{best.action:<24}  {best.probability:>10.1%}  {best.priority:>8.1f}  {then}"
            self._out.write(line.rstrip() + "\n")
            for reason in reasons:
                which = "" if reason.position is None else f" (event {reason.position})"
                self._out.write(f"{'':<{self._width}}    {reason}{which}\n")


def _ago(reason: EventReason) -> int | str:
    return "" if reason.position is None else reason.position


_WRITERS: dict[str, type[Writer]] = {"csv": CsvWriter, "jsonl": JsonLinesWriter, "table": TableWriter}


def _notes(report: Report) -> None:
    if report.absent:
        note(f"features not in the input, taken as missing: {', '.join(sorted(report.absent))}")
    if report.without_lead:
        note(f"{count(report.without_lead, 'lead')} without a row in the table of leads: features taken as missing")
    if report.bad:
        note(f"left out {count(len(report.bad), 'bad row')}")
        for line in report.bad[:SHOWN_BAD_ROWS]:
            note(f"  {line}")
        if len(report.bad) > SHOWN_BAD_ROWS:
            note(f"  and {len(report.bad) - SHOWN_BAD_ROWS:,} more")


def _moment(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        return dt.datetime.fromtimestamp(seconds(text), dt.UTC)
    except ValueError:
        raise ConfigError(
            f"--at: expected a moment like 2026-03-01 or 2026-03-01T09:30:00Z; received {text!r}"
        ) from None
