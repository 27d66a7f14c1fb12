"""Figures of runs and of what networks see, in one look; drawn without pyplot's global state.

The palette is Okabe and Ito's, which colour-blind readers tell apart, and nothing is told by
colour alone. A title says what is shown, the line below it of which data (`data`, such as
"mnist, test split, 10,000 pictures" or "simulated, ..."). Pictures are arrays `(n, height,
width)`, or with 1 or 3 channels last, in any range; what is ink and paper is left as it is.
"""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldsight.datasets.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

P = ParamSpec("P")
R = TypeVar("R")

# Okabe and Ito, Color universal design, 2008.
BLUE, ORANGE, GREEN, VERMILLION, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
INK, SOFT, LINE, PALE = "#1b1f24", "#5b6572", "#d5dae1", "#eef1f5"
DPI = 144
WIDTH = 10.0  # inches of every figure, so that text has one size in a report
HEADER = 0.78  # inches for title and data line
LARGEST_GRID = 64  # units or filters in one figure
SHARES = ("accuracy", "f2")  # metrics from 0 to 1, the more the better
UNSURE = 0.9  # answers below it are marked in an overlay

STYLE: dict[str, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 1.0,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


class Comparison(NamedTuple):
    """One trained network's score, for `comparison`.

    `pictures` says in which form it saw them ("as they are", "shuffled"); scores are fractions.
    """

    model: str
    pictures: str
    seed: int
    accuracy: float
    low: float
    high: float


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def png(figure: Figure | Image) -> bytes:
    """A figure or picture as the bytes of a PNG file."""
    out = io.BytesIO()
    if hasattr(figure, "savefig"):
        # Without a date or version in it, the same figure gives the same bytes.
        figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    else:
        figure.save(out, format="PNG", optimize=True)
    return out.getvalue()


def save(figure: Figure | Image, path: str | Path) -> Path:
    """Write a figure or picture as PNG, whole or not at all; its folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png(figure))
    return path


# --- training and test -----------------------------------------------------------------------


@styled
def learning_curves(
    history: Mapping[str, Sequence[float]], *, data: str = "", title: str = "Learning curves"
) -> Figure:
    """Loss and every metric by epoch, training and validation, the best epoch marked.

    Args:
        history: Keras's: metric to one value an epoch; `val_<metric>` is the validation's.
            Accuracies and F2 are drawn as what they lack, on a logarithmic scale, where the end of
            training is seen.
        data: what was learned from.
        title: of the figure.
    """
    names = [n for n in history if not n.startswith("val_") and len(history[n])]
    names = [n for n in names if f"val_{n}" in history] or names
    columns = min(2, max(1, len(names)))
    rows = -(-max(1, len(names)) // columns)
    figure = blank(title, data, 3.5 * rows)
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        _curve(axes, name, history)
    if not names:
        message(figure, "No epoch was finished.")
    return figure


def _curve(axes: Axes, name: str, history: Mapping[str, Sequence[float]]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    is_accuracy = any(word in name for word in SHARES)
    lowest = np.inf
    for key, label, colour, marker in (
        (name, "training", BLUE, "o"),
        (f"val_{name}", "validation", VERMILLION, "s"),
    ):
        values = np.asarray(history.get(key, ()), float)
        if not len(values):
            continue
        values = 100 * (1 - values) if is_accuracy else values
        epochs = np.arange(1, len(values) + 1)
        size = 5 if len(values) <= 40 else 0
        axes.plot(epochs, values, marker, ls="-", color=colour, label=label, lw=2, ms=size)
        lowest = min(lowest, float(np.nanmin(values)) if np.isfinite(values).any() else 0)
        if key.startswith("val_") and np.isfinite(values).any() and len(values) > 1:
            best = int(np.nanargmin(values))
            text = f"best: {_short(values[best])}{' %' if is_accuracy else ''}, epoch {best + 1}"
            axes.axhline(values[best], color=colour, lw=1, ls=":")
            axes.plot(best + 1, values[best], "o", ms=11, mfc="none", mec=colour, mew=1.8)
            axes.annotate(
                text, (0.02, values[best]), xycoords=("axes fraction", "data"),
                xytext=(0, 4), textcoords="offset points", color=INK, fontsize=9,
            )  # fmt: skip
    if lowest > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.yaxis.set_minor_formatter(FuncFormatter(_minor_label))
        low, high = axes.get_ylim()
        if high / low > 150:
            axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("Error, %" if name == "accuracy" else name.replace("_", " ").capitalize())
    if is_accuracy and name != "accuracy":
        words = "F2" if name == "f2" else name.replace("_", " ")
        axes.set_title(f"100 - {words}, %")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(loc="upper right")


def _minor_label(value: float, _: int) -> str:
    digit = value / 10 ** np.floor(np.log10(value))
    return _short(value) if round(digit) in {2, 5} else ""


@styled
def confusion_matrix(
    labels: ArrayLike,
    predictions: ArrayLike,
    class_names: Sequence[str],
    *,
    data: str = "",
    title: str = "Confusion matrix",
) -> Figure:
    """What was taken for what, and each class's error with its 95 % interval (Wilson) beside it.

    Args:
        labels: `(n,)` true classes, from 0 on.
        predictions: `(n,)` answered classes.
        class_names: a name a class.
        data: what was scored.
        title: of the figure.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    from fieldsight.core.metrics import proportion_interval

    true, read = np.asarray(labels, int), np.asarray(predictions, int)
    count = len(class_names)
    counts = np.zeros((count, count), int)
    np.add.at(counts, (true, read), 1)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    right = np.diag(counts)
    totals = counts.sum(axis=1)
    side = min(7.4, max(4.6, 0.58 * count))
    figure = blank(f"{title}: {int(wrong.sum()):,} of {len(true):,} wrong", data, side)
    axes, bars = figure.subplots(1, 2, width_ratios=[2.3, 1], sharey=True)
    # Right answers are grey and errors coloured by their logarithm, or a hundred right answers
    # would leave every error white.
    axes.imshow(np.where(np.eye(count, dtype=bool), 1.0, np.nan), cmap=_plain(PALE))
    highest = max(2, int(wrong.max()))
    norm = LogNorm(1, highest)
    axes.imshow(np.where(wrong > 0, wrong, np.nan), cmap="OrRd", norm=norm)
    size = 10 if count <= 12 else max(4.0, 120 / count)
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = row != column and norm(counts[row, column]) > 0.6
        axes.text(
            column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=size,
            color="white" if dark else INK if row != column else SOFT,
        )  # fmt: skip
    turn = 90 if max(map(len, class_names), default=0) > 4 else 0
    axes.set_xticks(range(count), class_names, rotation=turn, color=INK)
    axes.set_yticks(range(count), class_names, color=INK)
    axes.set(xlabel="answer", ylabel="label", xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    axes.grid(visible=False)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=LINE, lw=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
    errors = 100 * (totals - right) / np.maximum(totals, 1)
    intervals = [
        proportion_interval(int(t - r), int(t)) for t, r in zip(totals, right, strict=True)
    ]
    ends = 100 * np.array(intervals)
    known = totals > 0
    bars.barh(np.arange(count)[known], errors[known], color=SKY, height=0.62)
    bars.hlines(np.arange(count)[known], ends[known, 0], ends[known, 1], color=INK, lw=1.2)
    for row in range(count):
        text = (
            f"  {totals[row] - right[row]:,} of {totals[row]:,}" if known[row] else "  no picture"
        )
        at = ends[row, 1] if known[row] else 0
        bars.text(at, row, text, va="center", fontsize=min(9, size), color=SOFT)
    bars.set_xlim(0, 1.5 * max(ends[known, 1], default=1))
    bars.set_title("Error of each class, %")
    bars.set_xlabel("bar: error, line: 95 % interval")
    bars.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    bars.tick_params(labelleft=False)
    bars.spines["left"].set_visible(False)
    bars.grid(visible=False, axis="y")
    return figure


@styled
def worst_mistakes(
    images: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    k: int = 36,
    *,
    class_names: Sequence[str] | None = None,
    data: str = "",
) -> Figure:
    """The wrong answers that were given with least doubt of the right one, worst first.

    Args:
        images: `(n, height, width[, channels])`.
        labels: `(n,)` true classes.
        probabilities: `(n, classes)` answers.
        k: how many at most.
        class_names: a name a class; their numbers by default.
        data: what was scored.
    """
    pictures, true = np.asarray(images), np.asarray(labels, int)
    answers = np.asarray(probabilities, float)
    read = answers.argmax(axis=1)
    names = class_names or [str(index) for index in range(answers.shape[1])]
    wrong = np.flatnonzero(read != true)
    # Least probability of the truth first; equal ones by how sure the wrong answer was.
    order = np.lexsort((-answers[wrong, read[wrong]], answers[wrong, true[wrong]]))
    chosen = wrong[order][:k]
    title = f"Worst mistakes: {len(chosen)} of {len(wrong):,}, the surest wrong answers first"
    if not len(chosen):
        figure = blank(f"No mistakes among {len(true):,} pictures", data, 1.2)
        message(figure, "Every answer was right.")
        return figure
    cells = [
        (
            pictures[i],
            f"{names[true[i]]} → {names[read[i]]}",
            f"{percent(answers[i, read[i]])} sure",
        )
        for i in chosen
    ]
    return gallery(cells, f"{title} (label → answer)", data, columns=9)


@styled
def comparison(
    rows: Sequence[Comparison],
    *,
    data: str = "",
    title: str = "When a convolution is worth it",
) -> Figure:
    """Accuracy of each model by seed, a panel for each form of the pictures.

    Args:
        rows: a trained network each; models and forms are drawn in the order they come in.
        data: what was learned and scored.
        title: of the figure.
    """
    from matplotlib.ticker import FuncFormatter

    forms = list(dict.fromkeys(row.pictures for row in rows))
    models = list(dict.fromkeys(row.model for row in rows))
    figure = blank(title, data, 4.2)
    panels = np.atleast_1d(figure.subplots(1, max(1, len(forms)), sharey=True))
    looks = [(BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (VERMILLION, "D")]
    for axes, form in zip(panels, forms, strict=False):
        for place, model in enumerate(models):
            these = [row for row in rows if (row.model, row.pictures) == (model, form)]
            if not these:
                continue
            colour, marker = looks[place % len(looks)]
            at = place + 0.11 * (np.arange(len(these)) - (len(these) - 1) / 2)
            values = 100 * np.array([(row.accuracy, row.low, row.high) for row in these])
            axes.vlines(at, values[:, 1], values[:, 2], color=colour, lw=2, alpha=0.55)
            axes.plot(at, values[:, 0], marker, color=colour, ms=7, mec="white", mew=0.8)
            mean = values[:, 0].mean()
            edge = at[-1] + 0.12
            axes.hlines(mean, at[0] - 0.12, edge, color=INK, lw=1.6)
            axes.text(edge + 0.02, mean, f" {mean:.2f} %", va="center", weight="bold", fontsize=10)
        axes.set_xticks(range(len(models)), models, color=INK, fontsize=11)
        axes.set_xlim(-0.6, len(models) - 0.25)
        axes.set_title(f"Pictures {form}" if form else "")
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    panels[0].set_ylabel("test accuracy, %")
    seeds = len({row.seed for row in rows})
    figure.supxlabel(
        f"a point is one of {seeds} seeds, its line the 95 % interval; the black bar is their mean",
        fontsize=9, color=SOFT,
    )  # fmt: skip
    return figure


# --- what a network sees ---------------------------------------------------------------------


@styled
def filters(kernels: ArrayLike, *, layer: str = "", data: str = "") -> Figure:
    """A convolution's kernels: as colours with three channels, else one row a channel.

    Args:
        kernels: `(filters, height, width, channels)`; the first 64, and 8 channels, are drawn.
        layer: its name.
        data: what the network was trained on.
    """
    values = np.asarray(kernels, float)[:LARGEST_GRID]
    title = f"Filters of {layer or 'the first convolution'}: {len(np.asarray(kernels))} of "
    title += " by ".join(str(side) for side in values.shape[1:3])
    limit = float(np.abs(values).max()) or 1.0
    if values.shape[-1] == 3:
        cells = [(0.5 + 0.5 * kernel / limit, f"{i}", "") for i, kernel in enumerate(values)]
        return gallery(cells, title, f"{data}, mid grey is 0", columns=8)
    cells = [
        (
            values[i, ..., channel],
            f"{i}" if values.shape[-1] == 1 else f"{i}, channel {channel}",
            "",
        )
        for i in range(len(values))
        for channel in range(min(8, values.shape[-1]))
    ][:LARGEST_GRID]
    return gallery(
        cells,
        title,
        data,
        columns=8 if len(cells) > 6 else 6,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
    )


@styled
def feature_map_atlas(
    images: ArrayLike,
    maps: Mapping[str, NDArray[Any]],
    names: Sequence[str],
    *,
    data: str = "",
    units: int = 16,
) -> dict[str, Figure]:
    """Every layer's answer to a few pictures, a figure a layer, a row a picture.

    Layers that only reshape, pad or rescale are left out: they show the picture again.

    Args:
        images: `(n, height, width[, channels])`, one of each class, say.
        maps: `core.inspection.feature_maps` of these pictures.
        names: a name a picture.
        data: what the pictures are from.
        units: how many maps of a layer are drawn at most.
    """
    pictures = np.asarray(images)
    figures, before = {}, pictures
    for name, values in maps.items():
        same = values.size == before.size and np.array_equal(values.ravel(), before.ravel())
        before = values
        if values.ndim == 4 and values.shape[-1] > 1:
            figures[name] = _map_rows(pictures, values, names, name, data, units)
        elif values.ndim == 2 and not same:
            figures[name] = _vector_rows(pictures, values, names, name, data)
    return figures


def _map_rows(
    images: NDArray[Any],
    values: NDArray[Any],
    names: Sequence[str],
    layer: str,
    data: str,
    units: int,
) -> Figure:
    shown = min(units, values.shape[-1])
    size = " by ".join(str(side) for side in values.shape[1:3])
    title = f"Feature maps of {layer}: {shown} of {values.shape[-1]}, {size} each"
    left = _label_width(names)
    pitch = (WIDTH - left - 0.22) / max(shown + 1, 12)
    height = pitch * images.shape[1] / images.shape[2]
    sheet = Sheet(title, data, height * len(images) + 0.28, colour_bar=True)
    limits, colours = _scale(values)
    sheet.text(left + pitch / 2, 0.14, "picture")
    for unit in range(shown):
        sheet.text(left + pitch * (unit + 1.5) + 0.1, 0.14, str(unit))
    drawn: Any = None
    for row, (image, maps) in enumerate(zip(images, values, strict=True)):
        y = 0.28 + row * height
        sheet.text(left - 0.08, y + height / 2, names[row], ha="right", size=10, color=INK)
        sheet.tile(_rgb(image), left, y, pitch - 0.06, height - 0.06)
        for unit in range(shown):
            x = left + pitch * (unit + 1) + 0.1
            drawn = sheet.tile(
                maps[..., unit], x, y, pitch - 0.06, height - 0.06, cmap=colours,
                vmin=limits[0], vmax=limits[1],
            )  # fmt: skip
    return sheet.finish(drawn, "activation")


def _vector_rows(
    images: NDArray[Any], values: NDArray[Any], names: Sequence[str], layer: str, data: str
) -> Figure:
    left, height = _label_width(names), 0.46
    start = left + height * images.shape[2] / images.shape[1] + 0.1
    title = f"Answers of {layer}: {values.shape[1]} units"
    sheet = Sheet(title, data, height * len(images) + 0.28, colour_bar=True)
    limits, colours = _scale(values)
    few = values.shape[1] <= 12
    wide = (WIDTH - start - 0.12) / values.shape[1]
    for unit in range(0, values.shape[1], 1 if few else 10):
        sheet.text(start + wide * (unit + 0.5), 0.14, str(unit))
    drawn: Any = None
    for row, (image, vector) in enumerate(zip(images, values, strict=True)):
        y = 0.28 + row * height
        sheet.text(left - 0.08, y + height / 2, names[row], ha="right", size=10, color=INK)
        sheet.tile(_rgb(image), left, y, start - left - 0.16, height - 0.06)
        drawn = sheet.tile(
            vector[None], start, y, wide * len(vector), height - 0.06, cmap=colours,
            vmin=limits[0], vmax=limits[1],
        )  # fmt: skip
        for unit in range(len(vector) if few else 0):
            red, green, blue, _ = drawn.to_rgba(vector[unit])
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
            at = (start + wide * (unit + 0.5), y + height / 2 - 0.03)
            text = f"{vector[unit]:.2f}" if np.abs(values).max() < 100 else _short(vector[unit])
            sheet.text(*at, text, size=9, color="white" if dark else INK)
    return sheet.finish(drawn, "activation")


@styled
def unit_excitation(
    images: Any,
    indices: NDArray[Any],
    values: NDArray[Any],
    boxes: NDArray[Any] | None = None,
    *,
    layer: str = "",
    data: str = "",
    units: int = 16,
) -> Figure:
    """The pictures that excite each unit most, a row a unit; what it looks at stands out.

    Args:
        images: the pictures that were searched.
        indices: `(units, k)`, as `core.inspection.top_images` gives them, as are the next.
        values: `(units, k)`.
        boxes: `(units, k, 2, 2)` rows and columns of what the unit saw; None shows all.
        layer: its name.
        data: what the pictures are from.
        units: how many are drawn at most.
    """
    shown, columns = min(units, len(indices)), indices.shape[1]
    title = f"What excites {layer or 'each unit'} most: {shown} of {len(indices)} units"
    note = "" if boxes is None else "bright: what the unit sees where it answers most"
    left = 0.85
    pitch = (WIDTH - left - 0.08) / max(columns, 9)
    first = _rgb(np.asarray(images[int(indices[0, 0])]))
    height = pitch * first.shape[0] / first.shape[1]
    about = " · ".join(part for part in (data, note) if part)
    sheet = Sheet(title, about, height * shown + 0.06)
    for unit in range(shown):
        y = unit * height
        sheet.text(left - 0.1, y + height / 2 - 0.12, f"unit {unit}", ha="right", color=INK)
        sheet.text(left - 0.1, y + height / 2 + 0.08, f"max {values[unit, 0]:.3g}", ha="right")
        for rank in range(columns):
            picture = _rgb(np.asarray(images[int(indices[unit, rank])]))
            x, wide, tall = left + rank * pitch, pitch - 0.07, height - 0.07
            if boxes is None:
                sheet.tile(picture, x, y, wide, tall)
                continue
            (top, start), (bottom, end) = boxes[unit, rank]
            seen = np.zeros((*picture.shape[:2], 1), bool)
            seen[top:bottom, start:end] = True
            sheet.tile(np.where(seen, picture, 0.36 * picture + 0.14), x, y, wide, tall)
            per_x, per_y = wide / picture.shape[1], tall / picture.shape[0]
            sheet.outline(
                x + start * per_x, y + top * per_y, (end - start) * per_x, (bottom - top) * per_y
            )
    return sheet.finish()


@styled
def grad_cam_overlays(
    images: ArrayLike,
    maps: ArrayLike,
    answers: Sequence[str],
    probabilities: Sequence[float],
    *,
    labels: Sequence[str] | None = None,
    layer: str = "",
    data: str = "",
) -> Figure:
    """Each picture beside its Grad-CAM: where the evidence for the answer is.

    Args:
        images: `(n, height, width[, channels])`.
        maps: `(n, height, width)`, zero or more; each is scaled to its own maximum.
        answers: the class that each map explains.
        probabilities: of these answers.
        labels: the truth, where it is known.
        layer: whose maps they are.
        data: what the pictures are from.
    """
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable

    pictures, heat = np.asarray(images), np.asarray(maps, float)
    columns = min(5, max(1, len(pictures)))
    rows = -(-len(pictures) // columns)
    pitch = (WIDTH - 0.1) / 5
    wide = (pitch - 0.2) / 2
    tall = wide * pictures.shape[1] / pictures.shape[2]
    about = " · ".join(part for part in (data, layer and f"layer {layer}") if part)
    title = "Grad-CAM: where the evidence for each answer is"
    sheet = Sheet(title, about, rows * (tall + 0.42), colour_bar=True)
    for index, picture in enumerate(pictures):
        x, y = pitch * (index % columns) + 0.12, (tall + 0.42) * (index // columns) + 0.28
        plain, mixed = _mixed(picture, heat[index])
        sheet.tile(plain, x, y, wide, tall)
        sheet.tile(mixed, x + wide + 0.03, y, wide, tall)
        wrong = labels is not None and labels[index] != answers[index]
        sheet.text(
            x, y - 0.12, str(answers[index]), ha="left", size=11, weight="bold",
            color=VERMILLION if wrong else INK,
        )  # fmt: skip
        aside = percent(probabilities[index])
        if wrong and labels is not None:
            aside += f", but it is {labels[index]}"
        sheet.text(x + 2 * wide + 0.03, y - 0.12, aside, ha="right")
    drawn = ScalarMappable(cmap=mpl.colormaps["inferno"])
    return sheet.finish(drawn, "evidence, share of each picture's maximum")


def _mixed(picture: NDArray[Any], heat: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    import matplotlib as mpl

    plain = _rgb(picture)
    share = heat / heat.max() if heat.max() > 0 else np.zeros_like(heat)
    colour = mpl.colormaps["inferno"](share)[..., :3]
    grey = plain.mean(axis=-1, keepdims=True)
    weight = 0.35 + 0.4 * share[..., None]
    return plain, (1 - weight) * grey + weight * colour


# --- a picture with its answers --------------------------------------------------------------


def digit_overlay(
    picture: ArrayLike,
    boxes: ArrayLike,
    answers: Sequence[object],
    probabilities: Sequence[float],
    footer: str,
) -> Image:
    """A picture with a box and an answer around each thing that was read.

    Drawn at the picture's own resolution, with letters to suit; a picture too small to hold
    letters is enlarged by a whole factor. The footer stands below the picture and covers none
    of it. Answers below 0.9 are vermillion, with a question mark.

    Args:
        picture: `(height, width, 3)` uint8.
        boxes: `(n, 4)` `xyxy` pixels, right and bottom exclusive.
        answers: one a box.
        probabilities: one a box.
        footer: the model, run and data that answered.
    """
    from PIL import Image, ImageDraw

    page = Image.fromarray(np.ascontiguousarray(np.asarray(picture, np.uint8)[..., :3]))
    factor = max(1, -(-480 // max(page.size)))
    page = page.resize((page.width * factor, page.height * factor), Image.Resampling.NEAREST)
    edges = np.asarray(boxes, float).reshape(-1, 4) * factor
    smallest = float(np.clip(0.014 * max(page.size), 13, 60))
    height = float(np.median(edges[:, 3] - edges[:, 1])) if len(edges) else 0.0
    letters = float(np.clip(0.4 * height, smallest, 2.5 * smallest))
    texts = [str(answer) for answer in answers]
    tags = [
        _Tag(text if sure else text + "?", percent(share), BLUE if sure else VERMILLION)
        for text, share, sure in zip(
            texts, probabilities, [share >= UNSURE for share in probabilities], strict=True
        )
    ]
    if _crowded(edges, tags, letters, page.size):  # then what is sure is said in a letter
        tags = [tag._replace(share="") if tag.colour == BLUE else tag for tag in tags]
    if any(tag.colour == VERMILLION for tag in tags):
        footer += f" · ? is an answer below {UNSURE:.0%}"
    lines, small = _footer_lines(footer, page.width, smallest)
    margin = round(0.6 * smallest)
    strip = round(len(lines) * 1.35 * small.size) + 2 * margin
    canvas = Image.new("RGB", (page.width, page.height + strip), PALE)
    canvas.paste(page)
    draw = ImageDraw.Draw(canvas)
    for box, tag in zip(edges, tags, strict=True):
        _draw_box(draw, box, tag, letters)
    for box, tag in zip(edges, tags, strict=True):
        _draw_tag(draw, _tag_place(box, tag, letters, page.size), tag, letters)
    for index, line in enumerate(lines):
        at = (margin, page.height + margin + round(index * 1.35 * small.size))
        draw.text(at, line, font=small, fill=INK)
    return canvas


class _Tag(NamedTuple):
    text: str
    share: str
    colour: str


def _tag_place(
    box: NDArray[Any], tag: _Tag, letters: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Above the box; below it or over its top where there is no room."""
    left, top, _, bottom = box
    pad, line = letters / 6, max(1, round(letters / 9))
    wide = _font(letters, bold=True).getlength(tag.text) + 2 * pad
    if tag.share:
        wide += _font(0.62 * letters).getlength(tag.share) + pad
    tall = 1.25 * letters
    x = float(np.clip(left - line, 0, max(0, size[0] - wide)))
    y = top - line - tall
    if y < 0:
        y = bottom + line if bottom + line + tall <= size[1] else max(0, top)
    return x, y, x + wide, y + tall


def _crowded(
    boxes: NDArray[Any], tags: Sequence[_Tag], letters: float, size: tuple[int, int]
) -> bool:
    """Whether a tag would lie on another tag or on another's box."""
    places = np.array(
        [_tag_place(box, tag, letters, size) for box, tag in zip(boxes, tags, strict=True)]
    ).reshape(-1, 4)
    for others in (boxes, places):
        for index, place in enumerate(places):
            apart = (
                (others[:, 0] >= place[2])
                | (others[:, 2] <= place[0])
                | (others[:, 1] >= place[3])
                | (others[:, 3] <= place[1])
            )
            apart[index] = True
            if not apart.all():
                return True
    return False


def _draw_box(draw: ImageDraw, box: NDArray[Any], tag: _Tag, letters: float) -> None:
    left, top, right, bottom = (round(edge) for edge in box)
    line = max(1, round(letters / 9))
    outline = (left - line, top - line, right - 1 + line, bottom - 1 + line)
    halo = (outline[0] - 1, outline[1] - 1, outline[2] + 1, outline[3] + 1)
    draw.rectangle(halo, outline="white")
    draw.rectangle(outline, outline=tag.colour, width=line)


def _draw_tag(
    draw: ImageDraw, place: tuple[float, float, float, float], tag: _Tag, letters: float
) -> None:
    x, y, _, bottom = place
    first, pad, middle = _font(letters, bold=True), letters / 6, (y + bottom) / 2
    draw.rectangle(place, fill=tag.colour)
    draw.text((x + pad, middle), tag.text, font=first, fill="white", anchor="lm")
    at = (x + 2 * pad + first.getlength(tag.text), middle)
    draw.text(at, tag.share, font=_font(0.62 * letters), fill="white", anchor="lm")


def _footer_lines(footer: str, width: int, letters: float) -> tuple[list[str], FreeTypeFont]:
    font = _font(float(np.clip(0.85 * letters, 11, 40)))
    columns = max(10, int((width - 1.2 * letters) / (font.getlength("abcdefghij 0123") / 15)))
    lines = [part for line in footer.splitlines() for part in textwrap.wrap(line, columns)]
    return lines, font


@functools.lru_cache(maxsize=64)
def _font(size: float, *, bold: bool = False) -> FreeTypeFont:
    import matplotlib as mpl
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", name), size)


# --- parts -----------------------------------------------------------------------------------


def blank(title: str, data: str, height: float) -> Figure:
    """A figure of the common width with its title and data line; `height` is what is below."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lines = textwrap.wrap(data, 125)
    total = height + HEADER + 0.18 * max(0, len(lines) - 1)
    box = (0.008, 0.008, 0.984, height / total - 0.008)
    layout = ConstrainedLayoutEngine(rect=box, w_pad=0.03, h_pad=0.03)
    figure = Figure(figsize=(WIDTH, total), layout=layout)
    figure.text(0.012, 1 - 0.16 / total, title, size=14, weight="bold", va="top")
    figure.text(0.012, 1 - 0.46 / total, "\n".join(lines), size=9.5, color=SOFT, va="top")
    return figure


def message(figure: Figure, text: str) -> None:
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0, 0.5, text, fontsize=12, color=SOFT, va="center")


class Sheet:
    """Many small pictures in one axes, placed in inches from the top left of what is below the
    title: an axes for each picture takes seconds to lay out.
    """

    BAR = 0.62  # inches that a colour bar takes

    def __init__(self, title: str, data: str, height: float, *, colour_bar: bool = False) -> None:
        self.bottom = self.BAR if colour_bar else 0.0
        self.figure = blank(title, data, height + self.bottom)
        self.figure.set_layout_engine("none")
        self.total = self.figure.get_figheight()
        self.axes = self.figure.add_axes((0, self.bottom / self.total, 1, height / self.total))
        self.axes.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
        self.axes.set_axis_off()

    def tile(
        self, picture: NDArray[Any], x: float, y: float, width: float, height: float, **look: Any
    ) -> Any:
        """Draws a picture with a thin frame; returns what a colour bar needs."""
        from matplotlib.patches import Rectangle

        extent = (x, x + width, y + height, y)
        drawn = self.axes.imshow(picture, extent=extent, aspect="auto", **look)
        self.axes.add_patch(Rectangle((x, y), width, height, fc="none", ec=LINE, lw=0.6))
        return drawn

    def outline(self, x: float, y: float, width: float, height: float) -> None:
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x, y), width, height, fc="none", ec=ORANGE, lw=1.5))

    def text(self, x: float, y: float, text: str, **look: Any) -> None:
        look = {"ha": "center", "va": "center", "size": 9, "color": SOFT, **look}
        self.axes.text(x, y, text, **look)

    def finish(self, drawn: Any = None, label: str = "") -> Figure:
        if drawn is not None and self.bottom:
            place = self.figure.add_axes((0.3, 0.42 / self.total, 0.4, 0.1 / self.total))
            bar = self.figure.colorbar(drawn, cax=place, orientation="horizontal")
            bar.outline.set_visible(False)
            bar.set_label(label, size=9)
            bar.ax.tick_params(labelsize=8)
        return self.figure


def gallery(
    cells: Sequence[tuple[NDArray[Any], str, str]],
    title: str,
    data: str,
    *,
    columns: int,
    **look: Any,
) -> Figure:
    """Small pictures, each with a line in bold and a soft one above it."""
    pitch = (WIDTH - 0.18) / columns
    captions = 0.28 + 0.16 * any(second for _, _, second in cells)
    shape = cells[0][0].shape
    wide = pitch - 0.1
    tall = wide * shape[0] / shape[1]
    rows = -(-len(cells) // columns)
    sheet = Sheet(title, data, rows * (tall + captions + 0.06), colour_bar=bool(look))
    drawn: Any = None
    for index, (picture, first, second) in enumerate(cells):
        x = 0.12 + pitch * (index % columns)
        y = (tall + captions + 0.06) * (index // columns) + captions
        drawn = sheet.tile(picture if look else _rgb(picture), x, y, wide, tall, **look)
        at = y - 0.28 if second else y - 0.12
        sheet.text(x + wide / 2, at, first, size=10.5, weight="bold", color=INK)
        sheet.text(x + wide / 2, y - 0.1, second, size=8)
    return sheet.finish(drawn, "weight")


def _label_width(names: Sequence[str]) -> float:
    return 0.2 + 0.085 * max(map(len, names), default=1)


def _rgb(picture: NDArray[Any]) -> NDArray[Any]:
    """`(height, width, 3)` from 0 to 1; grey for one channel, stretched where it isn't uint8."""
    values = np.asarray(picture)
    values = values if values.ndim == 3 else values[..., None]
    if values.dtype == np.uint8:
        values = values / 255
    elif values.min() < 0 or values.max() > 1:
        values = (values - values.min()) / (float(np.ptp(values)) or 1.0)
    channels = values if values.shape[-1] == 3 else values[..., :1].repeat(3, axis=-1)
    return np.asarray(channels, float)


def _scale(values: NDArray[Any]) -> tuple[tuple[float, float], str]:
    """Ends and colours: blue to red around 0 where there are negative values."""
    high = float(np.percentile(np.abs(values), 99.5)) or float(np.abs(values).max()) or 1.0
    return ((-high, high), "RdBu_r") if values.min() < 0 else ((0.0, high), "Blues")


def _plain(colour: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([colour])


def percent(value: float) -> str:
    """Never rounded up to a certainty."""
    if value >= 0.999:
        return ">99.9 %" if value < 1 else "100 %"
    return f"{100 * value:.1f} %" if value >= 0.99 else f"{100 * value:.0f} %"


def _short(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
