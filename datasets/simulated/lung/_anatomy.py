"""The chest on a coarse grid: fields of distance whose zero levels are the organs' surfaces.

A field is in millimetres, negative inside. Surfaces are smooth, so that linear interpolation of
these fields between points 5 mm apart puts them within a tenth of a millimetre of their place.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung._raster import Grid

STEP_MM = 5.0
HALF_WIDTH_MM, HALF_DEPTH_MM = 235.0, 180.0

# Of the pleural cavity and of the body, from the lungs' base (0) to their apex (1), millimetres.
_HEIGHT = (0.0, 0.15, 0.35, 0.6, 0.8, 0.92, 1.0, 1.1)
_CAVITY_WIDTH = (124.0, 130.0, 131.0, 120.0, 101.0, 80.0, 56.0, 22.0)  # half of it
_CAVITY_BACK = (92.0, 94.0, 94.0, 90.0, 80.0, 67.0, 50.0, 38.0)
_CAVITY_DEPTH = (90.0, 95.0, 94.0, 84.0, 65.0, 46.0, 28.0, 12.0)  # half of it
_BODY_WIDTH = (146.0, 152.0, 156.0, 160.0, 166.0, 184.0, 205.0, 215.0)
_BODY_BACK = (116.0, 119.0, 120.0, 118.0, 112.0, 104.0, 97.0, 92.0)
_BODY_DEPTH = (110.0, 117.0, 117.0, 108.0, 97.0, 86.0, 78.0, 74.0)


@dataclass(frozen=True, eq=False)
class Chest:
    """One patient's chest.

    Args:
        grid: of the fields, coarse; 0 is the middle of the chest.
        body: `(z, y, x)` float32 millimetres, negative inside the skin.
        soft: negative in muscle, heart, vessels, liver; elsewhere in the body is fat.
        lung: negative in the lungs.
        soft_hounsfield: of soft tissue, where there is some.
        lung_hounsfield: of the lungs' tissue, where there is some.
        blood_hounsfield: of blood, which a contrast agent makes brighter.
        base: z of the lungs' lowest recess.
        height: from there to the lungs' apex.
        size: `(3,)` how much larger than the average along z, y and x.
        fat_mm: under the skin.
        female: whether she is.
    """

    grid: Grid
    body: Array
    soft: Array
    lung: Array
    soft_hounsfield: Array
    lung_hounsfield: Array
    blood_hounsfield: float
    base: float
    height: float
    size: Array
    fat_mm: float
    female: bool

    def level(self, t: float | Array) -> Array:
        """Millimetres along z of a height, 0 at the lungs' base and 1 at their apex."""
        return np.asarray(self.base + np.asarray(t) * self.height)

    def back(self, z: float | Array) -> Array:
        """Where, along y, is the pleural cavity's back wall."""
        return _along(_CAVITY_BACK, (np.asarray(z) - self.base) / self.height) * self.size[1]

    def front(self, z: float | Array) -> Array:
        """Where its front wall is."""
        t = (np.asarray(z) - self.base) / self.height
        depth: Array = self.back(z) - 2 * _along(_CAVITY_DEPTH, t) * self.size[1]
        return depth

    def half_width(self, z: float | Array) -> Array:
        """Of the pleural cavity."""
        t = (np.asarray(z) - self.base) / self.height
        return _along(_CAVITY_WIDTH, t) * self.size[2]

    def spine(self, z: float | Array) -> Array:
        """Where the vertebrae's middle is."""
        return self.back(z) - 33.0

    @property
    def lung_ml(self) -> float:
        """Both lungs' volume, vessels included, by the field's own grid."""
        cell = float(np.prod(self.grid.spacing)) / 1000
        return float(np.clip(0.5 - self.lung / STEP_MM, 0, 1).sum()) * cell


def chest(rng: np.random.Generator, *, prone: bool = False) -> Chest:
    """Draw a patient's chest; `prone` lies on the belly."""
    female = bool(rng.random() < 0.45)
    size = rng.normal(0.955 if female else 1.03, 0.04) * (1 + rng.normal(0, 0.03, 3))
    size = np.clip(size, 0.88, 1.12)
    height = 274.0 * size[0]
    base = -height / 2
    low, high = base - 30, base + height + 40
    shape = (
        int((high - low) / STEP_MM) + 1,
        int(2 * HALF_DEPTH_MM / STEP_MM) + 1,
        int(2 * HALF_WIDTH_MM / STEP_MM) + 1,
    )
    spacing = np.full(3, STEP_MM)
    grid = Grid(shape, np.array([low, -HALF_DEPTH_MM, -HALF_WIDTH_MM]), spacing)
    fat = float(np.clip(rng.gamma(4, 4 if female else 3.2), 5, 34))
    body = _Body(grid, base, height, size, fat, female, rng)
    contrast = bool(rng.random() < 0.4)
    blood = float(rng.uniform(130, 260) if contrast else rng.uniform(35, 48))
    return Chest(
        grid,
        body.skin,
        body.soft_tissue(),
        body.lungs,
        body.soft_hounsfield(blood),
        body.lung_hounsfield(prone),
        blood,
        base,
        height,
        size,
        fat,
        female,
    )


class _Body:
    """The fields, each made once from the axes and from each other."""

    def __init__(
        self,
        grid: Grid,
        base: float,
        height: float,
        size: Array,
        fat: float,
        female: bool,
        rng: np.random.Generator,
    ) -> None:
        self.grid, self.rng, self.fat, self.female = grid, rng, fat, female
        self.z, self.y, self.x = grid.open()
        t = (self.z - base) / height
        self.t, self.base, self.height = t, base, height
        back = _along(_CAVITY_BACK, t) * size[1]
        depth = _along(_CAVITY_DEPTH, t) * size[1]
        width = _along(_CAVITY_WIDTH, t) * size[2]
        self.middle, self.front, self.spine_y = back - depth, back - 2 * depth, back - 33
        self.cavity = self._oval(width, depth, self.middle, 2.3)
        self.cavity = np.maximum(self.cavity, self.z - (base + height))
        # No chest is an ellipse.
        self.cavity += 1.6 * _noise(rng, grid.shape, 4.0) + 0.5 * _noise(rng, grid.shape, 1.5)
        self.skin = self._skin(size)
        self.heart = self._heart()
        self.vessels = self._great_vessels()
        self.dome = self._diaphragm()
        self.lungs = self._lungs()

    def _oval(self, width: Array, depth: Array, middle: Array, power: float) -> Array:
        radius = np.abs(self.x / width) ** power + np.abs((self.y - middle) / depth) ** power
        return (radius ** (1 / power) - 1) * np.minimum(width, depth)

    def _ball(self, z: float, y: float, x: float, *axes: float) -> Array:
        a, b, c = axes
        radius = ((self.z - z) / a) ** 2 + ((self.y - y) / b) ** 2 + ((self.x - x) / c) ** 2
        return (np.sqrt(radius) - 1) * min(axes)

    def _tube(self, start: Array, end: Array, radius: float) -> Array:
        axis = np.asarray(end, np.float32) - np.asarray(start, np.float32)
        vector = (self.z - start[0], self.y - start[1], self.x - start[2])
        along = sum(v * a for v, a in zip(vector, axis, strict=True)) / float(axis @ axis)
        along = np.clip(along, 0, 1)
        square = sum((v - along * a) ** 2 for v, a in zip(vector, axis, strict=True))
        return np.sqrt(square) - np.float32(radius)

    def _at(self, t: float, what: Array) -> float:
        return float(np.interp(t, self.t.ravel(), what.ravel()))

    def _skin(self, size: Array) -> Array:
        t, fat = self.t, self.fat
        width = _along(_BODY_WIDTH, t) * size[2] + fat
        depth = _along(_BODY_DEPTH, t) * size[1] + 0.8 * fat
        back = _along(_BODY_BACK, t) * size[1] + 0.6 * fat
        skin = self._oval(width, depth, back - depth, 2.35)
        if self.female:
            bulge = 14 + 0.8 * self.fat
            for side in (-1, 1):
                z, front = self.base + 0.36 * self.height, self._at(0.36, back - 2 * depth)
                breast = self._ball(z, front + 18, side * 80 * size[2], 56, bulge + 18, 60)
                skin = _union(skin, breast, 22)
        return _distance(skin)

    def _heart(self) -> Array:
        """An egg that points to the left, the front and below."""
        y = self._at(0.28, self.front) + 58
        dz, dy, dx = self.z - (self.base + 0.30 * self.height), self.y - y, self.x - 20
        long = 0.72 * dx - 0.52 * dy - 0.46 * dz
        across = 0.60 * dx + 0.80 * dy + 0.03 * dz
        third = 0.36 * dx - 0.30 * dy + 0.88 * dz
        radius = np.sqrt((long / 66) ** 2 + (across / 50) ** 2 + (third / 52) ** 2)
        return (radius - 1) * np.float32(50)

    def _great_vessels(self) -> Array:
        rng = self.rng

        def at(t: float, y: float, x: float) -> Array:
            return np.array([self.base + t * self.height, y, x], np.float32)

        r = rng.uniform(11.5, 14.5)
        spine = self._at(0.65, self.spine_y) - 26
        root = self._at(0.5, self.front) + 62
        arch = at(0.74, (spine + root) / 2 - 4, 6)
        parts = [
            self._tube(at(-0.2, self._at(0.1, self.spine_y) - 24, 14), at(0.68, spine, 25), r),
            self._tube(at(0.68, spine, 25), arch, r),
            self._tube(arch, at(0.66, root - 4, -16), r + 1),
            self._tube(at(0.66, root - 4, -16), at(0.42, root, 0), r + 2),
            # The pulmonary trunk and its two arteries, the cava, vessels of the neck.
            self._tube(at(0.42, root - 14, 14), at(0.56, root + 2, 20), 13),
            self._tube(at(0.56, root + 2, 20), at(0.55, root + 26, 40), 10),
            self._tube(at(0.55, root + 8, 14), at(0.53, root + 28, -34), 10),
            self._tube(at(0.42, root + 4, -32), at(0.86, root + 4, -24), 9),
            self._tube(arch, at(1.15, self._at(1.0, self.middle), 22), 5),
            self._tube(at(0.74, root + 4, -4), at(1.15, self._at(1.0, self.middle), -22), 6.5),
        ]
        return np.minimum.reduce(parts)

    def _diaphragm(self) -> Array:
        rise = self.rng.normal(0, 8)
        top = self.base + np.where(self.x < 0, 68, 56) + rise
        middle = np.where(self.x < 0, -66, 70)
        radius = ((self.x - middle) / 78) ** 2 + ((self.y - 4) / 104) ** 2
        return (top - 96 * radius**1.3 - self.z) * np.float32(0.8)  # negative above

    def _mediastinum(self) -> Array:
        t, x, y = self.t, np.abs(self.x), self.y
        spine = np.sqrt(x**2 + (0.85 * (y - self.spine_y)) ** 2) - 21
        spine = np.minimum(spine, np.maximum(x - 16, self.spine_y - y))
        middle, half = (self.front + self.spine_y) / 2, (self.spine_y - self.front) / 2 + 4
        width = np.interp(t, (0, 0.3, 0.5, 0.7, 0.85, 1.0), (22, 24, 27, 27, 25, 24))
        width = width.astype(np.float32)
        radius = np.sqrt((x / width) ** 2 + ((y - middle) / half) ** 2)
        central = (radius - 1) * np.minimum(width, half)
        hila = [
            self._ball(self.base + 0.51 * self.height, self._at(0.5, middle) + 10, side, 20, 15, 14)
            for side in (-33, 35)
        ]
        total = _union(_union(spine, central, 8), np.minimum(*hila), 12)
        total = _union(_union(total, self.heart - 3, 8), self.vessels - 2, 5)
        return np.minimum(total, x - 2.5 - 4 * np.clip(0.4 - t, 0, 1))

    def _lungs(self) -> Array:
        lungs = -_union(-(self.cavity + 2), self._mediastinum(), 5)
        lungs = -_union(-lungs, -self.dome, 5)
        return _distance(-_union(-lungs, self.z - self.base, 8))

    def soft_tissue(self) -> Array:
        """Negative in muscle and organs; the rest of the body is fat."""
        lobules = _noise(self.rng, self.grid.shape, 2.0)
        under_skin = self.skin + 0.75 * self.fat + 3 + 1.5 * lobules
        shell = np.maximum(under_skin, -(self.cavity - 3))
        # Fat between the muscles of the shoulders and the back.
        seams = (np.abs(lobules) - 0.12) * -14
        shell = np.maximum(shell, np.where(self.cavity > 17, seams, -50))
        x = np.abs(self.x)
        spine = np.sqrt(x**2 + (0.9 * (self.y - self.spine_y)) ** 2) - 20
        gullet = np.hypot(self.x - 4, self.y - (self.spine_y - 27)) - 7
        belly = np.maximum(self.cavity, -self.dome) + 2 + 3 * np.clip(lobules, 0.6, 2) - 1.8
        parts = (shell, self.heart, self.vessels, spine, gullet, belly)
        return _distance(np.minimum.reduce([np.broadcast_to(p, self.grid.shape) for p in parts]))

    def soft_hounsfield(self, blood: float) -> Array:
        """Of soft tissue: muscle, liver, blood."""
        rng = self.rng
        values = 52 + 7 * _noise(rng, self.grid.shape, 1.2)
        below = np.clip(self.dome / 4, 0, 1) * (self.cavity < 0)
        liver = np.where(self.x < 30, 60 + 0.3 * (blood - 40), 45 + 0.4 * (blood - 40))
        values += below * (liver - 52)
        filled = np.minimum(self.heart + 9, self.vessels)
        values += np.clip(0.5 - filled / STEP_MM, 0, 1) * (blood - values)
        return values.astype(np.float32)

    def lung_hounsfield(self, prone: bool) -> Array:
        """Of the lungs' tissue: denser where the patient lies on it, torn in some."""
        rng, shape = self.rng, self.grid.shape
        down = -self.y if prone else self.y
        values = rng.normal(-868, 14) + rng.uniform(0.08, 0.3) * down
        values = values + 9 * _noise(rng, shape, 0.8) + 8 * _noise(rng, shape, 3)
        if rng.random() < 0.25:  # emphysema, more of it in the upper lobes
            torn = np.clip(_noise(rng, shape, 1.2) - 0.5 + 0.6 * (self.t - 0.5), 0, 1)
            values -= rng.uniform(30, 90) * torn
        if rng.random() < 0.35:  # what lies lowest has little air
            depth = np.clip(1 + self.lungs / 14, 0, 1) * np.clip(down / 60, 0, 1)
            values += rng.uniform(40, 160) * depth * np.clip(_noise(rng, shape, 2) + 0.4, 0, 1.5)
        return np.clip(values, -985, -500).astype(np.float32)


def _along(knots: tuple[float, ...], t: Array) -> Array:
    # Cosine weights instead of a spline: no overshoot, and a smooth silhouette.
    t = np.clip(np.asarray(t, np.float32), _HEIGHT[0], _HEIGHT[-1])
    place = np.clip(np.searchsorted(_HEIGHT, t, "right") - 1, 0, len(_HEIGHT) - 2)
    heights, values = np.array(_HEIGHT, np.float32), np.array(knots, np.float32)
    slope = np.gradient(values, heights)
    step = heights[place + 1] - heights[place]
    u = (t - heights[place]) / step
    result: Array = (
        (1 + 2 * u) * (1 - u) ** 2 * values[place]
        + u * (1 - u) ** 2 * step * slope[place]
        + u**2 * (3 - 2 * u) * values[place + 1]
        + u**2 * (u - 1) * step * slope[place + 1]
    )
    return result.astype(np.float32)


def _union(one: Array, other: Array, round_mm: float) -> Array:
    """Of two fields, with the crease between them rounded."""
    near = np.maximum(round_mm - np.abs(one - other), 0)
    union: Array = np.minimum(one, other) - near**2 / (4 * round_mm)
    return union


def _distance(field: Array) -> Array:
    """Make a field grow by a millimetre a millimetre where it is near zero."""
    z, y, x = np.gradient(field.astype(np.float32), STEP_MM)
    slope = np.sqrt(z * z + y * y + x * x)
    distance: Array = field / np.clip(slope, 0.3, 3)
    return distance.astype(np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Smooth noise of standard deviation 1; `scale` in steps of the grid."""
    wide = max(int(scale), 1)  # smooth noise is made on fewer points, and interpolated
    sides = [n // wide + 2 for n in shape]
    smooth = rng.standard_normal(sides, np.float32)
    smooth = ndimage.gaussian_filter(smooth, scale / wide, mode="nearest", truncate=2.5)
    smooth /= smooth.std()
    for axis, size in enumerate(shape):
        place = np.arange(size, dtype=np.float32) / wide
        low = place.astype(int)
        part = (place - low).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        smooth = np.take(smooth, low, axis) * (1 - part) + np.take(smooth, low + 1, axis) * part
    return np.asarray(smooth, np.float32)
