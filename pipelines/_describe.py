"""What `fieldsight describe` prints: each network's figures and paper, or one's layer by layer."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    from fieldsight.core.arithmetic import Description

# Published forms that are no variant of their network.
ALSO: dict[str, list[dict[str, Any]]] = {"inception_v3": [{"auxiliary": True, "scale": True}]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One network in one of its published forms.

    Attributes:
        name: of the function that builds it.
        options: what it is built with, if not with its defaults.
        input_shape: without the batch.
        figures: what its layers cost.
        reference: where its docstring cites its papers, on one line.
    """

    name: str
    options: Mapping[str, Any]
    input_shape: tuple[int | None, ...]
    figures: Description
    reference: str

    @property
    def title(self) -> str:
        """The arguments of `fieldsight describe` that give it again."""
        return " ".join([self.name, *(_flag(*option) for option in self.options.items())])

    @property
    def paper(self) -> str:
        """Authors and year, of the paper whose year its variant names, or of the first."""
        papers = citations(self.reference)
        year = str(self.options.get("variant", ""))[:4]
        return next((paper for paper in papers if paper.endswith(year)), "") or "".join(papers[:1])

    def to_dict(self) -> dict[str, Any]:
        """Its figures, as JSON writes them."""
        figures = self.figures
        return {
            "network": self.name,
            "options": dict(self.options),
            "input_shape": self.input_shape,
            "trainable": figures.trainable,
            "total": figures.total,
            "connections": figures.connections,
            "macs": figures.macs,
            "activation_bytes": figures.activation_bytes,
            "receptive_field": figures.map_field,
            "paper": self.paper,
        }


def _flag(option: str, value: Any) -> str:
    flag = f"--{option.replace('_', '-')}"
    if value is True:
        return flag
    values = value if isinstance(value, tuple | list) else (value,)
    return " ".join([flag, *map(str, values)])


def architectures() -> dict[str, Callable[..., Any]]:
    """Return the networks there are: the public functions of `fieldsight.core.architectures`."""
    from fieldsight.core import architectures as package

    names = sorted((name for name in vars(package) if not name.startswith("_")), key=_by_number)
    found = {name: getattr(package, name) for name in names}
    return {name: build for name, build in found.items() if inspect.isfunction(build)}


def _by_number(name: str) -> list[tuple[str, int]]:
    """Sort resnet18 before resnet101."""
    return [(word, int(digits or 0)) for word, digits in re.findall(r"(\D+)(\d*)", name)]


def measure(name: str, options: Mapping[str, Any]) -> Entry:
    """Build a network, without drawing its weights, and count what its layers cost.

    Args:
        name: of the network.
        options: what it is built with.

    Raises:
        CommandError: if there is no network of that name, it has no such option, or it can't
            be built that way.
    """
    from fieldsight.core.arithmetic import abstract, describe

    known = architectures()
    build = known.get(name)
    if build is None:
        raise CommandError(f"no network is called {name!r}. There are: {', '.join(known)}.")
    for option in options.keys() - inspect.signature(build).parameters.keys():
        raise CommandError(f"{name} has no --{option.replace('_', '-')}. Leave it out.")
    try:
        model = abstract(lambda: build(**options))
    except ValueError as error:
        raise CommandError(str(error)) from error
    return Entry(
        name=name,
        options=options,
        input_shape=tuple(model.inputs[0].shape[1:]),
        figures=describe(model),
        reference=reference(build),
    )


def published() -> Iterator[Entry]:
    """Yield every network in its default form and in the others that are published."""
    for name, build in architectures().items():
        variants = typing.get_args(typing.get_type_hints(build).get("variant"))
        default = inspect.signature(build).parameters.get("variant")
        forms: list[dict[str, Any]] = [{}]
        forms += [{"variant": v} for v in variants if default is None or v != default.default]
        for options in [*forms, *ALSO.get(name, [])]:
            yield measure(name, options)


def reference(build: Callable[..., Any]) -> str:
    """Return the reference of a function's docstring on one line, or of the one that it names."""
    doc = inspect.getdoc(build) or ""
    if found := re.search(r"^Reference:\n((?:    .*\n)+)", doc, re.MULTILINE):
        return " ".join(found[1].split())
    other = re.search(r"as `(\w+)`", doc)
    kin = getattr(inspect.getmodule(build), other[1], None) if other else None
    return reference(kin) if kin is not None else ""


def citations(text: str) -> list[str]:
    """Return authors and year of each paper that a reference cites.

    Example:
        >>> citations("He, Zhang, Sun, Deep nets, CVPR 2016; Zhang, Shift again, ICML 2019.")
        ['He et al. 2016', 'Zhang 2019']
    """
    shown = []
    for part in text.split("; "):
        # Not the 2003 of arXiv 2003.01234.
        year = re.search(r"(?<![\d.])(?:19|20)\d\d(?![\d]|\.\d)", part)
        if year:
            shown.append(f"{_authors(part)} {year[0]}")
    return shown


def _authors(citation: str) -> str:
    names: list[str] = []
    for part in citation.split(", "):
        if part.endswith(" et al."):
            return part
        if " " in part or not part.isalpha():  # The title has several words.
            break
        names.append(part)
    if len(names) > 2:
        return f"{names[0]} et al."
    return " and ".join(names)


def print_one(entry: Entry, *, as_json: bool) -> None:
    """Print a network's layers, their sums, and its paper."""
    figures = entry.figures
    if as_json:
        layers = [dataclasses.asdict(row) for row in figures.rows]
        facts = {**entry.to_dict(), "layers": layers, "reference": entry.reference}
        print(json.dumps(facts, default=float))  # A stride may be a fraction.
        return
    cells = figures.cells()
    spare = ("kernel", "kind", "stride", "connections", "bytes")
    _print_table([list(column) for column in zip(*cells, strict=True)], spare, summed=True)
    memory = figures.activation_bytes
    lines = {
        "input": "x".join(_known(side) for side in entry.input_shape),
        "parameters": f"{figures.trainable:,} trainable, {figures.total:,} total "
        "(with running statistics and fixed weights)",
        "MACs": _known(figures.macs),
        "connections": f"{_known(figures.connections)}: as many weights, were none shared",
        "memory": f"{_megabytes(memory)} of activations for one example, kept for training; "
        f"{_megabytes(4 * figures.total)} of weights in float32",
        "field": f"{_field(figures.map_field)} pixels of each side are seen by a place of the "
        "last map, which may be more than there are",
        "paper": entry.reference or "none",
    }
    for word, line in lines.items():
        print(f"{word:<12}{line}")


def print_all(entries: list[Entry], *, as_json: bool) -> None:
    """Print a line for each network."""
    if as_json:
        print(json.dumps({"architectures": [entry.to_dict() for entry in entries]}))
        return
    columns = [["network"], ["input"], ["trainable"], ["total"]]
    columns += [["MACs"], ["memory"], ["field"], ["paper"]]
    for entry in entries:
        figures = entry.figures
        values = [
            entry.title,
            "x".join(map(_known, entry.input_shape)),
            f"{figures.trainable:,}",
            f"{figures.total:,}",
            _in_billions(figures.macs),
            _megabytes(figures.activation_bytes),
            _field(figures.map_field),
            entry.paper,
        ]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    _print_table(columns, ("memory", "input"), summed=False)
    print(
        "trainable: what training changes; total: running statistics and fixed weights too\n"
        "MACs: multiply-accumulates of one example; memory: its activations, kept for training\n"
        "field: pixels along each side that a place of the last map sees\n"
        "fieldsight describe NETWORK: its layers one by one"
    )


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _in_billions(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 1e9:.3f} G" if count >= 1e8 else f"{count / 1e6:.3f} M"


def _megabytes(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def _field(sides: tuple[int | None, ...]) -> str:
    if not sides:
        return "all"
    return _known(sides[0]) if len(set(sides)) == 1 else "x".join(map(_known, sides))


def _print_table(columns: list[list[str]], spare: tuple[str, ...], *, summed: bool) -> None:
    """Print columns, heading first and sum last; spare ones are left out where it is narrow."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # A file or a pipe has no width: there, every column has its place.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for name in spare:
        if sum(max(map(len, column)) + 2 for column in columns) <= console.width:
            break
        columns = [column for column in columns if column[0] != name]
    table = Table(box=box.SIMPLE_HEAD, show_footer=summed, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        words = column[0] in ("layer", "kind", "network", "paper")
        justify: Literal["left", "right"] = "left" if words else "right"
        footer = column[-1] if summed else ""
        table.add_column(column[0], footer, justify=justify, no_wrap=not words)
    for line in zip(*(column[1 : -1 if summed else None] for column in columns), strict=True):
        table.add_row(*line)
    console.print(table)
