"""Simulated chests beside what is real: a scan of a patient, LUNA16's diameters, lungs' volumes."""

import csv
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy import ndimage, stats

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated import lung
from fieldsight.datasets.simulated.lung import _nodules, _sizes, _trees
from fieldsight.datasets.simulated.lung._anatomy import Chest, chest
from fieldsight.datasets.simulated.lung._patient import _tubes
from fieldsight.datasets.simulated.lung._raster import Upsampling

THICK_MM = 5.0  # A0001's slices; simulated ones are averaged to about that


@pytest.fixture(scope="module")
def data() -> Path:
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "lung"
    if not folder.is_dir():
        pytest.skip(f"real lungs aren't in {folder}; name the data folder in FIELDSIGHT_DATA")
    return folder


@pytest.fixture(scope="module")
def real(data: Path) -> Array:
    """A0001: `(64, 512, 512)` Hounsfield units, slices of 5 mm."""
    files = (data / "lung_pet_ct_dx" / "A0001").rglob("*.dcm")
    images = sorted(map(pydicom.dcmread, files), key=lambda one: one.ImagePositionPatient[2])
    planes = [one.pixel_array * one.RescaleSlope + one.RescaleIntercept for one in images]
    return np.stack(planes).astype(np.float32)


@pytest.fixture(scope="module")
def patients() -> list[lung.Patient]:
    return [lung.patient(0, number) for number in range(6)]


@pytest.fixture(scope="module")
def chests() -> list[Chest]:
    return [chest(np.random.default_rng(number)) for number in range(26)]


def patches(planes: Array, inside: Array, side: int = 9) -> Array:
    """Standard deviations of square patches about the voxels `inside`."""
    values = planes.astype(np.float64)
    mean = ndimage.uniform_filter(values, (1, side, side))
    square = ndimage.uniform_filter(values**2, (1, side, side))
    deviations: Array = np.sqrt(np.maximum(square - mean**2, 0))[inside]
    return deviations


def lungs_of(planes: Array) -> Array:
    """Air that the body encloses, plane by plane, away from its border."""
    found = np.zeros(planes.shape, bool)
    for plane, inside in zip(planes, found, strict=True):
        body = ndimage.binary_opening(plane > -500, iterations=2)
        inside[:] = ndimage.binary_fill_holes(body) & (plane < -500)
    cross = np.ones((1, 9, 9), bool)
    return np.asarray(ndimage.binary_erosion(found, cross))


def thick(patient: lung.Patient) -> Array:
    """Its planes averaged to about 5 mm."""
    planes = patient.volume.hounsfield.astype(np.float32)
    count = max(round(THICK_MM / patient.scanner.thickness_mm), 1)
    whole = planes[: len(planes) // count * count]
    return np.asarray(whole.reshape(-1, count, *planes.shape[1:]).mean(1))


def test_lung_tissue_has_the_real_scans_hounsfield_units(
    real: Array, patients: list[lung.Patient]
) -> None:
    # A0001: median -860. Its lungs are one patient's, so that ours may lie 30 HU to either side.
    expected = float(np.median(real[lungs_of(real)]))
    assert expected == pytest.approx(-860, abs=3)
    medians = []
    for patient in patients:
        planes = thick(patient)
        medians.append(float(np.median(planes[lungs_of(planes)])))
    assert np.median(medians) == pytest.approx(expected, abs=30)
    assert np.ptp(medians) < 120


def test_noise_of_a_smooth_kernel_is_the_real_scans(
    real: Array, patients: list[lung.Patient]
) -> None:
    # A0001 was made with a smooth kernel. The quietest tenth of patches in the lungs have no
    # vessel in them; what remains is noise and the finest tissue.
    expected = np.percentile(patches(real, lungs_of(real)), 10)
    smooth = [patient for patient in patients if patient.scanner.kernel == "SMOOTH"]
    sharp = [patient for patient in patients if patient.scanner.kernel == "SHARP"]
    assert smooth
    assert sharp

    def noise(patient: lung.Patient) -> float:
        planes = thick(patient)
        return float(np.percentile(patches(planes, lungs_of(planes), 7), 10))

    assert np.median([noise(patient) for patient in smooth]) == pytest.approx(expected, rel=0.4)
    assert 1.2 * expected < np.median([noise(patient) for patient in sharp]) < 3.5 * expected


def test_noise_in_soft_tissue_is_the_real_scans(real: Array) -> None:
    # Heart, aorta, liver and muscle without a contrast agent; the quieter quarter of patches is
    # away from their borders.
    def noise(planes: Array) -> float:
        soft = ndimage.binary_erosion((planes > -10) & (planes < 110), np.ones((1, 9, 9), bool))
        return float(np.percentile(patches(planes, soft, 7), 25))

    patient = lung.patient(0, 10)
    assert patient.scanner.kernel == "SMOOTH"
    assert patient.chest.blood_hounsfield < 60
    assert noise(thick(patient)[10:-10]) == pytest.approx(noise(real[16:48]), rel=0.4)


def test_diameters_are_luna16s(data: Path) -> None:
    with (data / "luna16_csv" / "annotations.csv").open(newline="") as file:
        real = [float(row["diameter_mm"]) for row in csv.DictReader(file)]
    assert len(real) == 1186
    drawn = _sizes.diameters(np.random.default_rng(0), 5000)
    statistic = stats.ks_2samp(real, drawn)
    assert statistic.statistic < 0.03
    assert statistic.pvalue > 0.2


def test_diameters_of_the_default_patients_are_luna16s_too(data: Path) -> None:
    with (data / "luna16_csv" / "annotations.csv").open(newline="") as file:
        real = [float(row["diameter_mm"]) for row in csv.DictReader(file)]
    made: list[float] = []
    for number in range(20):
        # What `patient` does of it, without drawing it.
        body = chest(np.random.default_rng((0, number, 0, 1)))
        trees = _trees.vessels(body, np.random.default_rng((0, number, 0, 3)), 10)
        rng = np.random.default_rng((0, number, 0, 5))
        found = _nodules.lesions(body, _tubes(trees, 2.0), rng)
        made += [lesion.diameter_mm for lesion in found]
    assert len(made) > 25
    assert stats.ks_2samp(real, made).pvalue > 0.05


def test_lungs_hold_what_lungs_hold(chests: list[Chest]) -> None:
    # Both lungs at full breath: men about 5 to 6 litres, women about 4 to 4.5 (total lung
    # capacity less what a lying patient doesn't breathe in).
    men = [body.lung_ml for body in chests if not body.female]
    women = [body.lung_ml for body in chests if body.female]
    assert 4500 < np.mean(men) < 6000
    assert 3500 < np.mean(women) < 4800
    assert min(men + women) > 2200
    assert max(men + women) < 8000


def test_a_patients_lungs_are_air_filled_on_both_sides(patients: list[lung.Patient]) -> None:
    for patient in patients[:3]:
        grid = patient.scanner.grid
        inside = Upsampling(patient.chest.grid, grid).planes(patient.chest.lung, 0, grid.shape[0])
        x = grid.axis(2)[None, None, :]
        right, left = ((inside < 0) & (x * side > 0) for side in (-1, 1))
        sides = [float(one.sum()) * np.prod(grid.spacing) / 1000 for one in (right, left)]
        # The heart takes from the left one.
        assert sides[1] < sides[0] < 1.6 * sides[1]
        assert sum(sides) == pytest.approx(patient.chest.lung_ml, rel=0.05)


def test_malignancy_depends_on_size_but_not_on_it_alone() -> None:
    rng = np.random.default_rng(3)
    sizes, odds, malignant = [], [], []
    for diameter in _sizes.diameters(rng, 3000):
        kind = str(rng.choice(_nodules.KINDS, p=_nodules._KIND_SHARES))
        look = _nodules._look(rng, float(diameter), kind)
        value = _nodules.logit(float(diameter), kind, *look, bool(rng.random() < 0.5))
        sizes.append(diameter)
        odds.append(value)
        malignant.append(rng.random() < 1 / (1 + np.exp(-value)))
    truth = np.array(malignant)

    def area(scores: list[float]) -> float:
        above = np.array(scores)[truth][:, None] > np.array(scores)[~truth]
        return float(above.mean())

    assert 0.68 < area(sizes) < 0.82  # the largest diameter: good
    assert area(odds) > 0.90  # what can be seen of it: better
    assert 0.1 < truth.mean() < 0.3


def test_some_patients_have_no_nodule_and_some_have_several(patients: list[lung.Patient]) -> None:
    assert _nodules._COUNT_SHARES[0] >= 0.15
    counts = [len(patient.nodules) for patient in patients]
    assert max(counts) >= 2
    assert any(patient.excluded for patient in patients)
    assert all(patient.cancer in (0, 1) for patient in patients)


def test_blobs_find_more_vessels_than_nodules(patients: list[lung.Patient]) -> None:
    # The five strongest blobs of the lungs of each patient: were nodules easy, most would be.
    hits = total = nodules = 0
    for patient in patients[:4]:
        volume = patient.volume
        spacing = np.array(volume.spacing_mm)
        image = np.clip(volume.hounsfield, -1000, -300).astype(np.float32)
        grid = patient.scanner.grid
        field = Upsampling(patient.chest.grid, grid).planes(patient.chest.lung, 0, grid.shape[0])
        inside = patient.scanner.in_series(field < -1)
        blobs = -ndimage.gaussian_laplace(image, 2.4 / spacing)
        peaks = np.argwhere((ndimage.maximum_filter(blobs, 5) == blobs) & inside)
        best = peaks[np.argsort(blobs[tuple(peaks.T)])[-5:]]
        points = volume.to_world(best)
        for nodule in patient.nodules:
            near = np.linalg.norm(points - nodule.centre_mm, axis=1) <= nodule.diameter_mm / 2
            hits += bool(near.any())
        total, nodules = total + len(best), nodules + len(patient.nodules)
    assert nodules >= 4
    assert hits <= 0.4 * total
