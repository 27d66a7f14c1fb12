"""Actions that belong to no application: what a network costs, what a kernel does."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    import numpy as np

    from fieldsight.core.arithmetic import Description

SHEET_PIXELS = 250_000  # a panel of the contact sheet is about 500 pixels wide


@dataclasses.dataclass(frozen=True, kw_only=True)
class Describe:
    """Print what each layer of a network costs, and how much of a picture it sees.

    Without a name, the networks there are.
    """

    name: tyro.conf.Positional[str | None] = None
    """A network, as `lenet5`."""
    variant: str | None = None
    """Which of a network's variants, as `original`."""
    input_shape: tuple[int, ...] | None = None
    """Height, width and channels of a picture, as `32 32 1`."""
    num_classes: int | None = None
    """How many classes it tells apart."""

    def run(self) -> int:
        """Print the table."""
        from fieldsight.pipelines._training import prepare_backend

        prepare_backend(0)
        if self.name is None:
            for name, build in architectures().items():
                print(f"{name:<12}{_first_line(build)}")
            return 0
        _print_table(describe_by_name(self))
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernels:
    """Draw a picture as each image kernel sees it, on one sheet.

    Blurs, sharpening and embossing keep the colours. Kernels of sum zero are shown of the grey
    picture: grey where they give nothing, brighter where they give more.
    """

    picture: tyro.conf.Positional[Path]
    """A picture in any usual format; a large one is reduced first."""
    out: Path | None = None
    """The sheet, a .png; left out: the picture's name with -kernels.png, in the current folder."""
    convolution: bool = False
    """Turn kernels by 180 degrees, as true convolution does; networks don't."""
    border: Literal["zeros", "nearest", "reflect", "mirror", "wrap"] = "reflect"
    """What lies beyond the border."""

    def run(self) -> int:
        """Draw the sheet, and say where it is."""
        out = Path(f"{self.picture.stem}-kernels.png") if self.out is None else self.out
        if out.suffix.lower() != ".png":
            raise CommandError(f"the sheet is a PNG file: --out must end in .png. Received: {out}")
        draw_sheet(self.picture, out, convolution=self.convolution, border=self.border)
        print(f"{out}: {self.picture.name} under each kernel")
        return 0


def architectures() -> dict[str, Callable[..., Any]]:
    """Return the networks there are: the public functions of `fieldsight.core.architectures`."""
    from fieldsight.core import architectures as package

    names = sorted(name for name in vars(package) if not name.startswith("_"))
    found = {name: getattr(package, name) for name in names}
    return {name: build for name, build in found.items() if inspect.isfunction(build)}


def describe_by_name(settings: Describe) -> Description:
    """Build a network and count what its layers cost.

    Args:
        settings: the network's name, and what it is built with.

    Raises:
        CommandError: if there is no network of that name, it has no such option, or it can't
            be built that way.
    """
    from fieldsight.core.arithmetic import describe

    known = architectures()
    build = known.get(settings.name or "")
    if build is None:
        raise CommandError(
            f"no network is called {settings.name!r}. There are: {', '.join(known)}."
        )
    values = {name: getattr(settings, name) for name in ("variant", "input_shape", "num_classes")}
    options = {name: value for name, value in values.items() if value is not None}
    for option in options.keys() - inspect.signature(build).parameters.keys():
        raise CommandError(f"{settings.name} has no --{option.replace('_', '-')}. Leave it out.")
    try:
        return describe(build(**options))
    except ValueError as error:
        raise CommandError(str(error)) from error


def _print_table(description: Description) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    cells = description.cells()
    # A file or a pipe has no width: there, every column has its place.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    columns = [list(column) for column in zip(*cells, strict=True)]
    if sum(max(map(len, column)) + 2 for column in columns) > console.width:
        columns = [column for column in columns if column[0] not in ("kind", "kernel")]
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        words = column[0] in ("layer", "kind")
        justify: Literal["left", "right"] = "left" if words else "right"
        table.add_column(column[0], column[-1], justify=justify, no_wrap=not words)
    for line in zip(*(column[1:-1] for column in columns), strict=True):
        table.add_row(*line)
    console.print(table)


def draw_sheet(
    picture: Path,
    out: Path,
    *,
    convolution: bool = False,
    border: Literal["zeros", "nearest", "reflect", "mirror", "wrap"] = "reflect",
) -> None:
    """Draw a picture under each kernel of `fieldsight.core.kernels.KERNELS` into a PNG file.

    Args:
        picture: a picture file.
        out: the sheet; written beside, then renamed, so an old one stays whole.
        convolution: turn the kernels by 180 degrees.
        border: what lies beyond the border.

    Raises:
        DataError: if the picture can't be read.
        OSError: if the sheet can't be written.
    """
    from matplotlib.figure import Figure

    from fieldsight.core.kernels import KERNELS
    from fieldsight.datasets.pictures import read_picture

    image = read_picture(picture, max_pixels=SHEET_PIXELS).image
    height, width = image.shape[:2]
    panel_height = min(max(3 * height / width, 1), 9)
    figure = Figure(figsize=(12, 3 * (panel_height + 0.4)), layout="constrained")
    panels = figure.subplots(3, 4).ravel()
    for panel in panels:
        panel.set_axis_off()
    panels[0].imshow(image)
    panels[0].set_title("the picture")
    for panel, (name, kernel) in zip(panels[1:], KERNELS.items(), strict=False):
        seen = see(image, kernel(), convolution=convolution, border=border)
        panel.imshow(seen, cmap="gray", vmin=0, vmax=255)
        panel.set_title(name.replace("_", " "))
    _save(figure, out)


def see(
    image: np.ndarray, kernel: np.ndarray, *, convolution: bool = False, border: Any = "reflect"
) -> np.ndarray:
    """Return what a kernel makes of a picture, fit to be shown.

    Args:
        image: `(rows, columns, 3)` uint8.
        kernel: `(height, width)`.
        convolution: turn the kernel by 180 degrees.
        border: what lies beyond the border.

    Returns:
        uint8: `(rows, columns, 3)`, clipped, for a kernel that keeps brightness; for one of sum
        zero `(rows, columns)` of the grey picture, 128 where the kernel gives 0, scaled so that
        all but the strongest hundredth of pixels are within range.
    """
    import numpy as np

    from fieldsight.core.kernels import apply_kernel

    if abs(kernel.sum()) > 1e-3:
        answer = apply_kernel(image, kernel, convolution=convolution, border=border)
        return np.clip(np.round(answer), 0, 255).astype("uint8")
    grey = image.astype("float32").mean(axis=-1)
    answer = apply_kernel(grey, kernel, convolution=convolution, border=border)
    strongest = max(float(np.quantile(np.abs(answer), 0.99)), 1.0)
    return np.clip(np.round(128 + 127 * answer / strongest), 0, 255).astype("uint8")


def _save(figure: Any, out: Path) -> None:
    partial = out.with_name(f".{uuid.uuid4().hex[:8]}.{out.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(partial, dpi=150, format="png", metadata={"Software": None})
        partial.replace(out)
    except OSError as error:
        error.filename = str(out)  # The user knows this name, not the partial file's.
        raise
    finally:
        partial.unlink(missing_ok=True)


def _first_line(of: Any) -> str:
    return (inspect.getdoc(of) or "").partition("\n")[0]
