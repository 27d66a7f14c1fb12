"""Where the camera is and what it sees of flat ground; places as longitude and latitude.

Ground is in metres: x to the right of the flight's mean heading, y along it, z up. Pixels are
measured from the picture's left and top edge, so that the first pixel's middle is at 0.5.
"""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.wildlife._plan import COLUMNS, RATE_HZ, ROWS, Plan

EARTH_M = 6_378_137.0  # WGS 84's equator; its ellipsoid's radii follow below
_FLATTENING = 1 / 298.257223563
_PARK = (31.55, -24.05)  # longitude and latitude: about the Kruger park's middle
_APART_DEGREES = 0.02  # flights don't touch


@dataclass(frozen=True)
class Pose:
    """The camera at one moment.

    Args:
        x, y: metres on the ground, below it.
        height_m: above ground.
        heading: radians clockwise from the mean heading.
        pitch: radians; -pi/2 looks straight down.
        focal_px: focal length.
    """

    x: float
    y: float
    height_m: float
    heading: float
    pitch: float
    focal_px: float

    def _axes(self) -> tuple[Array, Array, Array]:
        """The picture's right, its up, and the optical axis; unit vectors."""
        s, c = np.sin(self.heading), np.cos(self.heading)
        sp, cp = np.sin(self.pitch), np.cos(self.pitch)
        right = np.array([c, -s, 0.0])
        up = np.array([-sp * s, -sp * c, cp])
        axis = np.array([cp * s, cp * c, sp])
        return right, up, axis

    def to_pixels(self, points: Array) -> Array:
        """`(n, 2)` columns and rows of points `(n, 3)` in metres; may lie outside the picture."""
        right, up, axis = self._axes()
        apart = points - np.array([self.x, self.y, self.height_m])
        depth = (apart * axis).sum(-1)
        column = COLUMNS / 2 + self.focal_px * (apart * right).sum(-1) / depth
        row = ROWS / 2 - self.focal_px * (apart * up).sum(-1) / depth
        return np.stack([column, row], -1)

    def to_ground(self, columns: Array, rows: Array) -> tuple[Array, Array]:
        """X and y, each `(rows, columns)`, of the ground that pixels at these lines see."""
        right, up, axis = self._axes()
        across = (np.asarray(columns) - COLUMNS / 2) / self.focal_px
        down = (np.asarray(rows) - ROWS / 2) / self.focal_px
        # The ray's fall depends on the row alone, as the horizon is level.
        far = -self.height_m / (axis[2] - down * up[2])
        x = self.x + far[:, None] * ((axis[0] - down * up[0])[:, None] + across[None] * right[0])
        y = self.y + far[:, None] * ((axis[1] - down * up[1])[:, None] + across[None] * right[1])
        return x, y

    def flattened(self, points: Array) -> Array:
        """`(n, 2)` ground that points `(n, 3)` hide from the camera: how what stands leans."""
        below = np.array([self.x, self.y])
        return below + (points[:, :2] - below) * (self.height_m / (self.height_m - points[:, 2:]))


def poses(plan: Plan) -> list[Pose]:
    """Where the camera is at each frame: a nearly straight line with gusts, at times a turn."""
    rng = plan.rng(1)
    t = np.arange(plan.frames) / RATE_HZ
    gusts = [
        size * np.sin(2 * np.pi * t / rng.uniform(3, 9) + rng.uniform(0, 2 * np.pi))
        for size in (rng.uniform(0.02, 0.09), rng.uniform(0.02, 0.06), rng.uniform(0.3, 2.0))
    ]
    turn = rng.uniform(-0.5, 0.5) if rng.random() < 0.4 else 0.0
    middle, lasts = rng.uniform(0.3, 0.7) * t[-1], rng.uniform(0.4, 1.0)
    heading = gusts[0] + gusts[1] + turn / (1 + np.exp((middle - t) / lasts))
    height = plan.height_m * (1 + 0.025 * np.sin(2 * np.pi * t / rng.uniform(5, 15)))
    pitch = np.radians(np.full(len(t), plan.pitch_degrees))
    x, y = gusts[2], plan.speed_m_s * t
    return [
        Pose(float(x[i]), float(y[i]), float(height[i]), float(heading[i]), float(pitch[i]),
             plan.focal_px)
        for i in range(len(t))
    ]  # fmt: skip


def seen(path: list[Pose], margin_m: float = 4.0) -> tuple[float, float, float, float]:
    """The ground that all frames see: its smallest x and y, its largest x and y."""
    corners = np.array(
        [pose.to_ground(np.array([0.0, COLUMNS]), np.array([0.0, ROWS])) for pose in path]
    )
    x, y = corners[:, 0], corners[:, 1]
    return (float(x.min() - margin_m), float(y.min() - margin_m), float(x.max() + margin_m),
            float(y.max() + margin_m))  # fmt: skip


def to_degrees(plan: Plan, x: Array, y: Array) -> tuple[Array, Array]:
    """Longitude and latitude of ground in metres, on the plane that touches the ellipsoid there."""
    turned = np.radians(plan.heading_degrees)
    east = x * np.cos(turned) + y * np.sin(turned)
    north = y * np.cos(turned) - x * np.sin(turned)
    down, across = divmod(plan.number, 20)
    longitude0 = _PARK[0] + across * _APART_DEGREES
    latitude0 = _PARK[1] - down * _APART_DEGREES
    squared = _FLATTENING * (2 - _FLATTENING)
    bend = 1 - squared * np.sin(np.radians(latitude0)) ** 2
    along = EARTH_M * (1 - squared) / bend**1.5
    around = EARTH_M / bend**0.5 * np.cos(np.radians(latitude0))
    return longitude0 + np.degrees(east / around), latitude0 + np.degrees(north / along)
