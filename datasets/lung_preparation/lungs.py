"""Where the lungs are: a mask that keeps what grows on their wall."""

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from skimage.draw import polygon

from fieldsight.datasets.sample import Array

GRID_MM = 3.0  # of the search: the mask needs no finer one, and a fine one takes seconds
AIR_HU = -400.0  # between lung (-850) and tissue (40)
GAS_HU = -965.0  # mean of bowel gas; lungs hold blood
AIRWAY_HU, AIRWAY_MM2 = -960.0, 600.0  # emptiest voxel and section of the trachea in a plane
SMALLEST_ML = 150.0  # both lungs of a scan that shows some
SECOND_LUNG = 0.08  # of the larger one's volume, at least
CLOSING_MM = 9.0
SMOOTHING_MM = 6.0  # of what was filled from the wall
RIM_MM = 3.0  # beyond the mask, so that a nodule on the wall is in it whole
HOLE_MM2 = 1000.0  # in a plane: what lung surrounds, as it surrounds the heart, but smaller
IN_PLANE = np.array([[[0] * 3] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0] * 3] * 3])
ANGLES = 180  # 2 degrees each
TALLEST_MM = 80.0  # of a tumour that is recovered from the lung above and below it
FRONT = 60.0  # degrees either way where the heart may touch the wall


def find(image: Array, spacing_mm: float = GRID_MM) -> tuple[Array, float]:
    """The lungs in an upright volume of equal steps.

    Air that isn't joined to the picture's border within its plane, the two largest pieces of
    it, holes filled. A ball of 9 mm closes it around vessels and small nodules. What is then
    still dented from the chest wall's side is filled up to each lung's convex hull: a tumour
    on the wall, of any size. The same isn't done from the middle: a hull would take in the
    heart.

    Args:
        image: `(planes, rows, columns)` float32 Hounsfield units; planes to the head, rows to
            the back, columns to the left.
        spacing_mm: of its grid.

    Returns:
        A mask of the same shape, and the millilitres of air-filled lung in it; without lungs
        (less than 150 ml) the mask is empty.
    """
    air = _lung_air(image, spacing_mm)
    volume_ml = float(air.sum()) * spacing_mm**3 / 1000
    if volume_ml < SMALLEST_ML:
        return np.zeros_like(air), volume_ml
    box = ndimage.find_objects(air.view(np.uint8))[0]
    # Room for the ball: at an array's border a closing would be cut off.
    room = int(np.ceil((CLOSING_MM + RIM_MM) / spacing_mm)) + 1
    held = np.pad(air[box], room)
    closed = _closed(held, CLOSING_MM / spacing_mm)
    closed |= _dents(closed, spacing_mm)
    closed = _closed(closed, SMOOTHING_MM / spacing_mm)
    closed |= _small_holes(closed, HOLE_MM2 / spacing_mm**2)
    ball = _within(closed, RIM_MM / spacing_mm)
    mask = np.zeros_like(air)
    outer = tuple(
        slice(max(0, part.start - room), min(size, part.stop + room))
        for part, size in zip(box, air.shape, strict=True)
    )
    inner = tuple(
        slice(a.start - (b.start - room), a.stop - (b.start - room))
        for a, b in zip(outer, box, strict=True)
    )
    mask[outer] = ball[inner]
    return mask, volume_ml


def _lung_air(image: Array, spacing_mm: float) -> Array:
    air = image < AIR_HU
    # Plane by plane: through the nose or a tube the room's air may reach into the lungs.
    pieces, count = ndimage.label(air, IN_PLANE)
    faces = (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1])
    touching = np.unique(np.concatenate([face.ravel() for face in faces]))
    is_left_out = np.zeros(count + 1, bool)
    is_left_out[touching] = True
    # The trachea joins both lungs, and leads the box up to the mouth.
    areas = np.bincount(pieces.ravel(), minlength=count + 1) * spacing_mm**2
    emptiest = ndimage.minimum(image, pieces, np.arange(count + 1))
    is_left_out |= (areas < AIRWAY_MM2) & (np.asarray(emptiest) < AIRWAY_HU)
    is_left_out[0] = True
    inner = ~is_left_out[pieces]
    pieces, count = ndimage.label(inner)
    if not count:
        return inner
    numbers = np.arange(1, count + 1)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    large = numbers[sizes * spacing_mm**3 / 1000 > SMALLEST_ML * SECOND_LUNG]
    means = np.asarray(ndimage.mean(image, pieces, large)) if len(large) else np.empty(0)
    lungs = large[means > GAS_HU]
    lungs = lungs[np.argsort(-sizes[lungs - 1], kind="stable")][:2]
    lungs = lungs[sizes[lungs - 1] >= SECOND_LUNG * sizes[lungs - 1].max(initial=0)]
    filled: Array = ndimage.binary_fill_holes(np.isin(pieces, lungs))
    return filled


def _closed(mask: Array, radius: float) -> Array:
    """Closed by a ball, through distances: a ball as a footprint takes minutes."""
    grown = _within(mask, radius)
    closed: Array = mask | (ndimage.distance_transform_edt(grown) > radius)
    return closed


def _within(mask: Array, radius: float) -> Array:
    near: Array = ndimage.distance_transform_edt(~mask) <= radius
    return near


def _dents(lungs: Array, spacing_mm: float) -> Array:
    """What grows inwards from the chest wall, so far as the lung around it tells."""
    middle = _middle(lungs)
    angle, distance = _polar(lungs, middle)
    farthest, nearest = _reach(lungs, angle, distance)
    hulls = np.zeros_like(lungs)
    for number, plane in enumerate(lungs):
        for side in (np.s_[:, :middle], np.s_[:, middle:]):
            hulls[number][side] |= _hull(plane[side])
    planes = np.arange(len(lungs))[:, None, None]
    has_lung = farthest > 0
    is_beyond = has_lung[planes, angle] & (distance > farthest[planes, angle])
    # Where the lung above and below goes farther out than here, something is in its place.
    window = 2 * int(TALLEST_MM / spacing_mm / 2) + 1
    outer = ndimage.grey_closing(farthest, (window, 1))
    inner = ndimage.grey_opening(nearest, (window, 1))
    from_front = np.abs((np.arange(ANGLES) + 0.5) * 360 / ANGLES - 90)
    is_missing = ~has_lung & (from_front > FRONT) & np.isfinite(inner)
    is_between = is_missing[planes, angle] & (distance >= inner[planes, angle])
    within = (is_beyond | is_between) & (distance <= outer[planes, angle])
    dents: Array = (hulls & is_beyond) | within
    return dents & ~lungs


def _small_holes(mask: Array, largest: float) -> Array:
    """Holes of each plane, of at most so many voxels."""
    holes, count = ndimage.label(~mask, IN_PLANE)
    sizes = np.bincount(holes.ravel(), minlength=count + 1)
    sizes[0] = largest + 1
    small: Array = (sizes <= largest)[holes]
    return small


def _middle(lungs: Array) -> int:
    """The column between the lungs: the emptiest in the middle third."""
    columns = lungs.sum(axis=(0, 1))
    used = np.flatnonzero(columns)
    low, high = int(used[0]), int(used[-1]) + 1
    third = (high - low) // 3
    inner = columns[low + third : high - third]
    return low + third + int(np.argmin(inner)) if len(inner) else (low + high) // 2


def _hull(plane: Array) -> Array:
    hull = np.zeros_like(plane)
    points = np.argwhere(plane & ~ndimage.binary_erosion(plane))
    if len(points) < 3:
        return hull
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line
        return hull
    hull[polygon(corners[:, 0], corners[:, 1], plane.shape)] = True
    return hull


def _polar(lungs: Array, middle: int) -> tuple[Array, Array]:
    """`(rows, columns)` the sector, from 0, and the distance of each voxel from between the lungs.

    Sectors begin at the right and go by the front.
    """
    used = np.flatnonzero(lungs.any(axis=(0, 2)))
    y, x = np.indices(lungs.shape[1:])
    y, x = y - (used[0] + used[-1]) / 2, x - middle
    turn = np.arctan2(y, x) / (2 * np.pi) + 0.5
    return np.floor(turn * ANGLES).astype(np.int64) % ANGLES, np.hypot(y, x)


def _reach(lungs: Array, angle: Array, distance: Array) -> tuple[Array, Array]:
    """`(planes, sectors)` the farthest and the nearest lung; 0 and infinity where there is none."""
    farthest = np.zeros((len(lungs), ANGLES))
    nearest = np.full((len(lungs), ANGLES), np.inf)
    plane, row, column = np.nonzero(lungs)
    sector, away = angle[row, column], distance[row, column]
    np.maximum.at(farthest, (plane, sector), away)
    np.minimum.at(nearest, (plane, sector), away)
    return farthest, nearest
