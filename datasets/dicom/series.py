"""Which images of a heap of files make a CT series, and which are left out or refused, and why."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.dicom import geometry
from fieldsight.datasets.dicom.headers import Image
from fieldsight.datasets.dicom.pixels import LARGEST_SIDE

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
}
SHOWN_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.7": "secondary capture",
    "1.2.840.10008.5.1.4.1.1.88.11": "structured report",
    "1.2.840.10008.5.1.4.1.1.88.33": "structured report",
    "1.2.840.10008.5.1.4.1.1.88.34": "structured report",
    "1.2.840.10008.5.1.4.1.1.88.67": "dose report",
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    "1.2.840.10008.5.1.4.1.1.11.1": "presentation state",
    "1.2.840.10008.5.1.4.1.1.481.3": "structure set",
}
# Words of ImageType that mark pictures computed from a scan instead of slices of it.
NOT_SLICES = {"MPR", "MIP", "MINIP", "MIN_IP", "MAX_IP", "PROJECTION", "PROJECTION IMAGE",
              "REFORMATTED", "VRT", "VR", "3D", "SSD", "CURVED", "SCREEN SAVE", "DOSE",
              "DOSE_INFO", "SUBTRACTION", "PERFUSION", "CPR"}  # fmt: skip
FEW = 3  # images of another orientation that are taken for localizers
NAMED = 6  # things that a note names before it says how many more there are

Key = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Series:
    """Images that belong to one CT series, and what was left out of it.

    `refused` says why it can't be a volume; then nothing else needs to hold.
    """

    images: tuple[Image, ...]
    notes: tuple[str, ...] = ()
    refused: str = ""

    @property
    def uid(self) -> str:
        """Its SeriesInstanceUID."""
        return self.images[0].header.series_uid

    @property
    def private(self) -> frozenset[str]:
        """Words that tell who the patient is, in lower case."""
        return frozenset().union(*(image.header.private for image in self.images[:1]))


def group(images: Iterable[Image]) -> list[Series]:
    """Series by patient, study and SeriesInstanceUID, in the order in which they come first.

    Localizers, derived images and what isn't CT are left out of a series that has slices as well,
    which its notes say; a series of nothing else is refused.
    """
    groups: dict[Key, list[Image]] = defaultdict(list)
    for image in images:
        header = image.header
        groups[header.patient, header.study_uid, header.series_uid].append(image)
    return [_series(members) for members in groups.values()]


def _series(members: list[Image]) -> Series:
    reasons = [_why_not(image) for image in members]
    kept = [image for image, why in zip(members, reasons, strict=True) if not why]
    left_out = Counter(why for why in reasons if why)
    if not kept:
        return Series(tuple(members), refused=left_out.most_common(1)[0][0])
    notes = [f"left out: {_count(number, 'image')}, {why}" for why, number in left_out.items()]
    original = [image for image in kept if not _is_derived(image)]
    if original and len(original) < len(kept):
        number = len(kept) - len(original)
        notes.append(f"left out: {_count(number, 'image')}, derived from the others by its header")
        kept = original
    elif not original:
        notes.append("the header calls all images DERIVED; they are taken for slices all the same")
    kept = _with_places(_without_strays(kept, notes), notes)
    # A bolus monitored at one place, or a picture of the dose, is nothing that failed.
    if len({image.position for image in kept}) < 2 and all(image.position for image in kept):
        return Series(tuple(kept), tuple(notes), f"{_count(len(kept), 'image')} of one place alone")
    return Series(tuple(kept), tuple(notes))


def _why_not(image: Image) -> str:
    """Why an image is no slice of a CT; empty if it is."""
    header = image.header
    words = {word.upper() for word in (*header.image_type, *image.image_type)}
    words |= {word for value in words for word in value.split()}
    shown = SHOWN_CLASSES.get(header.sop_class)
    if shown:
        return f"{shown}, no CT slice"
    if header.modality not in ("CT", ""):
        return f"modality {header.modality[:16]}, no CT"
    if header.sop_class and header.sop_class not in CT_CLASSES:
        return "of a kind that is no CT image"
    if not header.rows or not header.columns:
        return "without an image: cut off?"
    if words & {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"}:
        return "localizer"
    if _is_derived(image) and words & NOT_SLICES:
        return "derived (" + ", ".join(sorted(words & NOT_SLICES)) + "), no slice of the scan"
    if header.samples != 1:
        return "a picture in colour, no CT slice"
    if image.rescale_type not in ("", "HU", "US"):
        return f"values in {image.rescale_type[:16]}, not in Hounsfield units"
    return ""


def _is_derived(image: Image) -> bool:
    kind = image.image_type or image.header.image_type
    return bool(kind) and kind[0].upper() == "DERIVED"


def _without_strays(images: list[Image], notes: list[str]) -> list[Image]:
    """Without the few images that lie across all others: localizers that don't say so."""
    known = [image for image in images if image.orientation is not None]
    if len(known) < 3:
        return images
    try:
        normals = np.array([geometry.cosines(image.orientation or ())[2] for image in known])
    except ValueError:
        return images
    common = np.median(normals, axis=0)
    across = np.abs(normals @ common) < 0.9
    if not 0 < across.sum() <= min(FEW, len(known) // 4):
        return images
    number = int(across.sum())
    notes.append(f"left out: {_count(number, 'image')} across all others, as localizers lie")
    strays = {id(image) for image, is_across in zip(known, across, strict=True) if is_across}
    return [image for image in images if id(image) not in strays]


def _with_places(images: list[Image], notes: list[str]) -> list[Image]:
    """Without the few that don't say where they lie, in a series whose others do."""
    placed = [
        image for image in images if None not in (image.position, image.orientation, image.spacing)
    ]
    lacking = len(images) - len(placed)
    if not 0 < lacking <= min(FEW, len(images) // 4):
        return images
    notes.append(f"left out: {_count(lacking, 'image')} without a place in the patient")
    return placed


def check_alike(images: Sequence[Image]) -> None:
    """Refuse images that can't be planes of one volume.

    Raises:
        ValueError: if there are too few, they lack their place or size, or differ in size,
            orientation or spacing; says what was needed and received.
    """
    if len(images) < 2:
        raise ValueError("at least 2 slices were needed. Received: 1")
    _check_complete(images)
    sizes = Counter((image.header.rows, image.header.columns) for image in images)
    if len(sizes) > 1:
        raise ValueError(f"slices of one size were needed. Received: {_sizes(sizes)}")
    rows, columns = next(iter(sizes))
    if not 1 <= rows <= LARGEST_SIDE or not 1 <= columns <= LARGEST_SIDE:
        raise ValueError(
            f"slices of 1 to {LARGEST_SIDE} rows and columns were needed. "
            f"Received: {rows} x {columns}"
        )
    spacings = {image.spacing for image in images}
    pairs = np.array([spacing for spacing in spacings if spacing is not None])
    if not np.all((pairs > 1e-3) & (pairs < 100)):
        raise ValueError(f"a PixelSpacing in mm was needed. Received: {pairs.tolist()[:3]}")
    if np.ptp(pairs, axis=0).max() > 1e-3 * pairs.min():
        found = ", ".join(f"{row:.4g} x {column:.4g}" for row, column in sorted(pairs.tolist()))
        raise ValueError(f"slices of one PixelSpacing were needed. Received: {found} mm")
    normals = [geometry.cosines(image.orientation or ()) for image in images]
    if max(np.abs(axes - normals[0]).max() for axes in normals) > 10 * geometry.PARALLEL:
        raise ValueError("slices of one orientation were needed. Received: several")


def _check_complete(images: Sequence[Image]) -> None:
    for name, values in (
        ("ImagePositionPatient", [image.position for image in images]),
        ("ImageOrientationPatient", [image.orientation for image in images]),
        ("PixelSpacing", [image.spacing for image in images]),
    ):
        lacking = [i.label for i, value in zip(images, values, strict=True) if value is None]
        if lacking:
            raise ValueError(
                f"{name} was needed in every slice. "
                f"Received: none in {len(lacking)} of {len(images)} ({some(lacking)})"
            )


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    return ", ".join(
        f"{rows} x {columns} in {_count(number, 'slice')}"
        for (rows, columns), number in sizes.most_common()
    )


def without_copies(images: Sequence[Image], notes: list[str]) -> list[Image]:
    """One image a place along the normal; what was in its place as well is told in the notes.

    Copies of one SOPInstanceUID are one image. Where a series holds several acquisitions of the
    same places, the one with most slices is taken, of equals the first.

    Args:
        images: that `check_alike` found alike.
        notes: what is found is added to them.
    """
    first: dict[tuple[str, int | None], Image] = {}
    for image in sorted(images, key=lambda image: not image.is_whole):
        first.setdefault((image.header.sop_instance or image.label, image.frame), image)
    kept = list(first.values())
    if len(kept) < len(images):
        notes.append(f"left out: {_count(len(images) - len(kept), 'copy', 'copies')} of slices "
                     "that are there already")  # fmt: skip
    places = _places(kept)
    if len(places) == len(kept):
        return kept
    acquisitions = _by_acquisition(kept)
    if len(acquisitions) > 1 and len(places) <= len(kept) * 0.75:
        largest = max(acquisitions, key=len)
        if len(_places(largest)) == len(largest) and len(largest) >= 0.9 * len(places):
            notes.append(
                f"the series holds {len(acquisitions)} acquisitions of the same places, of "
                f"{', '.join(str(len(members)) for members in acquisitions)} slices: "
                "the longest is read, of equals the first"
            )
            return largest
    return _first_of_each(kept, places, notes)


def _places(images: Sequence[Image]) -> list[list[int]]:
    positions = np.array([image.position for image in images])
    return geometry.same_place(positions, geometry.cosines(images[0].orientation or ())[2])


def _by_acquisition(images: Sequence[Image]) -> list[list[Image]]:
    groups: dict[int, list[Image]] = defaultdict(list)
    for image in images:
        groups[-1 if image.acquisition is None else image.acquisition].append(image)
    return [groups[number] for number in sorted(groups)]


def _first_of_each(
    images: Sequence[Image], places: list[list[int]], notes: list[str]
) -> list[Image]:
    def rank(index: int) -> tuple[bool, int, int, str]:
        image, header = images[index], images[index].header
        number = header.instance or 0
        return not image.is_whole, image.acquisition or 0, number, header.sop_instance

    kept = [images[min(place, key=rank)] for place in places]
    doubled = [place for place in places if len(place) > 1]
    normal = geometry.cosines(images[0].orientation or ())[2]
    named = [f"{np.array(images[place[0]].position) @ normal:.4g} mm" for place in doubled]
    notes.append(
        f"doubled: {_count(len(doubled), 'place')} along the normal "
        f"{'has' if len(doubled) == 1 else 'have'} more than one slice ({some(named)}); "
        "the first by its numbers is taken"
    )
    return kept


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
