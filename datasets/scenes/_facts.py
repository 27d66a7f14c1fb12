"""What a scene's name, tags and neighbours tell of it, whoever made it."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from fieldsight.datasets.errors import DataError

LARGEST_METADATA = 2**26  # bytes
SIMULATED_TAG = "FIELDSIGHT_SIMULATED"
SIMULATED_FILE = "SIMULATED.json"

_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?=T\d{6}|\D|$)"
)


def date_in(text: str) -> dt.date | None:
    """The first date in a name, as 20200518 or 2020-05-18.

    Example:
        >>> date_in("20200518_134211_0f28_3B_AnalyticMS_SR")
        datetime.date(2020, 5, 18)
    """
    for year, month, day in _DATE.findall(text):
        try:
            return dt.date(int(year), int(month), int(day))
        except ValueError:  # such as 30 February
            continue
    return None


def is_simulated(path: Path, tags: Iterable[Mapping[str, str]] = ()) -> bool:
    """Whether a tag of a file says so, or SIMULATED.json beside it or one folder above."""
    if any(each.get(SIMULATED_TAG, "0") not in ("0", "", "NO") for each in tags):
        return True
    above = path.absolute().parents
    places = [*above[:2], path] if path.is_dir() else above[:2]
    return any((place / SIMULATED_FILE).is_file() for place in places)


def stem(path: Path) -> str:
    """A file's or folder's name without the ending of a raster or of a product."""
    return re.sub(r"\.(tiff?|vrt|jp2|j2k|safe)$", "", path.name, flags=re.IGNORECASE)


def xml(path: Path) -> Element:
    """The root of a product's metadata, which come from outside: no entity is believed.

    Raises:
        DataError: if it isn't well-formed, is enormous, or declares entities.
    """
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        if path.stat().st_size > LARGEST_METADATA:
            raise ValueError("more bytes than metadata have")
        root: Element = ElementTree.parse(path).getroot()
    except (OSError, ParseError, ValueError, DefusedXmlException) as error:
        raise DataError(
            f"{path}: the product's metadata in XML were needed. Received: "
            f"{(str(error).splitlines() or [type(error).__name__])[0][:120]}. Copy the product "
            "again."
        ) from error
    return root


def plain(tag: Any) -> str:
    """An element's name without its namespace."""
    return str(tag).rpartition("}")[2]


def every(root: Element, name: str) -> list[Element]:
    """All elements of this name, in any namespace."""
    return [element for element in root.iter() if plain(element.tag) == name]


def number(text: str | None, what: str, path: Path) -> float:
    """A finite number in a product's metadata.

    Raises:
        DataError: if it is none.
    """
    try:
        value = float(text or "")
        if abs(value) < float("inf"):
            return value
    except ValueError:
        pass
    raise DataError(
        f"{path}: {what}, a number, was needed. Received: {str(text)[:40]!r}. Copy the product's "
        "metadata again."
    )
