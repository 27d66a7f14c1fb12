"""A picture of the ground: light, plants, air, clouds and the sensor, at one date."""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated._fields import blur, grain, ripples, smooth
from fieldsight.datasets.simulated.forest._ground import Ground
from fieldsight.datasets.simulated.forest._materials import M, Setting, spectra, textures, vigour
from fieldsight.datasets.simulated.forest._plan import Plan, Sky

# Of clear air over the tropics, blue to near infrared: reflectance of the path, transmittance.
_PATH = np.array((0.068, 0.036, 0.020, 0.009), np.float32)
_THROUGH = np.array((0.85, 0.89, 0.92, 0.95), np.float32)
# Of smoke and haze: optical depth beside that of green light, and its own reflectance.
_HAZE = np.array((1.25, 1.0, 0.82, 0.5), np.float32)
_HAZE_WHITE = np.array((0.20, 0.19, 0.18, 0.20), np.float32)
_CLOUD = np.array((0.66, 0.65, 0.64, 0.68), np.float32)
_SHADOW = np.array((0.50, 0.57, 0.62, 0.66), np.float32)  # how much darker; the sky lights it
# W / (m2 um), the sun's above the air: a digital number of the chips is radiance x 100.
_SUN = np.array((1950, 1850, 1570, 1090), np.float32)
CLOUDY = 0.35  # opacity from which a pixel counts as cloud
MARGIN = 128  # pixels around the scene whose clouds throw shadows into it


@dataclass(frozen=True)
class Picture:
    """What a satellite sees at one date.

    Args:
        toa: `(4, rows, columns)` float32, reflectance above the air, of blue to near infrared.
        cloud: `(rows, columns)` float32, opacity of clouds.
        shadow: `(rows, columns)` float32, of their shadows, 0 to 1.
        haze: `(rows, columns)` float32, optical depth in green.
        sun: cosine of its angle from the zenith.
        trend: `(2, 4)` what the correction for the air gets wrong: gains, offsets.
    """

    toa: Array
    cloud: Array
    shadow: Array
    haze: Array
    sun: float
    trend: Array

    def surface(self) -> Array:
        """`(4, rows, columns)` uint16: surface reflectance x 10,000 as a product has it, from 1.

        The product is corrected for clear air and a mean of the haze; clouds and thicker haze
        stay in.
        """
        gains, offsets = self.trend
        mean = np.float32(np.median(self.haze[::16, ::16])) * _HAZE * np.float32(0.4)
        through = _THROUGH * np.exp(-mean)
        path = _PATH + _HAZE_WHITE * (1 - np.exp(-mean))
        scale = 10_000 * gains / through
        shift = offsets * 10_000 - path * scale
        out = np.empty(self.toa.shape, np.uint16)
        for band, values in enumerate(self.toa):
            np.copyto(
                out[band], np.clip(values * scale[band] + shift[band], 1, 20_000), casting="unsafe"
            )
        return out

    def numbers(self, where: tuple[slice, slice]) -> Array:
        """`(rows, columns, 4)` uint16 of a part: radiance x 100, as Kaggle's chips."""
        scale = _SUN * np.float32(self.sun / np.pi * 100)
        values = np.moveaxis(self.toa[:, *where], 0, -1) * scale
        return np.asarray(np.clip(np.rint(values), 1, 65_535), np.uint16)


class Surroundings:
    """What both pictures of a scene share: trees, soils, fields; float32 fields of its shape."""

    def __init__(
        self, rng: np.random.Generator, ground: Ground, plan: Plan, setting: Setting
    ) -> None:
        """Draw them."""
        shape = ground.shape
        noise = grain(rng, shape)
        # Crowns of 8 to 25 m: two sizes of bumps, each with its own light side.
        small, large = blur(noise, 0.2), blur(smooth(rng, shape, 3.4), 0.1)
        self.crowns = 0.9 * small + 0.75 * large
        self.mottles = smooth(rng, shape, 22, octaves=3, persistence=0.6)
        self.tone = smooth(rng, shape, 260, octaves=3)
        trees = (rng.random(shape, np.float32) < 0.0016).astype(np.float32)
        self.trees = np.minimum(4.2 * blur(trees, 0.22), 1)
        self.rows = ripples(shape, plan.angle, 5.2)
        self.relief = smooth(rng, shape, 150, octaves=2) * np.float32(rng.choice((0, 6, 14)))
        self.water = rng.uniform(0, 1, 2)
        dry, span = spectra()
        # Soils and species differ between regions.
        self.spectra = dry * _strayed(rng, 2 if setting == "other" else 1), span


def _strayed(rng: np.random.Generator, by: float) -> Array:
    """`(256, 4)`: how materials of this region differ from the table's, mostly in brightness."""
    alike, apart = rng.normal(0, 0.08, (256, 1)), rng.normal(0, 0.035 * by, (256, 4))
    return np.asarray(1 + alike + apart, np.float32)


def picture(
    rng: np.random.Generator,
    ground: Ground,
    around: Surroundings,
    material: Array,
    wetness: float,
    sky: Sky,
    setting: Setting,
) -> Picture:
    """Render a date."""
    azimuth = rng.uniform(0.6, 1.2) if wetness < 0.5 else rng.uniform(1.4, 2.4)
    sun = float(np.cos(np.deg2rad(rng.uniform(22, 45))))
    toward = float(np.cos(azimuth)), float(-np.sin(azimuth))  # rows, columns away from the sun
    light = _light(around, ground, material, toward, sun)
    grown = _vigour(rng, around, ground, material, wetness)
    cloud, shadow = _clouds(rng, ground.shape, sky, toward)
    haze = _haze(rng, ground.shape, sky, setting)
    dry, span = around.spectra
    trees = np.take(textures()[3], material) * around.trees
    tree = dry[1] + span[1] * np.float32(0.6)
    toa = np.empty((4, *ground.shape), np.float32)
    # The other setting's camera is less sharp and noisier, and its air holds more water.
    spread, noise, damp = (0.15, 0.016, 1.12) if setting == "other" else (0.09, 0.009, 1)
    through = np.exp(-haze)
    for band in range(4):
        image = np.take(dry[:, band], material) + np.take(span[:, band], material) * grown
        image += trees * (tree[band] * np.float32(0.9) - image)
        image *= light if band < 3 else 1 + (light - 1) * np.float32(0.85)
        image *= 1 - shadow * _SHADOW[band]
        image = _PATH[band] * np.float32(damp) + _THROUGH[band] * blur(image, spread)
        clear = through if band == 1 else through ** _HAZE[band]
        image = _HAZE_WHITE[band] + (image - _HAZE_WHITE[band]) * clear
        image += cloud * (_CLOUD[band] - image)
        # Shot noise of a small satellite: about one part in a hundred.
        toa[band] = image * (1 + np.float32(noise) * grain(rng, ground.shape))
    trend = np.stack(
        [rng.normal(1, 0.02, 4) * rng.normal(1, 0.04), rng.normal(0, 0.004, 4)]
    ).astype(np.float32)
    return Picture(toa, cloud, shadow, haze, sun, trend)


def _light(
    around: Surroundings, ground: Ground, material: Array, toward: tuple[float, float], sun: float
) -> Array:
    """How bright each pixel is lit, about 1: crowns' light sides, rows, relief."""
    crowns, mottles, rows, _ = textures()
    side = _slope(around.crowns, toward)
    lit = np.take(crowns, material) * (np.float32(0.62) * around.crowns - np.float32(0.75) * side)
    lit += np.take(mottles, material) * around.mottles
    either = np.where(ground.field & 1, around.rows[0], around.rows[1])
    lit += np.take(rows, material) * either
    lit += np.float32(0.025) * around.tone
    if around.relief.any():
        lit -= np.float32(0.55 * np.tan(np.arccos(sun))) * _slope(around.relief, toward)
    # Shadows of single trees lie on the side away from the sun.
    shadows = np.take(textures()[3], material) * np.roll(
        around.trees, (round(2 * toward[0]), round(2 * toward[1])), (0, 1)
    )
    lit -= np.float32(0.35) * shadows
    return np.asarray(np.maximum(1 + lit, 0.25), np.float32)


def _slope(height: Array, toward: tuple[float, float]) -> Array:
    """How much a surface falls in a direction, a pixel."""
    down, right = np.zeros_like(height), np.zeros_like(height)
    down[:-1] = height[:-1] - height[1:]
    right[:, :-1] = height[:, :-1] - height[:, 1:]
    return np.float32(toward[0]) * down + np.float32(toward[1]) * right


def _vigour(
    rng: np.random.Generator, around: Surroundings, ground: Ground, material: Array, wetness: float
) -> Array:
    """Where between dry and green each pixel is, 0 to 1."""
    mean, follows = vigour(wetness)
    mean = mean + rng.normal(0, 0.06, 256).astype(np.float32)
    mean[M.RIVER], mean[M.LAKE] = around.water
    mean[M.FLOWERS] = float(rng.random() < 0.5)
    fields = rng.uniform(-1, 1, 4096).astype(np.float32)
    fields[0] = 0
    grown = np.take(mean, material)
    grown += np.take(follows, material) * np.take(fields, ground.field)
    grown += np.float32(0.05) * around.tone + np.float32(0.06) * around.mottles
    return np.asarray(np.clip(grown, 0, 1), np.float32)


def _clouds(
    rng: np.random.Generator,
    shape: tuple[int, int],
    sky: Sky,
    toward: tuple[float, float],
) -> tuple[Array, Array]:
    """Opacity, and shadow, of `shape`."""
    nothing: Array = np.zeros(shape, np.float32)
    if sky in ("clear", "haze"):
        return nothing, nothing
    wide = (shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN)
    if sky == "scattered":
        field = smooth(rng, wide, rng.uniform(55, 130), octaves=4, persistence=0.5)
        field += np.float32(0.8) * smooth(rng, wide, 420)
        part, soft = rng.uniform(0.06, 0.3), rng.uniform(0.4, 1.3)
    else:
        field = smooth(rng, wide, rng.uniform(140, 260), octaves=4, persistence=0.45)
        field += np.float32(2.6) * smooth(rng, wide, 900)
        part, soft = rng.uniform(0.45, 0.8), rng.uniform(0.8, 2.0)
    level = float(np.quantile(field[::8, ::8], 1 - part))
    depth = np.clip((field - np.float32(level)) / np.float32(soft), 0, 1)
    depth = depth * depth * (3 - 2 * depth)
    billows = 1 + np.float32(0.06) * smooth(rng, wide, 22, octaves=3)
    high = rng.uniform(45, 115)
    dy, dx = round(toward[0] * high), round(toward[1] * high)
    inner = slice(MARGIN, MARGIN + shape[0]), slice(MARGIN, MARGIN + shape[1])
    moved = (
        slice(inner[0].start - dy, inner[0].stop - dy),
        slice(inner[1].start - dx, inner[1].stop - dx),
    )
    return np.asarray(depth * billows)[inner] * np.float32(0.93), np.ascontiguousarray(depth[moved])


def _haze(rng: np.random.Generator, shape: tuple[int, int], sky: Sky, setting: Setting) -> Array:
    """Optical depth in green."""
    base = rng.uniform(0.45, 0.95) if sky == "haze" else rng.uniform(0.0, 0.13)
    if setting == "other":
        base += 0.04
    field = 1 + np.float32(0.17) * smooth(rng, shape, 380, octaves=2)
    return np.asarray(np.float32(base) * np.maximum(field, 0.2))
