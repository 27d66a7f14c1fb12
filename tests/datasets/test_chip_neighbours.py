"""Chips that were cut side by side are found by their edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fieldsight.datasets import planet
from fieldsight.datasets.chip_neighbours import blocks, with_blocks

Array = NDArray[Any]


def write(path: Path, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=256, height=256, count=4, dtype="uint16"
    ) as file:
        file.write(np.moveaxis(values, -1, 0))


def cut(folder: Path, scene: Array, rng: np.random.Generator) -> dict[str, tuple[int, int]]:
    """Chips of a scene without a gap, named in no order; returns where each was."""
    places = [
        (row, column)
        for row in range(scene.shape[0] // 256)
        for column in range(scene.shape[1] // 256)
        if scene[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256].all()
    ]
    numbers = rng.permutation(len(places))
    for number, (row, column) in zip(numbers, places, strict=True):
        chip = scene[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
        write(folder / f"train_{number}.tif", chip)
    return {f"train_{n}": place for n, place in zip(numbers, places, strict=True)}


def test_neighbours_of_a_real_scene_are_found_and_no_others_d7(
    satellite: Path, tmp_path: Path
) -> None:
    path = satellite / "landsat8" / "LC08_L1TP_224078_20200518_20200518_01_RT.TIF"
    with rasterio.open(path) as file:
        values = np.moveaxis(file.read([1, 2, 3, 3]), 0, -1)
    places = cut(tmp_path, values, np.random.default_rng(0))
    chips = planet.find([tmp_path])
    found = blocks(chips)
    steps = [
        np.subtract(places[chips.names[second]], places[chips.names[first]]).tolist()
        for first, second in found.pairs
    ]
    # Right of it or below it, every one; of the 63 pairs that there are, nine in ten at least.
    assert all(step in ([0, 1], [1, 0]) for step in steps)
    beside = set(places.values())
    true = sum((r, c + 1) in beside for r, c in beside) + sum(
        (r + 1, c) in beside for r, c in beside
    )
    assert true == 63
    assert len(steps) >= 0.9 * true
    assert len(np.unique(found.groups)) == 1  # by way of one another, all are one block


def test_two_scenes_stay_two_blocks_and_what_has_no_texture_stays_alone_d7(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name in "ab":
        # One pixel's light falls on the next as well, as in every camera.
        ground = gaussian_filter(rng.normal(5000, 2000, (256, 768, 4)), (1.2, 1.2, 0))
        for part in range(3):
            chip = ground[:, part * 256 : part * 256 + 256]
            write(tmp_path / f"{name}_{part}.tif", chip.astype("uint16"))
    for number in range(2):
        write(tmp_path / f"cloud_{number}.tif", np.full((256, 256, 4), 9000, "uint16"))
    chips = with_blocks(planet.find([tmp_path]))
    groups = dict(zip(chips.names, chips.groups, strict=True))
    assert {groups[f"a_{part}"] for part in range(3)} == {"a_0"}
    assert {groups[f"b_{part}"] for part in range(3)} == {"b_0"}
    assert (groups["cloud_0"], groups["cloud_1"]) == ("cloud_0", "cloud_1")
    assert "6 of 8 chips lie in 2 blocks" in chips.notes[-1]


@pytest.mark.parametrize("count", [0, 1])
def test_a_chip_alone_has_no_neighbour(tmp_path: Path, count: int) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    for number in range(count):
        write(tmp_path / f"x_{number}.tif", np.ones((256, 256, 4), "uint16"))
    found = blocks(planet.find([tmp_path]))
    assert len(found.groups) == count
    assert found.found == 0


def test_a_chip_that_can_not_be_read_stays_alone_c11(tmp_path: Path) -> None:
    ground = gaussian_filter(np.random.default_rng(2).normal(5000, 2000, (256, 768, 4)), (1, 1, 0))
    for part in range(3):
        write(tmp_path / f"a_{part}.tif", ground[:, part * 256 : part * 256 + 256].astype("uint16"))
    found = planet.find([tmp_path])
    whole = (tmp_path / "a_2.tif").read_bytes()
    (tmp_path / "a_2.tif").write_bytes(whole[: len(whole) // 2])  # its header is sound
    assert blocks(found).groups.tolist() == ["a_0", "a_0", "a_2"]
