"""CSV files of labels, read row by row, so that a mistake is told with its line."""

import codecs
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from fieldsight.datasets.errors import DataError, DatasetNotFoundError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        path: the file.
        line: its number, from 1.
        cells: text by column, without blanks around it.
        decimal_comma: whether 1,5 is a number: where commas don't part the cells.
    """

    path: Path
    line: int
    cells: Mapping[str, str]
    decimal_comma: bool = False

    def text(self, column: str, default: str | None = None) -> str:
        """What stands in a column.

        Raises:
            DataError: if it is empty or absent and there is no default.
        """
        value = self.cells.get(column, "")
        if value:
            return value
        if default is None:
            raise self.error(f"{column} was needed. Received: an empty cell")
        return default

    def number(self, column: str) -> float:
        """What stands in a column, as a finite number.

        Raises:
            DataError: if it is none.
        """
        text = self.text(column)
        try:
            value = float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            value = float("nan")
        if not isfinite(value):
            raise self.error(
                f"{column} must be a finite number, with a decimal point. Received: {text[:40]!r}"
            )
        return value

    def chosen(self, column: str, choices: Sequence[str]) -> str:
        """What stands in a column, which must be one of these; an empty cell is "".

        Raises:
            DataError: if it is another.
        """
        text = self.text(column, "")
        if text and text not in choices:
            raise self.error(
                f"{column} must be one of {', '.join(choices)}. Received: {text[:40]!r}"
            )
        return text

    def error(self, what: str) -> DataError:
        """A mistake in this row."""
        return DataError(f"{self.path}, line {self.line}: {what}. Correct the row.")


def is_number(text: str) -> bool:
    """Whether a cell is one, as Python writes numbers."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read(path: Path, needed: Sequence[str], *, names: Sequence[str] | None = None) -> list[Row]:
    """The rows of a CSV file with a heading, or without one whose columns are known.

    Args:
        path: the file, UTF-8, its cells parted by commas; or by semicolons or tabs, as some
            spreadsheets have it, and then with decimal commas or points.
        needed: columns it must have; others are read too.
        names: of the columns, where the first line is no heading but a row.

    Raises:
        DatasetNotFoundError: if it isn't there.
        DataError: if it can't be read, lacks a column, or a row has not as many cells as the
            heading.
    """
    lines, mark = _lines(path)
    first = 0 if names is not None else 1
    if names is None:
        names = [name.strip() for name in lines[0][1]] if lines else []
    missing = [name for name in needed if name not in names]
    if missing or len(set(names)) < len(names):
        raise DataError(
            f"{path}: the columns {','.join(needed)} were needed, each once. Received: "
            f"{','.join(names)[:200] or 'an empty file'}. Give the first line these names."
        )
    rows = []
    for line, cells in lines[first:]:
        by_name = dict(zip(names, (cell.strip() for cell in cells), strict=False))
        row = Row(path, line, by_name, decimal_comma=mark != ",")
        if len(cells) != len(names):
            raise row.error(f"{len(names)} cells were needed. Received: {len(cells)}")
        rows.append(row)
    return rows


def headings(path: Path) -> list[str]:
    """The names in a CSV file's first line; none if it can't be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            return [name.strip() for name in next(csv.reader([first], delimiter=_mark(first)), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def encoding_trouble(path: Path) -> str:
    """What is wrong with a text file's encoding, to go on after its name; "" if it is UTF-8."""
    try:
        content = path.read_bytes()
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        kind = "is in UTF-16" if content[:2] in _UTF16 else "isn't in UTF-8"
        return f"{kind}: save it as CSV in UTF-8"
    except OSError as error:
        return f"can't be read ({(error.strerror or str(error)).lower()})"
    return ""


def _mark(heading: str) -> str:
    """What parts the cells of a heading."""
    return max((",", ";", "\t"), key=heading.count)


def _lines(path: Path) -> tuple[list[tuple[int, list[str]]], str]:
    """The cells of each line that has any, with its number, and what parts them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            mark = _mark(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=mark)
            lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
            return lines, mark
    except FileNotFoundError as error:
        raise DatasetNotFoundError(
            f"{path}: a table of labels was needed. Received: no such file. Copy it there."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: a CSV file in UTF-8 was needed. Received: {error}. Save it as such."
        ) from error
