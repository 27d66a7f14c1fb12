"""Actions that belong to no application: what a network costs, what a kernel does."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    import numpy as np

SHEET_PIXELS = 250_000  # a panel of the contact sheet is about 500 pixels wide


@dataclasses.dataclass(frozen=True, kw_only=True)
class Describe:
    """Print what each layer of a network costs, and how much of a picture it sees.

    Without a name: all networks there are, their parameters, multiply-accumulates, memory,
    receptive field and paper. No weights are drawn, so that even the largest take no memory.
    """

    name: tyro.conf.Positional[str | None] = None
    """A network, as `resnet50`."""
    variant: str | None = None
    """Which of a network's variants, as `original` of `lenet5`."""
    input_shape: tuple[int, ...] | None = None
    """Sides and channels of a picture, as `32 32 1`, or of a volume, as `64 64 64 1`."""
    num_classes: int | None = None
    """How many classes it tells apart."""
    num_outputs: int | None = None
    """How many numbers it gives, where they aren't classes."""
    filters: int | None = None
    """Filters of the first stage."""
    depth: int | None = None
    """How often the map is halved, of `unet`."""
    units: tuple[int, ...] | None = None
    """Units of each hidden layer, of `mlp`."""
    padding: str | None = None
    """`same` or `valid`, of `unet`."""
    residual: bool = False
    """Blocks with shortcuts, of `unet`."""
    normalization: bool = False
    """Batch normalisation, of `unet`."""
    squeeze_excitation: bool = False
    """Channels weighed by their means, of the ResNets."""
    antialiased: bool = False
    """A blur before each stride, of the ResNets."""
    auxiliary: bool = False
    """The second output, of `inception_v3`."""
    scale: bool = False
    """A scale in each normalisation, of `inception_v3`."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Print the table."""
        from fieldsight.pipelines import _describe
        from fieldsight.pipelines._training import prepare_backend

        options = self.options()
        if self.name is None and options:
            raise CommandError(
                f"--{next(iter(options)).replace('_', '-')} is a network's: name one, as in "
                "fieldsight describe resnet50."
            )
        prepare_backend(0)
        if self.name is None:
            _describe.print_all(list(_describe.published()), as_json=self.json)
        else:
            _describe.print_one(_describe.measure(self.name, options), as_json=self.json)
        return 0

    def options(self) -> dict[str, Any]:
        """What the network is built with: all that was given."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        given = {k: v for k, v in values.items() if v is not None and v is not False}
        return {k: v for k, v in given.items() if k not in ("name", "json")}


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
