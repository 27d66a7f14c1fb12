"""Volumes in one file: MetaImage (.mhd with its voxels beside it, .mha) and NIfTI, through ITK.

ITK gives LPS for both: it turns NIfTI's RAS. Nothing of a header but its geometry is kept.
"""

from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from fieldsight.datasets import _whole_image
from fieldsight.datasets.dicom.pixels import AIR, LOWEST
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.sample import Array
from fieldsight.datasets.volume import Volume, thick_slices

ENDINGS: dict[str, Literal["mhd", "nifti"]] = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".mhd": "mhd",
    ".mha": "mhd",
}
LARGEST_VOLUME = 2**33  # voxels


def kind(name: str) -> Literal["mhd", "nifti"] | None:
    """What a file is by its name's ending; None if it is no image file."""
    return ENDINGS.get(ending(name))


def ending(name: str) -> str:
    """The ending by which a file is known, in lower case; "" for others."""
    return next((known for known in ENDINGS if name.lower().endswith(known)), "")


def stem(name: str) -> str:
    """The name without its ending: LUNA16's is the SeriesInstanceUID."""
    return name[: len(name) - len(ending(name))]


def voxels_beside(path: Path) -> str | None:
    """The file that an .mhd names for its voxels; None if they are in the file itself.

    Raises:
        ValueError: if it names one in another folder, or several.
    """
    if path.suffix.lower() != ".mhd":
        return None
    name = _whole_image.metaimage_header(path)[0].get("elementdatafile", "")
    if name.upper() in ("LOCAL", ""):
        return None
    if PurePosixPath(name).name != name or "\\" in name or "%" in name or name == "LIST":
        raise ValueError("voxels in another folder")
    return name


def size(path: str | Path) -> tuple[int, int, int]:
    """Planes, rows and columns as a header says.

    Raises:
        DataError: if it isn't a header of a volume in grey.
    """
    return _information(Path(path))[1]


def read(path: Path, name: str, series_uid: str) -> Volume:
    """The volume of a file.

    Axes are put in the order in which planes lie nearest to axial; nothing is turned over.

    Args:
        path: the file.
        name: of the volume, and for messages.
        series_uid: of the volume.

    Raises:
        DataError: if it can't be read, isn't a volume in grey, or can't be Hounsfield units.
    """
    reader, shape = _information(path, name)
    try:
        missing = _whole_image.missing_voxels(path)
        if missing:
            raise _broken(name, missing)
        image = reader.Execute()
    except (RuntimeError, MemoryError, OSError) as error:
        raise _broken(name, "what ITK can't read") from error
    import SimpleITK as sitk  # noqa: N813

    values = sitk.GetArrayFromImage(image).reshape(shape)
    notes: list[str] = []
    affine = _affine(image)
    order = _axial(affine)
    if order != (0, 1, 2):
        values = np.ascontiguousarray(values.transpose(order))
        affine = affine[:, [*order, 3]]
        notes.append("its axes were put in the order of planes, rows and columns")
    hounsfield = _hounsfield(values, name, notes)
    step, *sides = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    notes += thick_slices(step, max(sides))
    return Volume(hounsfield, affine, name=name, series_uid=series_uid, notes=tuple(notes))


def _broken(name: str, voxels: str) -> DataError:
    return DataError(
        f"{name}: a whole image file was needed. Received: of its voxels {voxels}. Copy it again, "
        "with the file beside it where there is one."
    )


def _information(path: Path, name: str = "") -> tuple[Any, tuple[int, int, int]]:
    import SimpleITK as sitk  # noqa: N813

    name = name or stem(path.name)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        if not _whole_image.has_header(path):
            raise RuntimeError("no header")
        reader.SetImageIO("MetaImageIO" if kind(path.name) == "mhd" else "NiftiImageIO")
        reader.ReadImageInformation()
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{name}: a MetaImage or NIfTI file was needed. Received: a header that ITK can't "
            f"read{_reason(error)}. Copy or convert it again."
        ) from error
    sides = [int(side) for side in reader.GetSize()]
    if (
        len(sides) < 3
        or reader.GetNumberOfComponents() != 1
        or any(side != 1 for side in sides[3:])
        or min(sides) < 1
        or sides[2] < 2
    ):
        raise DataError(
            f"{name}: a volume of one value a voxel was needed. Received: sides "
            f"{' x '.join(map(str, sides))}, {reader.GetNumberOfComponents()} values a voxel. "
            "Convert one volume of it."
        )
    shape = sides[2], sides[1], sides[0]
    if shape[0] * shape[1] * shape[2] > LARGEST_VOLUME:
        raise DataError(
            f"{name}: at most {LARGEST_VOLUME:,} voxels were needed. Received: "
            f"{' x '.join(map(str, shape))}. Crop it."
        )
    return reader, shape


def _reason(error: RuntimeError | OSError) -> str:
    text = str(error)
    return " (axes that aren't at right angles)" if "orthonormal" in text else ""


def _affine(image: Any) -> Array:
    """`(4, 4)` of an ITK image's first three axes, from plane, row, column to LPS mm."""
    sides = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(sides, sides)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = (direction * np.array(image.GetSpacing()[:3]))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()[:3]
    return affine


def _axial(affine: Array) -> tuple[int, int, int]:
    """The axes in the order that puts the one nearest to z first, then y, then x."""
    along = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    plane = int(along[2].argmax())
    rest = [axis for axis in range(3) if axis != plane]
    rows, columns = rest if along[1, rest[0]] >= along[1, rest[1]] else rest[::-1]
    return plane, rows, columns


def _hounsfield(values: Array, name: str, notes: list[str]) -> Array:
    if not np.isfinite(low := values.min()) or not np.isfinite(values.max()):
        notes.append("values that are no numbers were taken for air")
        values = np.nan_to_num(values, nan=AIR, posinf=AIR, neginf=AIR)
        low = values.min()
    if low >= 0:
        raise DataError(
            f"{name}: Hounsfield units were needed, in which air is {AIR}. Received: values from "
            f"{low:g} to {values.max():g}, as a mask or a picture has. Give the scan itself."
        )
    whole = values.dtype.kind in "iu" or bool(np.all(values == np.rint(values)))
    padded = values <= LOWEST
    if padded.any():
        values = np.where(padded, values.dtype.type(AIR), values)
    fits = values.min() >= -32768 and values.max() <= 32767
    return values.astype(np.int16 if whole and fits else np.float32, copy=False)
