"""The last page of `make demo`: one table of what every application's `train --json` printed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fieldsight.pipelines import _console
from fieldsight.pipelines._errors import CommandError


def rows(application: str, figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each figure with an interval, the paired difference included.

    Where there are many, "headline" names those that are shown.

    Args:
        application: its name on the command line.
        figures: the object that `train --json` prints, named as in MLflow: `test_<metric>`,
            `test_<metric>_low`, `test_<metric>_high`, `baseline_test_<metric>`.

    Returns:
        Rows of application, metric, figure, 95 % interval, baseline.

    Example:
        >>> rows("digits", {"test_accuracy": 0.97, "test_accuracy_low": 0.9,
        ...                 "test_accuracy_high": 1.0, "seconds": 30.0})
        [('digits', 'accuracy', '0.9700', '0.9000 to 1.0000', '')]
    """
    found: list[tuple[str, ...]] = []
    for name in figures.get("headline", figures):
        value = figures.get(name)
        low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
        if not name.startswith("test_") or None in (value, low, high):
            continue
        baseline = figures.get(f"baseline_{name}")
        found.append(
            (
                application,
                name.removeprefix("test_").replace("_", " "),
                f"{value:.4f}",
                f"{low:.4f} to {high:.4f}",
                "" if baseline is None else f"{baseline:.4f}",
            )
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of the files that are named, one an application."""
    from rich.table import Table

    table = Table(title="every application, on its test split")
    for heading in ("application", "metric", "test", "95 % interval", "baseline"):
        table.add_column(
            heading, justify="left" if heading in ("application", "metric") else "right"
        )
    for path in map(Path, sys.argv[1:] if arguments is None else arguments):
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CommandError(f"{path.name}: one JSON object was needed. {error}") from error
        for row in rows(path.stem, figures):
            table.add_row(*row)
    _console.console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
