"""Scanners: their grid, sharpness, noise, orientation and way of storing numbers."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung._anatomy import Chest
from fieldsight.datasets.simulated.lung._raster import Grid

Detail = Literal["quick", "full"]
Setting = Literal["default", "other"]

AIR_HOUNSFIELD, LOWEST_HOUNSFIELD, HIGHEST_HOUNSFIELD = -1000, -1024, 3071

# Full width at half maximum of the point spread in millimetres; noise against a smooth kernel's;
# what a voxel's noise takes from each of its neighbours in the plane; enhancement of edges.
_KERNELS = {
    "SMOOTH": (1.10, 1.0, 0.45, 0.0),
    "STANDARD": (0.90, 1.35, 0.25, 0.0),
    "SHARP": (0.65, 2.0, -0.10, 0.0),
    "ENHANCED": (0.60, 2.3, -0.16, 0.35),
}
# Noise in soft tissue at a slice of 5 mm: measured on A0001 of Lung-PET-CT-Dx, 8 to 10 HU.
_NOISE_AT_5_MM = 8.5
_ORIENTATIONS = ("supine", "prone", "feet-first")


@dataclass(frozen=True)
class Storage:
    """How Hounsfield units become stored numbers.

    Args:
        signed: whether stored numbers are.
        slope: Hounsfield units a step.
        intercept: Hounsfield units of a stored 0.
        padding: the stored number outside of the circular field of view; None leaves air there.
        declared: whether the file says so in PixelPaddingValue.
    """

    signed: bool
    slope: int
    intercept: int
    padding: int | None
    declared: bool


_STORAGES = (
    Storage(False, 1, -1024, None, False),
    Storage(True, 1, -1024, -2000, True),
    Storage(True, 1, 0, -2000, False),
    Storage(True, 1, 0, -2048, True),
    Storage(False, 1, -8192, None, False),
    Storage(True, 2, -1000, -500, True),
)
_STORAGE_SHARES = (0.4, 0.25, 0.12, 0.08, 0.1, 0.05)


@dataclass(frozen=True, eq=False)
class Scanner:
    """One series' settings.

    Args:
        matrix: rows and columns.
        planes: how many.
        spacing: `(3,)` millimetres along z, y and x.
        thickness_mm: of a slice.
        kernel: a key of the table of kernels.
        noise: standard deviation in Hounsfield units at the middle.
        orientation: supine, prone or feet-first.
        storage: of numbers.
        backwards: whether InstanceNumber runs against the planes.
        shuffled: whether file names say nothing about the order.
        centre: `(3,)` of the field of view, millimetres in the chest's frame.
        offset: `(3,)` from the chest's frame to the scanner's.
        current_ma: of the tube.
    """

    matrix: int
    planes: int
    spacing: Array
    thickness_mm: float
    kernel: str
    noise: float
    orientation: str
    storage: Storage
    backwards: bool
    shuffled: bool
    centre: Array
    offset: Array
    current_ma: int

    @property
    def grid(self) -> Grid:
        """Voxels in the chest's frame."""
        shape = (self.planes, self.matrix, self.matrix)
        origin = self.centre - (np.array(shape) - 1) / 2 * self.spacing
        spread = 1.36 * _KERNELS[self.kernel][0]
        voxel = (2 * self.spacing[1] ** 2 + self.thickness_mm**2) / 3
        return Grid(shape, origin, self.spacing, float(np.sqrt(spread**2 + voxel)))

    @property
    def flips(self) -> tuple[int, ...]:
        """Axes that are reversed between the chest's frame and the series."""
        return {"supine": (), "prone": (1, 2), "feet-first": (0, 2)}[self.orientation]

    @property
    def affine(self) -> Array:
        """Of the series: `(plane, row, column)` to LPS millimetres."""
        grid = self.grid
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for axis in range(3):
            world = 2 - axis
            step, count = self.spacing[axis], grid.shape[axis]
            first = grid.origin[axis] + self.offset[axis]
            flipped = axis in self.flips
            matrix[world, axis] = -step if flipped else step
            matrix[world, 3] = first + step * (count - 1) if flipped else first
        return np.round(matrix, 6)

    def in_series(self, array: Array) -> Array:
        """An array of the chest's frame as the series has it."""
        return np.ascontiguousarray(np.flip(array, self.flips))

    def to_world(self, point: Array) -> tuple[float, float, float]:
        """LPS millimetres x, y, z of a point z, y, x of the chest's frame."""
        z, y, x = (np.asarray(point) + self.offset).tolist()
        return x, y, z


def position(rng: np.random.Generator) -> str:
    """Draw how the patient lies, which the lungs' density depends on."""
    return str(rng.choice(_ORIENTATIONS, p=(0.80, 0.06, 0.14)))


def scanner(
    chest: Chest, orientation: str, rng: np.random.Generator, detail: Detail, setting: Setting
) -> Scanner:
    """Draw a scanner for a patient."""
    other = setting == "other"
    if detail == "quick":
        matrix = 224 if other else 240
        spacing, step = rng.uniform(1.35, 1.62), float(rng.uniform(2.0, 2.5))
        step = 3.0 if other else step
    else:
        matrix = 512
        spacing, step = rng.uniform(0.64, 0.84), float(rng.choice((1.0, 1.25)))
        step = 2.5 if other else step
    # A large patient gets a large field of view.
    spacing *= 0.92 + 0.16 * chest.fat_mm / 34
    lung = np.argwhere(chest.lung < 0)[:, 1:] * chest.grid.spacing[1:] + chest.grid.origin[1:]
    reach = float(np.linalg.norm(lung, axis=1).max()) + 16  # and no lung is cut off
    spacing = round(max(float(spacing), 2 * reach / matrix), 4)
    step = round(step, 2)
    kernel = str(rng.choice(("SMOOTH", "STANDARD", "SHARP"), p=(0.35, 0.4, 0.25)))
    kernel = "ENHANCED" if other else kernel
    thickness = round(step * float(rng.choice((1.0, 1.25), p=(0.7, 0.3))), 3)
    thickness = thickness if other else min(thickness, 2.5)
    dose = float(rng.lognormal(0, 0.2) * (1.4 if rng.random() < 0.4 else 1))
    noise = _NOISE_AT_5_MM * np.sqrt(5 / thickness) * _KERNELS[kernel][1] * dose
    low, high = chest.base - rng.uniform(4, 16), chest.base + chest.height + rng.uniform(6, 18)
    planes = int(np.ceil((high - low) / step)) + 1
    centre = np.array([(low + high) / 2, rng.normal(0, 5), rng.normal(0, 4)])
    offset = np.array([rng.normal(-150, 120), rng.normal(-160, 30), rng.normal(0, 10)])
    storage = _STORAGES[int(rng.choice(len(_STORAGES), p=_STORAGE_SHARES))]
    return Scanner(
        matrix,
        planes,
        np.array([step, spacing, spacing]),
        thickness,
        kernel,
        float(np.clip(noise, 6, 75)),
        orientation,
        storage,
        bool(rng.random() < 0.5),
        bool(rng.random() < 0.2),
        np.round(centre, 2),
        np.round(offset, 2),
        int(np.clip(180 / dose**2, 20, 500)),
    )


def field_of_view(grid: Grid) -> Array:
    """`(rows, columns)` bool: what lies in the circle that a scanner sees."""
    half = (grid.shape[1] - 1) / 2
    y, x = np.ogrid[: grid.shape[1], : grid.shape[2]]
    circle: Array = np.hypot(y - half, x - half) <= half + 0.5
    return circle


def table(grid: Grid, chest: Chest, prone: bool) -> Array:
    """`(rows, columns)` float32 Hounsfield units: the table that the patient lies on."""
    _, y, x = grid.open()
    rows = np.flatnonzero((chest.body < 0).any((0, 2)))
    ends = chest.grid.axis(1)[rows[[0, -1]]]
    height = (ends[0] - 4 - y[0]) if prone else (y[0] - ends[1] - 4)
    depth = height + x[0] ** 2 / 1100  # the table is a trough
    foam = np.where((depth > 0) & (depth < 26), -955.0, float(AIR_HOUNSFIELD))
    shell = np.minimum(np.abs(depth), np.abs(depth - 26))
    filled = np.clip(1.5 - shell / 1.2, 0, 1)
    return np.asarray(foam + filled * (-250 - foam), np.float32)


def finished(volume: Array, scanner: Scanner, chest: Chest, rng: np.random.Generator) -> Array:
    """What the scanner makes of a volume: edges, noise and whole numbers.

    Args:
        volume: `(z, y, x)` float32 Hounsfield units; changed.
        scanner: the scanner.
        chest: the patient, whose shoulders make noise.
        rng: of the noise.

    Returns:
        int16 Hounsfield units; air outside of the field of view.
    """
    grid = scanner.grid
    _, _, share, enhancement = _KERNELS[scanner.kernel]
    share = share * (0.7 if grid.spacing[1] > 1 else 1)  # coarse voxels' noise is less alike
    _, y, x = grid.open()
    radius = (x[0] - scanner.centre[2]) ** 2 + (y[0] - scanner.centre[1]) ** 2
    amplitude = (0.72 + 0.4 * np.exp(-radius / 140**2)).astype(np.float32)
    high = np.clip(((grid.axis(0) - chest.base) / chest.height - 0.85) / 0.2, 0, 1)
    level = (scanner.noise * (1 + 0.9 * high)).astype(np.float32)
    outside = ~field_of_view(grid)
    whole = np.empty(volume.shape, np.int16)
    before = None
    gain = np.float32(1 / np.sqrt((1 + 2 * share**2) ** 2 if share > 0 else 1 + 4 * share**2))
    for number, plane in enumerate(volume):
        if enhancement:
            plane += np.float32(enhancement) * (plane - _blurred(plane))
        white = rng.standard_normal(plane.shape, np.float32)
        noise = _coloured(white, share)
        # Slices overlap a little: neighbours share some of their noise.
        mixed = noise if before is None else 0.95 * noise + np.float32(0.312) * before
        before = mixed
        plane += mixed * (amplitude * (gain * level[number]))
        plane[outside] = AIR_HOUNSFIELD
        np.clip(plane, LOWEST_HOUNSFIELD, HIGHEST_HOUNSFIELD, out=plane)
        np.rint(plane, out=plane)
        whole[number] = plane
    return whole


def _coloured(white: Array, share: float) -> Array:
    """Noise of which neighbours in the plane share some, or, below 0, avoid each other's."""
    part = np.float32(share)
    if share > 0:
        rows = white.copy()
        rows[1:] += part * white[:-1]
        rows[:-1] += part * white[1:]
        both = rows.copy()
        both[:, 1:] += part * rows[:, :-1]
        both[:, :-1] += part * rows[:, 1:]
        return both
    total = white.copy()
    total[1:] += part * white[:-1]
    total[:-1] += part * white[1:]
    total[:, 1:] += part * white[:, :-1]
    total[:, :-1] += part * white[:, 1:]
    return total


def _blurred(plane: Array) -> Array:
    total = plane.copy()
    total[1:-1, 1:-1] += plane[:-2, 1:-1] + plane[2:, 1:-1] + plane[1:-1, :-2] + plane[1:-1, 2:]
    total[1:-1, 1:-1] /= 5
    return total
