"""Scans made ready: geometry, resampling, lungs with what grows on their wall, the cache."""

import dataclasses
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from defusedxml.ElementTree import parse
from scipy import ndimage

from fieldsight.datasets import lung_preparation, scans
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.lung_preparation import cache, resampling
from fieldsight.datasets.lung_preparation.cache import cached, is_cached
from fieldsight.datasets.lung_preparation.resampling import Axis
from fieldsight.datasets.nodules import Nodule, Scan
from fieldsight.datasets.volume import Volume

Array = Any
# In the left lung, whose half axes are 55, 85 and 110 mm around (75, 0, 0).
FREE = (80.0, 0.0, 20.0, 8.0, 100)
WALL = (127.0, 5.0, 0.0, 12.0, 60)  # its middle 3 mm within the wall
TUMOUR = (110.0, 30.0, -10.0, 30.0, 60)  # 6 cm wide, on the wall
INDEX = np.array([[0, 0, 0], [3, 5, 7], [-1.5, 2.25, 40]])


@pytest.fixture(scope="module")
def healthy(lung: ModuleType) -> Volume:
    volume: Volume = lung.chest([FREE])
    return volume


def ball_in(prepared: lung_preparation.Prepared, ball: tuple[float, ...]) -> Array:
    """Which voxels of the grid lie in a ball of the world."""
    index = np.moveaxis(np.indices(prepared.shape), 0, -1)
    return np.linalg.norm(prepared.to_world(index) - np.array(ball[:3]), axis=-1) < ball[3]


# Resampling


@pytest.mark.parametrize("step", [0.4, 1.0, 1.25, 1.6, 2.0, 3.7])
def test_a_straight_slope_stays_one(step: float) -> None:  # L-9
    p, r, c = np.indices((20, 24, 40)).astype(np.float32)
    axes = (Axis(5.2, 0.8, 10), Axis(5.5, 1.25, 10), Axis(6.3, step, 8))
    grids = np.meshgrid(*(a.start + a.step * np.arange(a.count) for a in axes), indexing="ij")
    expected = 3 * grids[0] - 2 * grids[1] + 0.5 * grids[2]
    np.testing.assert_allclose(resampling.image(3 * p - 2 * r + 0.5 * c, axes), expected, atol=1e-4)


def test_a_finer_grid_is_linear_as_scipy_has_it() -> None:  # L-9
    array = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    axes = (Axis(0.0, 0.5, 9), Axis(0.3, 0.7, 8), Axis(0.1, 0.9, 7))
    grids = np.meshgrid(*(a.start + a.step * np.arange(a.count) for a in axes), indexing="ij")
    expected = ndimage.map_coordinates(array, grids, order=1, mode="nearest")
    np.testing.assert_allclose(resampling.image(array, axes), expected, atol=1e-5)


def test_a_coarser_grid_leaves_no_alias() -> None:  # L-9
    # Stripes of one voxel, read at every other voxel, would all be white or all be black.
    stripes = np.tile(np.array([0.0, 100.0], np.float32), 32)
    array = np.broadcast_to(stripes, (3, 3, 64))
    whole = Axis(0, 1, 3)
    found = resampling.image(array, (whole, whole, Axis(3.0, 2.0, 28)))
    np.testing.assert_allclose(found, 50, atol=2)
    assert ndimage.map_coordinates(stripes, [np.arange(3.0, 59, 2)], order=1).min() == 100


def test_labels_stay_labels() -> None:  # L-9
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 2, 3], labels[3, 3, 3] = 7, 3
    whole = Axis(0, 1, 4)
    found = resampling.nearest(labels, (whole, whole, Axis(0, 0.4, 12)))
    assert set(np.unique(found)) == {0, 3, 7}
    # 3.2, 3.6 and 4.0 lie nearest to voxel 3, 3.6 and 4.0 beyond it: half a voxel is its own.
    assert found[1, 2].tolist() == [0] * 7 + [7, 7, 0, 0, 0]
    assert found.dtype == np.uint8


# Geometry


@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1), (1, 0, 2)])
def test_every_way_of_lying_gives_the_same_upright_scan(
    order: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:  # L-7
    # Planes, rows and columns along the world's axes x, y, z in any order and sense.
    affine = np.eye(4)
    steps = (2.5, 0.7, 0.8)
    affine[:3, :3] = 0
    for axis, (world, sign, step) in enumerate(zip(order, signs, steps, strict=True)):
        affine[world, axis] = sign * step
    affine[:3, 3] = (11, -22, 33)
    array = np.random.default_rng(1).integers(0, 99, (4, 5, 6))
    view, turned = resampling.laid(array, affine, *resampling.upright(affine))
    directions = turned[:3, :3] / np.linalg.norm(turned[:3, :3], axis=0)
    np.testing.assert_allclose(directions, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    where = np.argwhere(view == view[1, 2, 3])[0]
    back = np.linalg.inv(affine) @ turned @ [*where, 1]
    assert array[tuple(np.rint(back[:3]).astype(int))] == view[tuple(where)]


@pytest.mark.parametrize("turned", [False, True])
def test_world_and_index_go_there_and_back(lung: ModuleType, turned: bool) -> None:  # L-7
    volume = lung.chest([FREE])
    if turned:  # planes to the feet, columns to the right
        affine = volume.affine @ np.diag([-1, 1, -1, 1])
        planes, _, columns = volume.shape
        affine[:3, 3] = volume.to_world([planes - 1, 0, columns - 1])
        volume = Volume(volume.hounsfield[::-1, :, ::-1], affine, "turned")
    prepared = lung_preparation.prepare(volume, 2.0)
    world = prepared.to_world(INDEX)
    np.testing.assert_allclose(prepared.to_index(world), INDEX, atol=1e-6)
    # Its bright ball lies where it was drawn, whichever way the planes run.
    bright = np.argwhere((prepared.image > -200) & ball_in(prepared, (80, 0, 20, 14)))
    np.testing.assert_allclose(prepared.to_world(bright).mean(axis=0), FREE[:3], atol=0.4)


def test_an_oblique_scan_keeps_its_place(lung: ModuleType) -> None:  # L-7
    turn, affine = np.deg2rad(12), np.zeros((4, 4))
    affine[:3, 0], affine[3, 3] = (0, 3 * np.sin(turn), 3 * np.cos(turn)), 1
    affine[:3, 1], affine[:3, 2] = (0, 2.5 * np.cos(turn), -2.5 * np.sin(turn)), (2.5, 0, 0)
    affine[:3, 3] = -affine[:3, :3] @ np.array([53, 58, 64])
    volume = lung.chest([FREE], affine=affine)
    prepared = lung_preparation.prepare(volume, 2.0)
    bright = np.argwhere((prepared.image > -200) & ball_in(prepared, (80, 0, 20, 14)))
    np.testing.assert_allclose(prepared.to_world(bright).mean(axis=0), FREE[:3], atol=0.6)


def test_a_scan_agrees_with_simpleitks_resampling(healthy: Volume) -> None:
    prepared = lung_preparation.prepare(healthy, 1.0)
    image = sitk.GetImageFromArray(np.maximum(healthy.hounsfield, -1024).astype(np.float32))
    image.SetSpacing(tuple(float(step) for step in healthy.spacing_mm[::-1]))
    image.SetOrigin([float(value) for value in healthy.affine[:3, 3]])
    planes, rows, columns = prepared.shape
    grid = sitk.Resample(
        image, (columns, rows, planes), sitk.Transform(), sitk.sitkLinear,
        [float(value) for value in prepared.affine[:3, 3]], (1.0, 1.0, 1.0),
        (1, 0, 0, 0, 1, 0, 0, 0, 1), -1000.0, sitk.sitkFloat32,
    )  # fmt: skip
    expected = np.clip(sitk.GetArrayFromImage(grid), -1024, 600)
    inner = np.s_[4:-4, 4:-4, 4:-4]
    assert np.abs(prepared.image[inner] - expected[inner]).max() <= 1.0  # rounded to whole HU


def test_values_are_whole_hounsfield_units_in_the_window(lung: ModuleType) -> None:
    volume = lung.chest()
    hounsfield = volume.hounsfield.copy()
    hounsfield[:, 40:50, 60:70] = 3000
    hounsfield[:, 60:65, 60:70] = -3000  # what some scanners fill their picture with
    image = lung_preparation.prepare(dataclasses.replace(volume, hounsfield=hounsfield), 2.0).image
    assert image.dtype == np.int16
    assert (image.min(), image.max()) == (-1024, 600)


def test_the_grid_is_cubic_and_within_the_scan(healthy: Volume) -> None:
    for spacing_mm in (1.0, 1.5, 2.0):
        prepared = lung_preparation.prepare(healthy, spacing_mm)
        np.testing.assert_allclose(np.linalg.norm(prepared.affine[:3, :3], axis=0), spacing_mm)
        corners = prepared.to_world([(0, 0, 0), tuple(side - 1 for side in prepared.shape)])
        indices = healthy.to_index(corners)
        assert np.all(indices > -1)
        assert np.all(indices < healthy.shape)


def test_thick_slices_are_noted(lung: ModuleType) -> None:  # L-15
    assert "slices of 3 mm" in lung_preparation.prepare(lung.chest(), 2.0).notes[0]
    fine = lung.chest(spacing=(2.5, 4.0, 4.0))
    assert not lung_preparation.prepare(fine, 2.0).notes


# Lungs


def test_the_lungs_are_found_and_no_heart(healthy: Volume) -> None:
    prepared = lung_preparation.prepare(healthy, 2.0)
    # Two ellipsoids of 55 x 85 x 110 mm hold 4.3 l, of which the heart takes some.
    assert 3500 < prepared.lung_ml < 4300
    world = prepared.to_world(np.moveaxis(np.indices(prepared.shape), 0, -1))
    middle = np.where(world[..., :1] < 0, -75.0, 75.0) * [1, 0, 0]
    within = (((world - middle) / [55, 85, 110]) ** 2).sum(axis=-1) < 1
    assert prepared.lungs[within & (prepared.image < -700)].mean() > 0.99
    heart = ball_in(prepared, (0, -30, -30, 35))
    assert prepared.lungs[heart].mean() < 0.05
    spine = ball_in(prepared, (0, 85, 0, 14))
    assert prepared.lungs[spine].mean() == 0


@pytest.mark.parametrize("ball", [FREE, WALL, TUMOUR])
def test_a_nodule_is_in_the_mask_wherever_it_grows(  # L-13
    lung: ModuleType, ball: tuple[float, ...]
) -> None:
    prepared = lung_preparation.prepare(lung.chest([ball]), 2.0)
    inside = ball_in(prepared, ball)
    # Only what lies beyond the wall of the healthy chest may be missing, less a rim of 3 mm.
    world = prepared.to_world(np.moveaxis(np.indices(prepared.shape), 0, -1))
    away = ((world - [75, 0, 0]) / [58, 88, 113]) ** 2
    of_lung = inside & (away.sum(axis=-1) < 1)
    assert prepared.lungs[of_lung].mean() > (0.9 if ball is TUMOUR else 0.97)
    heart = ball_in(prepared, (0, -30, -30, 35))
    assert prepared.lungs[heart].mean() < 0.05


def test_the_windpipe_does_not_lead_the_box_out_of_the_chest(lung: ModuleType) -> None:
    # Lungs end 110 mm above the middle; the windpipe goes on to the top of the scan, at 190.
    prepared = lung_preparation.prepare(lung.chest(height_mm=380.0), 2.0)
    top = prepared.to_world([prepared.shape[0] - 1, 0, 0])[2]
    assert top < 135


def test_a_scan_without_lungs_says_so(lung: ModuleType) -> None:
    volume = lung.chest()
    tissue = np.maximum(volume.hounsfield, 0)
    with pytest.raises(DataError, match=r"phantom: a CT of the chest was needed\. Received: 0 ml"):
        lung_preparation.prepare(dataclasses.replace(volume, hounsfield=tissue))


@pytest.mark.parametrize(
    ("spacing_mm", "labels"), [(0.0, None), (np.inf, None), (2.0, np.zeros((1, 2, 3), np.uint8))]
)
def test_what_does_not_fit_is_refused(healthy: Volume, spacing_mm: float, labels: Array) -> None:
    with pytest.raises(ValueError, match="needed"):
        lung_preparation.prepare(healthy, spacing_mm, labels)


@pytest.fixture(scope="module")
def real() -> Path:
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "lung" / "lung_pet_ct_dx"
    if not folder.is_dir():
        pytest.skip(f"the real series isn't in {folder}; name the data folder in FIELDSIGHT_DATA")
    return folder


def test_a_real_tumour_on_the_wall_is_in_the_mask(real: Path) -> None:  # L-13
    (found,) = scans.find([real / "A0001"])
    volume = scans.read(found)
    prepared = lung_preparation.prepare(volume, 2.0)
    assert 4500 < prepared.lung_ml < 6500  # both lungs of an adult, breathed in
    tissue = np.median(prepared.image[prepared.lungs])
    assert -900 < tissue < -750
    planes = {one.sop_instance_uid: number for number, one in enumerate(volume.slices)}
    centres = []
    for file in sorted((real / "Annotation" / "A0001").glob("*.xml")):
        if file.stem in planes:
            box = parse(file).getroot().find("object/bndbox")
            x0, y0, x1, y1 = (float(box.find(n).text) for n in ("xmin", "ymin", "xmax", "ymax"))
            centres.append((planes[file.stem], (y0 + y1) / 2, (x0 + x1) / 2))
    assert len(centres) == 9
    indices = np.rint(prepared.to_index(volume.to_world(np.array(centres)))).astype(int)
    inside = prepared.lungs[tuple(indices.T)]
    # Where it lies on the wall; the lower three planes show its end at the aorta and the hilum.
    order = np.argsort(indices[:, 0])
    assert inside[order].tolist() == [False] * 3 + [True] * 6


# Outlines there and back


def test_outlines_come_along_and_go_back(lung: ModuleType) -> None:
    volume = lung.chest([FREE])
    index = np.moveaxis(np.indices(volume.shape), 0, -1)
    mask = np.linalg.norm(volume.to_world(index) - np.array(FREE[:3]), axis=-1) < FREE[3]
    prepared = lung_preparation.prepare(volume, 1.25, mask.astype(np.uint8) * 5)
    assert prepared.labels is not None
    assert set(np.unique(prepared.labels)) == {0, 5}
    inside = np.argwhere(prepared.labels == 5)
    np.testing.assert_allclose(prepared.to_world(inside).mean(axis=0), FREE[:3], atol=0.5)
    volume_mm3 = 4 / 3 * np.pi * FREE[3] ** 3
    assert len(inside) * 1.25**3 == pytest.approx(volume_mm3, rel=0.1)
    np.testing.assert_array_equal(
        lung_preparation.on_grid(mask.astype(np.uint8) * 5, volume, prepared), prepared.labels
    )
    low, high = inside.min(axis=0) - 2, inside.max(axis=0) + 3
    affine = prepared.affine.copy()
    affine[:3, 3] = prepared.to_world(low)
    part = prepared.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] == 5
    back, start = lung_preparation.onto_volume(part, affine, volume)
    again = np.zeros(volume.shape, bool)
    again[tuple(slice(s, s + n) for s, n in zip(start, back.shape, strict=True))] = back
    overlap = 2 * (again & mask).sum() / (again.sum() + mask.sum())
    assert overlap > 0.95


def test_a_crop_beside_the_scan_gives_nothing(healthy: Volume) -> None:
    affine = np.eye(4)
    affine[:3, 3] = (9000, 0, 0)
    mask, start = lung_preparation.onto_volume(np.ones((3, 3, 3)), affine, healthy)
    assert (mask.shape, start) == ((0, 0, 0), (0, 0, 0))


# The cache


@pytest.fixture(scope="module")
def coarse(lung: ModuleType) -> Volume:
    volume: Volume = lung.chest([FREE], spacing=(5.0, 4.0, 4.0))
    return volume


def scan_of(
    path: Path, lung: ModuleType, volume: Volume, *, masks: bool = False
) -> tuple[Scan, list[str]]:
    """A scan on disk, and a list of what was read of it."""
    lung.write_mhd(path, volume)
    calls: list[str] = []

    def read() -> Volume:
        calls.append("voxels")
        return volume

    def read_masks() -> Array:
        calls.append("masks")
        return np.ones(volume.shape, np.uint8) if masks else None

    paths = (path, path.with_suffix(".raw"))
    nodule = (Nodule((80, 0, 20), 16),)
    return Scan("a", "p", "1.2", nodule, (), None, None, read, read_masks, paths), calls


def test_a_scan_is_read_once(tmp_path: Path, lung: ModuleType, coarse: Volume) -> None:
    scan, calls = scan_of(tmp_path / "a.mhd", lung, coarse, masks=True)
    store = tmp_path / "cache"
    assert not is_cached(scan, 4.0, store)
    first = cached(scan, 4.0, store)
    assert is_cached(scan, 4.0, store)
    second = cached(scan, 4.0, store)
    assert calls == ["voxels", "masks"]
    assert isinstance(second.image, np.memmap)
    plain = lung_preparation.prepare(coarse, 4.0)
    for one in (first, second):
        np.testing.assert_array_equal(one.image, plain.image)
        np.testing.assert_array_equal(one.lungs, plain.lungs)
        np.testing.assert_array_equal(one.affine, plain.affine)
        assert one.labels is not None
        assert np.all(one.labels == 1)
        assert one.notes == plain.notes
    cached(scan, 5.0, store)
    assert calls == ["voxels", "masks"] * 2


def test_no_outlines_are_remembered_too(tmp_path: Path, lung: ModuleType, coarse: Volume) -> None:
    scan, calls = scan_of(tmp_path / "a.mhd", lung, coarse)
    assert cached(scan, 4.0, tmp_path / "cache").labels is None
    assert cached(scan, 4.0, tmp_path / "cache").labels is None
    assert calls == ["voxels", "masks"]


def test_a_scan_is_known_by_its_content(tmp_path: Path, lung: ModuleType, coarse: Volume) -> None:
    scan, calls = scan_of(tmp_path / "a.mhd", lung, coarse)
    copy, copied = scan_of(tmp_path / "b" / "a.mhd", lung, coarse)
    store = tmp_path / "cache"
    cached(scan, 4.0, store)
    cached(copy, 4.0, store)  # elsewhere, but the same
    assert (len(calls), len(copied)) == (2, 0)
    changed = dataclasses.replace(coarse, hounsfield=coarse.hounsfield + np.int16(1))
    other, read = scan_of(tmp_path / "a.mhd", lung, changed)  # the same place, another content
    cached(other, 4.0, store)
    assert len(read) == 2


def test_files_are_not_hashed_again(
    tmp_path: Path, lung: ModuleType, coarse: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, _ = scan_of(tmp_path / "a.mhd", lung, coarse)
    for path in scan.paths:  # not written in this very moment
        os.utime(path, ns=(time.time_ns() - 10**10,) * 2)
    cached(scan, 4.0, tmp_path / "cache")

    def refuse(file: Path) -> bytes:
        raise AssertionError(f"{file} is hashed again")

    monkeypatch.setattr(cache, "_hash", refuse)
    cached(scan, 4.0, tmp_path / "cache")


def test_changed_labels_need_no_new_voxels(
    tmp_path: Path, lung: ModuleType, coarse: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, calls = scan_of(tmp_path / "a.mhd", lung, coarse, masks=True)
    store = tmp_path / "cache"
    cached(scan, 4.0, store)
    monkeypatch.setattr(lung_preparation, "prepare", lambda *_: pytest.fail("prepared again"))
    cached(dataclasses.replace(scan, nodules=(Nodule((1, 2, 3), 4),)), 4.0, store)
    assert calls == ["voxels", "masks"] * 2


@pytest.mark.parametrize("stop_at", ["lungs.npy", "image.npy"])
def test_a_run_that_is_killed_leaves_no_half_of_a_scan(
    tmp_path: Path, lung: ModuleType, coarse: Volume, monkeypatch: pytest.MonkeyPatch, stop_at: str
) -> None:
    scan, calls = scan_of(tmp_path / "a.mhd", lung, coarse)
    save = np.save

    def stopped(path: Path, array: Array) -> None:
        save(path, array)
        if path.name == stop_at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            cached(scan, 4.0, tmp_path / "cache")
    assert not is_cached(scan, 4.0, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))
    cached(scan, 4.0, tmp_path / "cache")
    assert calls.count("voxels") == 2


def _cut(entry: Path) -> None:
    content = (entry / "image.npy").read_bytes()
    (entry / "image.npy").write_bytes(content[: len(content) // 2])


def _emptied(entry: Path) -> None:
    (entry / "entry.json").write_text("{")


@pytest.mark.parametrize("damage", [_cut, _emptied])
def test_a_damaged_entry_is_made_again(
    tmp_path: Path, lung: ModuleType, coarse: Volume, damage: Callable[[Path], None]
) -> None:
    scan, calls = scan_of(tmp_path / "a.mhd", lung, coarse)
    store = tmp_path / "cache"
    expected = np.array(cached(scan, 4.0, store).image)
    (entry,) = {path.parent for path in store.rglob("image.npy")}
    damage(entry)
    np.testing.assert_array_equal(cached(scan, 4.0, store).image, expected)
    assert calls.count("voxels") == 2


def test_the_folder_stays_within_its_bound(
    tmp_path: Path, lung: ModuleType, coarse: Volume
) -> None:
    store = tmp_path / "cache"
    one, calls = scan_of(tmp_path / "a.mhd", lung, coarse)
    cached(one, 4.0, store)
    size = sum(path.stat().st_size for path in store.rglob("*.npy"))
    cached(one, 4.1, store)
    time.sleep(0.02)
    cached(one, 4.0, store)  # used again: the other one is older now
    cached(one, 4.2, store, limit_bytes=int(2.5 * size))
    assert [is_cached(one, spacing, store) for spacing in (4.0, 4.1, 4.2)] == [True, False, True]
    assert calls.count("voxels") == 3


def test_a_volume_is_cached_by_its_voxels(tmp_path: Path, coarse: Volume) -> None:
    first = cached(coarse, 4.0, tmp_path)
    again = cached(dataclasses.replace(coarse, name="other"), 4.0, tmp_path)
    assert isinstance(again.image, np.memmap)
    np.testing.assert_array_equal(first.image, again.image)
    assert len(list(tmp_path.rglob("image.npy"))) == 1


def test_without_a_folder_nothing_is_kept(coarse: Volume) -> None:
    assert not isinstance(cached(coarse, 4.0, None).image, np.memmap)


def test_a_place_that_is_no_folder_is_told(tmp_path: Path, coarse: Volume) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="a folder for prepared scans was needed"):
        cached(coarse, 4.0, tmp_path / "file" / "cache")
