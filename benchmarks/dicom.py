"""What it takes to read a CT series from its folder, beside SimpleITK on the same files.

Ours is `scans.find` and `scans.read`: every file of the folder is looked at, as if nobody knew
what is in it. Theirs is SimpleITK's GDCM series reader: the names in order, then the voxels. Both
give the same array and geometry, which is checked first. Pairs are interleaved; the files are in
the system's cache after the warm-up.

    python benchmarks/dicom.py [--data-dir DIR] [--pairs 30]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

sys.path.append(str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import _pairs

from fieldsight.datasets import scans
from fieldsight.datasets.volume import Volume

SERIES = Path("lung", "lung_pet_ct_dx", "A0001")
WARM_UPS = 3  # the first runs also map fresh memory


def ours(folder: Path) -> Volume:
    """The series by fieldsight."""
    (found,) = scans.find([folder])
    return scans.read(found)


def theirs(folder: Path) -> Any:
    """The series by SimpleITK."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def check_same(volume: Volume, image: Any) -> None:
    """Refuse to time two readers that don't give the same."""
    turned = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    same = (
        np.array_equal(volume.hounsfield, sitk.GetArrayFromImage(image))
        and np.array_equal(volume.affine[:3, :3], turned[:, ::-1])
        and np.array_equal(volume.affine[:3, 3], image.GetOrigin())
    )
    if not same:
        raise RuntimeError("the readers give different volumes: one of the two is wrong")


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one run, its result's release included."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure the real series."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=_pairs.ENOUGH, help="runs of each")
    parser.add_argument("--data-dir", type=Path, help="the folder that holds lung/")
    asked = parser.parse_args()
    usual = os.environ.get("FIELDSIGHT_DATA", _pairs.ROOT.parent / "shared" / "data")
    patient = Path(usual) / SERIES
    if asked.data_dir is not None and (asked.data_dir / SERIES).is_dir():
        patient = asked.data_dir / SERIES
    if not patient.is_dir():
        print(f"the real series isn't in {SERIES} of the data folder: nothing is measured")
        return
    (folder,) = (path for path in patient.iterdir() if path.is_dir())
    volume = ours(folder)
    check_same(volume, theirs(folder))
    a, b = _pairs.interleaved(
        lambda _: timed(lambda: ours(folder)),
        lambda _: timed(lambda: theirs(folder)),
        asked.pairs,
        warm_ups=WARM_UPS,
    )
    ratio = _pairs.ratio(a, b)
    size = " x ".join(map(str, volume.shape))
    _pairs.report(
        f"a series of {size} voxels, found and read",
        [
            ("fieldsight", _pairs.spread(a)),
            ("SimpleITK, GDCM series reader", _pairs.spread(b)),
            ("fieldsight / SimpleITK", str(ratio)),
            ("at least as fast", "met" if ratio.meets(1.0) else "not met"),
        ],
        {
            "voxels": list(volume.shape),
            "ratio": ratio.median,
            "low": _pairs.number(ratio.low),
            "high": _pairs.number(ratio.high),
            "pairs": ratio.pairs,
            "met": ratio.meets(1.0),
            "seconds": a,
            "seconds_simpleitk": b,
        },
        figure=(
            f"{size} voxels of implicit-VR DICOM found and read: fieldsight / SimpleITK {ratio}; "
            f"{_pairs.spread(a)} and {_pairs.spread(b)}; same array and geometry"
        ),
        data="real: TCIA Lung-PET-CT-Dx A0001",
    )


if __name__ == "__main__":
    main()
