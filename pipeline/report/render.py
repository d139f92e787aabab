"""A document as one HTML page: template, styles, script, plotly.js and the plots' data, and nothing from elsewhere.

A Content-Security-Policy in the page allows these very scripts, by their hashes, and no request at all. So whatever a
data set may hold, nothing in it runs, and nothing leaves the reader's machine.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape

from modules.errors import ConfigError
from modules.files import write_whole
from modules.reporting.document import Document
from modules.reporting.sparkline import sparkline

TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
DIGITS = 5
"""Significant digits of the numbers that plots carry."""


def render(document: Document) -> str:
    """The page."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_asset),
    )  # fmt: skip
    environment.filters["prose"] = prose
    from plotly.offline import get_plotlyjs

    plots = document.plots()
    plotly_js = get_plotlyjs() if plots else ""
    script = _asset(SCRIPT)
    scripts = [text for text in (plotly_js, script) if text]
    return environment.get_template(TEMPLATE).render(
        document=document,
        style=Markup(_asset(STYLE)),
        plotly_js=Markup(plotly_js),
        script=Markup(script),
        script_hashes=" ".join(f"'sha256-{_sha256(text)}'" for text in scripts),
        figures=Markup(script_json({plot.name: figure_json(plot.figure) for plot in plots})),
        script_json=lambda value: Markup(script_json(value)),
        sparkline=sparkline,
    )


def write(document: Document, path: Path) -> int:
    """Writes the page beside its place and renames it; returns its size in bytes.

    Raises:
      ConfigError: it cannot be written.
    """
    page = render(document).encode()
    try:
        write_whole(path, page)
    except OSError as error:
        raise ConfigError(f"--out {path}: cannot be written: {error.strerror}") from None
    return len(page)


def figure_json(figure: Any) -> dict[str, Any]:
    """Data and layout of a figure, as plain JSON values with few digits."""
    plain = figure.to_plotly_json()
    return {"data": [_plain(trace) for trace in plain["data"]], "layout": _plain(plain["layout"])}


def prose(text: str) -> Markup:
    """Text with what stands between backticks as code; everything is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() >= {"dtype", "bdata"}:  # how plotly spells an array
        array = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
        return _plain(array.reshape([int(n) for n in str(value.get("shape", len(array))).split(",")]))
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


@cache
def _asset(name: str) -> str:
    return resources.files("pipeline.report").joinpath(name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
