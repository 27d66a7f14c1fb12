"""One self-contained page of a run: scores, curves, mistakes, settings; no script, no request."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines import _figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from fieldsight.pipelines._run import Run

TEMPLATE = Path(__file__).with_name("report.html")
PNG = b"\x89PNG\r\n\x1a\n"
# Fractions that people read as percentages, by the last word of the metric's name.
PERCENTAGES = {"accuracy", "error", "precision", "recall", "f1", "f2", "iou", "sensitivity"}


@dataclass(frozen=True, kw_only=True)
class Score:
    """A final figure.

    Attributes:
        name: in words: "accuracy, test split".
        value: the figure; a fraction where it is a percentage.
        low: lower end of its 95 % interval.
        high: upper end.
        baseline: the same figure of the method it is compared with.
        percentage: whether it is written as one.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    percentage: bool = True


class Table(NamedTuple):
    """A table with a title and a head."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def scores(metrics: Mapping[str, float]) -> list[Score]:
    """Final figures of a run by the names that it tracks.

    Args:
        metrics: `test_<metric>`, with `_low` and `_high` and `baseline_test_<metric>` where they
            are; other names are left out.

    Example:
        >>> scores({"test_accuracy": 0.99, "test_accuracy_low": 0.98, "loss": 1.0})[0].low
        0.98
    """
    found = []
    for key, value in metrics.items():
        if not key.startswith("test_") or key.endswith(("_low", "_high")):
            continue
        words = key.removeprefix("test_").split("_")
        found.append(
            Score(
                name=f"{' '.join(words)}, test split",
                value=value,
                low=metrics.get(f"{key}_low"),
                high=metrics.get(f"{key}_high"),
                baseline=metrics.get(f"baseline_{key}"),
                percentage=words[-1] in PERCENTAGES,
            )
        )
    return found


def keep_pictures(
    run: Run, drawn: Mapping[str, tuple[str, str, Figure]]
) -> list[tuple[str, str, bytes]]:
    """Save a run's figures and keep them with it; each is drawn once, for it takes a second.

    Args:
        run: the run.
        drawn: title, caption and figure by the name of its file.

    Returns:
        Title, caption and PNG of each, as `write_report` takes them.
    """
    shown = []
    for name, (title, caption, figure) in drawn.items():
        path = _figures.save(figure, run.folder / "pictures" / f"{name}.png")
        shown.append((title, caption, path.read_bytes()))
        run.artifact(path, "pictures")
    return shown


def write_report(
    path: str | Path,
    *,
    title: str,
    summary: Mapping[str, float] | Sequence[Score] = (),
    baseline: str = "baseline",
    settings: Mapping[str, object] | None = None,
    environment: Mapping[str, object] | None = None,
    card: Mapping[str, object] | None = None,
    figures: Iterable[tuple[str, str, bytes | Figure | Image]] = (),
    tables: Iterable[Table | tuple[str, Sequence[str], Sequence[Sequence[object]]]] = (),
    history: Mapping[str, Sequence[float]] | None = None,
    notes: Iterable[str] = (),
) -> Path:
    """Write a run's page, whole or not at all; its folder is made.

    Args:
        path: of the .html file.
        title: what was done, of which data.
        summary: final figures, the most important first; or a run's metrics, read by `scores`.
        baseline: what the figures are compared with: "plain dense network".
        settings: of the run.
        environment: versions, device, code.
        card: the model's card; `application`, `data`, `simulated`, `architecture`, `run_id` and
            `created` stand at the top.
        figures: (title, caption, PNG bytes or a figure), in the order to be read. The title is
            its text for those who can't see it: it says what is shown.
        tables: (title, columns, rows).
        history: metric to one value an epoch.
        notes: sentences that must not be missed.

    Returns:
        The path.

    Raises:
        ValueError: if a figure's bytes are no PNG.
    """
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    rows = scores(summary) if isinstance(summary, Mapping) else list(summary)
    facts = dict(card or {})
    html = page.render(
        title=title,
        csp_hash=_csp_hash,
        scores=[_score_view(score, baseline) for score in rows],
        facts=_facts(facts),
        simulated=bool(facts.get("simulated")),
        notes=list(notes),
        figures=[_figure_view(*figure) for figure in figures],
        tables=[
            Table(name, columns, [[_text(cell) for cell in row] for row in body])
            for name, columns, body in [*tables, *_history_table(history or {})]
        ],
        sections=[
            (name, _flat(values))
            for name, values in (
                ("Settings", settings),
                ("Environment", environment),
                ("Model card", card),
            )
            if values
        ],
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, html.encode("utf-8"))
    return path


def _csp_hash(style: str) -> str:
    """The page's policy allows the one style sheet that has this hash."""
    return base64.b64encode(hashlib.sha256(str(style).encode("utf-8")).digest()).decode("ascii")


def _facts(card: Mapping[str, object]) -> list[tuple[str, str]]:
    names = ("application", "architecture", "data", "run_id", "created")
    words = {"run_id": "run"}
    return [(words.get(name, name), _text(card[name])) for name in names if card.get(name)]


def _figure_view(title: str, caption: str, picture: bytes | Figure | Image) -> dict[str, Any]:
    content = picture if isinstance(picture, bytes) else _figures.png(picture)
    if content[:8] != PNG or len(content) < 24:
        raise ValueError(
            f"a report's figures are PNG. Received: {title!r}, which starts with {content[:8]!r}."
        )
    width, height = struct.unpack(">II", content[16:24])
    data = base64.b64encode(content).decode("ascii")
    return {
        "title": title,
        "caption": caption,
        "uri": f"data:image/png;base64,{data}",
        "width": width,
        "height": height,
    }


def _history_table(history: Mapping[str, Sequence[float]]) -> list[Table]:
    names = [name for name, values in history.items() if len(values)]
    if not names:
        return []
    epochs = max(len(history[name]) for name in names)
    rows = [
        [epoch + 1, *(history[n][epoch] if epoch < len(history[n]) else None for n in names)]
        for epoch in range(epochs)
    ]
    return [Table("Every epoch", ["epoch", *names], rows)]


def _score_view(score: Score, baseline: str) -> dict[str, Any]:
    known = [v for v in (score.value, score.low, score.high, score.baseline) if v is not None]
    finite = [value for value in known if math.isfinite(value)]
    interval = ""
    if score.low is not None and score.high is not None:
        unit = "\u202f%" if score.percentage else ""
        ends = (_number(end, score, unit=False) for end in (score.low, score.high))
        interval = " to ".join(ends) + unit
    return {
        "name": score.name,
        "value": _number(score.value, score),
        "interval": interval,
        "baseline": None if score.baseline is None else _number(score.baseline, score),
        "baseline_name": baseline,
        "axis": _axis(score, finite) if len(finite) == len(known) > 1 else None,
    }


def _axis(score: Score, values: Sequence[float]) -> dict[str, Any]:
    """Where the marks of a score's drawing stand, in per cent of its width."""
    span = max(values) - min(values) or abs(score.value) or 1.0
    low, high = min(values) - 0.12 * span, max(values) + 0.12 * span

    def place(value: float | None) -> float | None:
        return None if value is None else round(4 + 92 * (value - low) / (high - low), 2)

    return {
        "value": place(score.value),
        "low": place(score.low),
        "high": place(score.high),
        "baseline": place(score.baseline),
        "ticks": [(place(tick), _number(tick, score)) for tick in _ticks(low, high)],
    }


def _ticks(low: float, high: float) -> list[float]:
    step: float = 10 ** math.floor(math.log10((high - low) / 2))
    step = next(s * step for s in (1, 2, 5, 10) if (high - low) / (s * step) <= 4)
    return [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _number(value: float, score: Score, *, unit: bool = True) -> str:
    if not math.isfinite(value):
        return str(value)
    if score.percentage:
        return f"{100 * value:.2f}" + ("\u202f%" if unit else "")
    return f"{value:.4g}"


def _flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as one list, their names joined by dots."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{key}.")
        else:
            rows.append((key, _text(value)))
    return rows


def _text(value: object) -> str:
    if value is None or value == "" or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value) or "none"
    return str(value)
