"""Blobs in the lungs: found where they are, of their size, before tubes and plates."""

import dataclasses
import math
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fieldsight.datasets import lung_preparation
from fieldsight.datasets.nodules import Nodule
from fieldsight.pipelines.lung import _blobs
from fieldsight.pipelines.lung._blobs import GRID, Plan

AFFINE = np.array([[0, 0, 2.0, 5], [0, 2.0, 0, -7], [2.0, 0, 0, 11], [0, 0, 0, 1]])


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    image: Any
    lungs: Any
    affine: Any
    nodules: tuple[Nodule, ...] = ()
    excluded: tuple[Nodule, ...] = ()
    marked: bool = True


def lung_of(*shapes: Any, size: int = 48, affine: Any = AFFINE) -> Case:
    """Lung tissue with noise and these voxels filled with tissue."""
    index = np.moveaxis(np.indices((size,) * 3), 0, -1).astype(float)
    image = np.random.default_rng(0).normal(-850, 20, (size,) * 3)
    for shape in shapes:
        image[shape(index)] = 40
    return Case(image.astype(np.int16), np.ones(image.shape, bool), affine)


def ball(centre: tuple[float, float, float], diameter: float) -> Any:
    return lambda index: np.linalg.norm(index - np.array(centre), axis=-1) < diameter / 2


def tube(row: float, column: float, diameter: float) -> Any:
    """Along the planes, as a vessel runs."""
    return lambda index: np.linalg.norm(index[..., 1:] - [row, column], axis=-1) < diameter / 2


@pytest.mark.parametrize("diameter_mm", [6, 8, 12, 16, 20])
def test_a_ball_is_found_at_its_place_and_of_its_size(diameter_mm: float) -> None:
    centre = (24.0, 20.0, 27.0)
    blobs = _blobs.find(lung_of(ball(centre, diameter_mm / 2)), Plan(0.0, 0.5))
    world = AFFINE[:3, :3] @ centre + AFFINE[:3, 3]
    np.testing.assert_allclose(blobs.centres_mm[0], world, atol=0.6)
    assert blobs.diameters_mm[0] == pytest.approx(diameter_mm, rel=0.25)
    assert blobs.probabilities[0] > 3 * blobs.probabilities[1]


def test_roundness_puts_a_ball_before_a_vessel() -> None:
    case = lung_of(ball((24, 14, 14), 3.5), tube(34, 34, 4))
    world = AFFINE[:3, :3] @ np.array([24, 14, 14]) + AFFINE[:3, 3]
    flat, round_ = (_blobs.find(case, Plan(0.0, power)) for power in (0.0, 2.0))
    assert np.linalg.norm(round_.centres_mm[0] - world) < 2
    # Without it the vessel's many maxima come first, or close behind.
    share = [blobs.probabilities[1] / blobs.probabilities[0] for blobs in (flat, round_)]
    assert share[1] < 0.6 * share[0]


def test_only_what_is_in_the_lungs_is_a_blob(lung: ModuleType) -> None:
    inside, spine = (80.0, 0.0, 20.0, 6.0, 60), (0.0, 85.0, 0.0, 12.0, 500)
    prepared = lung_preparation.prepare(lung.chest([inside, spine]), 2.0)
    case = Case(prepared.image, prepared.lungs, prepared.affine)
    blobs = _blobs.find(case)
    np.testing.assert_allclose(blobs.centres_mm[0], inside[:3], atol=1.0)
    index = np.rint(prepared.to_index(blobs.centres_mm)).astype(int)
    assert prepared.lungs[tuple(index.T)].mean() > 0.95


def test_a_finer_grid_gives_the_same_place() -> None:
    affine = AFFINE.copy()
    affine[:3, :3] /= 2
    fine = lung_of(ball((48, 40, 54), 10), size=96, affine=affine)
    blobs = _blobs.find(fine, Plan(0.0, 0.5))
    world = affine[:3, :3] @ np.array([48, 40, 54]) + affine[:3, 3]
    np.testing.assert_allclose(blobs.centres_mm[0], world, atol=0.6)
    assert blobs.diameters_mm[0] == pytest.approx(10, rel=0.25)


def test_one_blob_is_told_once() -> None:
    blobs = _blobs.find(lung_of(ball((24, 24, 24), 8)), Plan(0.0, 0.5))
    near = np.linalg.norm(blobs.centres_mm - blobs.centres_mm[0], axis=1)
    assert (near < 0.5 * blobs.diameters_mm[0]).sum() == 1
    assert len(blobs) <= 100  # LUNA16's limit
    assert np.all(np.diff(blobs.probabilities) <= 0)
    assert blobs.probabilities.max() <= 1


def test_plain_lung_gives_an_empty_answer_not_an_error() -> None:  # C-11
    plain = Case(np.full((20, 20, 20), -850, np.int16), np.ones((20,) * 3, bool), AFFINE)
    blobs = _blobs.find(plain)
    assert blobs.centres_mm.shape == (0, 3)
    assert len(blobs) == 0


def test_the_plan_is_chosen_on_validation() -> None:  # C-9
    # Faint balls beside bright vessels: a plan that ignores roundness marks vessels first.
    cases = []
    for number in range(3):
        centre = (14.0 + 6 * number, 14.0, 14.0)
        case = lung_of(tube(36, 36, 5), tube(14, 36, 5), tube(36, 14, 5))
        index = np.moveaxis(np.indices(case.image.shape), 0, -1)
        case.image[ball(centre, 4)(index)] = -450
        world = AFFINE[:3, :3] @ centre + AFFINE[:3, 3]
        nodule = Nodule((float(world[0]), float(world[1]), float(world[2])), 8)
        cases.append(dataclasses.replace(case, nodules=(nodule,)))
    told: list[tuple[int, int]] = []
    grid = (Plan(0.0, 0.0), Plan(0.0, 2.0), Plan(-300.0, 0.0))
    plan, cpm, found = _blobs.tune(cases, grid, progress=lambda done, of: told.append((done, of)))
    assert plan == Plan(0.0, 2.0)
    assert cpm == 1.0
    assert told == [(1, 2), (2, 2)]
    alike = _blobs.find_all(cases, plan)
    np.testing.assert_array_equal(alike[1].centres_mm, _blobs.find(cases[1], plan).centres_mm)
    for one, other in zip(found, alike, strict=True):
        np.testing.assert_array_equal(one.centres_mm, other.centres_mm)


def test_without_nodules_there_is_nothing_to_choose_by() -> None:
    plan, cpm, _ = _blobs.tune([dataclasses.replace(lung_of(), marked=False)])
    assert plan == GRID[0]
    assert math.isnan(cpm)


def test_a_chest_takes_a_moment(lung: ModuleType) -> None:
    prepared = lung_preparation.prepare(lung.chest([(80, 0, 20, 6, 60)]), 2.0)
    started = time.process_time()
    _blobs.find(Case(prepared.image, prepared.lungs, prepared.affine))
    assert time.process_time() - started < 4  # 0.6 s here, by itself
