"""One patient: anatomy, trees, clutter and nodules, put on a scanner's grid."""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.nodules import Nodule
from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung import _clutter, _nodules, _trees
from fieldsight.datasets.simulated.lung._anatomy import Chest, chest
from fieldsight.datasets.simulated.lung._bones import (
    CARTILAGE_HOUNSFIELD,
    MARROW_HOUNSFIELD,
    SHELL_HOUNSFIELD,
    put_vertebrae,
    skeleton,
)
from fieldsight.datasets.simulated.lung._lesions import put
from fieldsight.datasets.simulated.lung._raster import (
    Beads,
    Grid,
    Upsampling,
    blend,
    coverage,
    curves,
    join,
)
from fieldsight.datasets.simulated.lung._scanner import (
    AIR_HOUNSFIELD,
    Detail,
    Scanner,
    Setting,
    finished,
    position,
    scanner,
    table,
)
from fieldsight.datasets.volume import Volume

VERSION = 1
_FAT_HOUNSFIELD, _SKIN_HOUNSFIELD, _SKIN_MM = -104.0, 30.0, 2.0
_WALL_HOUNSFIELD, _BAND_HOUNSFIELD = -30.0, -20.0
_AT_ONCE = 250_000  # voxels whose tissue is made in one step
_SETTINGS = ("default", "other")


@dataclass(frozen=True, eq=False)
class Patient:
    """A simulated patient with what is true of it.

    Args:
        name: such as "SIM0-0007".
        number: of the patient.
        volume: the scan; `facts["simulated"]` is 1.
        nodules: that count, in the order of the mask's labels.
        excluded: what a reader would mark, and is no nodule that counts.
        mask: uint8 on the volume's grid; `k` is the k-th nodule, 0 none.
        cancer: 1 if the patient has it.
        chest: the anatomy, on its own grid.
        scanner: the series' settings.
    """

    name: str
    number: int
    volume: Volume
    nodules: tuple[Nodule, ...]
    excluded: tuple[Nodule, ...]
    mask: Array
    cancer: int
    chest: Chest
    scanner: Scanner


def patient(
    seed: int, number: int, detail: Detail = "quick", setting: Setting = "default"
) -> Patient:
    """Make one patient, the same whatever was made before.

    On another machine, too: places and sizes to the last digits, voxels within a Hounsfield unit
    or two, since sines and exponentials differ in their last bits.

    Args:
        seed: of the set of patients.
        number: of the patient in the set.
        detail: quick (240x240, slices of 2 to 2.5 mm) or full (512x512, 1 to 1.25 mm).
        setting: the default scanners, or one that no model is trained on: sharper, other noise,
            thicker slices. Its patients are others, too.

    Example:
        >>> patient(0, 0).volume.facts["simulated"]
        1
    """

    def stream(part: int) -> np.random.Generator:
        # A stream each, so that a change of one part leaves the others as they were.
        return np.random.default_rng((seed, number, _SETTINGS.index(setting), part))

    lying = position(stream(0))
    anatomy = chest(stream(1), prone=lying == "prone")
    machine = scanner(anatomy, lying, stream(2), detail, setting)
    grid = machine.grid
    step = float(min(grid.spacing[1] * 1.1, 2.0))
    # Trees don't depend on the grid, so that a patient is the same in both details.
    trees = _trees.vessels(anatomy, stream(3), 10)
    air = _trees.airways(anatomy, trees[::2], stream(4))
    found = _nodules.lesions(anatomy, _tubes(trees, 2.0), stream(5))
    canvas = _Canvas(anatomy, grid, table(grid, anatomy, lying == "prone"))
    canvas.bones(stream(6), step)
    canvas.lungs(trees, air, stream(7), step)
    excluded = canvas.clutter(stream(8))
    mask = np.zeros(grid.shape, np.uint8)
    canvas.nodules(found, mask, stream(9))
    hounsfield = finished(canvas.volume, machine, anatomy, stream(10))
    leak = stream(11).random() < _nodules.OCCULT
    name = f"SIM{seed}{'x' if setting == 'other' else '-'}{number:04d}"
    volume = Volume(
        machine.in_series(hounsfield),
        machine.affine,
        name=name,
        facts={"simulated": 1, "kernel": machine.kernel, "thickness_mm": machine.thickness_mm},
    )
    return Patient(
        name,
        number,
        volume,
        tuple(
            Nodule(
                machine.to_world(lesion.body.centre),
                lesion.diameter_mm,
                lesion.kind,
                lesion.place,
                lesion.malignancy,
                4,
            )
            for lesion in found
        ),
        tuple(Nodule(machine.to_world(thing.body.centre), thing.diameter_mm) for thing in excluded),
        machine.in_series(mask),
        int(leak or any(lesion.malignant for lesion in found)),
        anatomy,
        machine,
    )


def _tubes(trees: list[_trees.Tree], step: float) -> Beads:
    return join([curves(t.starts, t.bends, t.ends, t.radii, step) for t in trees])


class _Canvas:
    """A volume that is being drawn."""

    def __init__(self, anatomy: Chest, grid: Grid, table_plane: Array) -> None:
        self.chest, self.grid = anatomy, grid
        self.volume = np.empty(grid.shape, np.float32)
        self.lung = np.zeros(grid.shape, np.uint8)
        self._scratch = np.zeros(grid.shape, np.uint8)
        self._tissue(table_plane)

    def _tissue(self, table_plane: Array) -> None:
        """Everything whose surface is a field's zero level."""
        anatomy, edge = self.chest, np.float32(1 / self.grid.edge_mm)
        box = self._lung_box()
        inner = self.grid.part(box)
        whole, lungs = Upsampling(anatomy.grid, self.grid), Upsampling(anatomy.grid, inner)
        planes, rows, columns = self.grid.shape
        step = max(_AT_ONCE // (rows * columns), 1)
        half = np.float32(0.5)
        for start in range(0, planes, step):
            stop = min(start + step, planes)
            body = whole.planes(anatomy.body, start, stop)
            value = whole.planes(anatomy.soft_hounsfield, start, stop)
            value -= np.float32(_FAT_HOUNSFIELD)
            soft = whole.planes(anatomy.soft, start, stop)
            value *= np.clip(half - soft * edge, 0, 1)
            value += np.float32(_FAT_HOUNSFIELD)
            skin = np.clip(half + (body + np.float32(_SKIN_MM)) * edge, 0, 1)
            value += (np.float32(_SKIN_HOUNSFIELD) - value) * skin
            value -= AIR_HOUNSFIELD
            value *= np.clip(half - body * edge, 0, 1)
            value += AIR_HOUNSFIELD
            np.maximum(value, table_plane, out=value)
            field = lungs.planes(anatomy.lung, start, stop)
            filled = np.clip(half - field * edge, 0, 1)
            part = value[:, box[1], box[2]]
            part += (lungs.planes(anatomy.lung_hounsfield, start, stop) - part) * filled
            self.lung[start:stop, box[1], box[2]] = filled * np.float32(255)
            self.volume[start:stop] = value

    def _lung_box(self) -> tuple[slice, slice, slice]:
        places = np.argwhere(self.chest.lung < 0)
        low = self.chest.grid.origin + (places.min(0) - 1) * self.chest.grid.spacing
        high = self.chest.grid.origin + (places.max(0) + 1) * self.chest.grid.spacing
        start = np.floor((low - self.grid.origin) / self.grid.spacing).astype(int)
        stop = np.ceil((high - self.grid.origin) / self.grid.spacing).astype(int)
        _, rows, columns = self.grid.shape
        return (
            slice(0, self.grid.shape[0]),
            slice(max(int(start[1]), 0), min(int(stop[1]), rows)),
            slice(max(int(start[2]), 0), min(int(stop[2]), columns)),
        )

    def _paint(self, layers: list[tuple[Beads, float]], hounsfield: float) -> None:
        for beads, strength in layers:
            coverage(beads, self.grid, self._scratch, strength)
        flat = self._scratch.reshape(-1)
        index = np.flatnonzero(flat != 0)
        blend(self.volume, index, flat[index], hounsfield)
        flat[index] = 0

    def bones(self, rng: np.random.Generator, step: float) -> None:
        """Draw the skeleton; remembers where ribs end."""
        bones = skeleton(self.chest, rng, max(step, 3.0))
        put_vertebrae(self.volume, self.grid, self.chest)
        self._paint([(bones.bones, 1.0)], SHELL_HOUNSFIELD)
        self._paint([(bones.marrow, 1.0)], MARROW_HOUNSFIELD)
        self._paint([(bones.cartilage, 1.0)], CARTILAGE_HOUNSFIELD)
        self.rib_ends = bones.rib_ends

    def lungs(
        self, trees: list[_trees.Tree], air: _trees.Tree, rng: np.random.Generator, step: float
    ) -> None:
        """Draw vessels, fissures, scars and airways."""
        kept = [_trees.clear_of(self.chest, tree) for tree in trees]
        vessels = _tubes(kept, step)
        self._paint(
            [(vessels, 1.0), (_clutter.bulges(kept, rng), 1.0)], self.chest.blood_hounsfield
        )
        thin = [(_clutter.fissures(self.chest, step * 1.2), 0.3)]
        scars = _clutter.bands(self.chest, rng)
        if scars is not None:
            thin.append((scars, 0.85))
        self._paint(thin, _BAND_HOUNSFIELD)
        tubes = _tubes([air], step)
        wall = np.clip(0.14 * tubes.radii_mm + 0.25, 0.4, 1.3)
        self._paint([(tubes, 1.0)], _WALL_HOUNSFIELD)
        self._paint([(tubes.grown(-wall), 1.0)], AIR_HOUNSFIELD)

    def clutter(self, rng: np.random.Generator) -> list[_clutter.Thing]:
        """Draw what looks like nodules; returns what a reader would mark."""
        things = _clutter.things(self.chest, self.rib_ends, rng)
        for thing in things:
            lung = self.lung if thing.in_lung else None
            put(self.volume, self.grid, thing.body, thing.hounsfield, lung=lung)
        return [thing for thing in things if thing.excluded]

    def nodules(self, found: list[_nodules.Lesion], mask: Array, rng: np.random.Generator) -> None:
        """Draw the nodules, and their labels into the mask."""
        spicules = []
        for number, lesion in enumerate(found, 1):
            rays = _nodules.draw(
                lesion, number, self.volume, self.lung, mask, self.grid,
                self.chest.blood_hounsfield, rng,
            )  # fmt: skip
            if rays is not None:
                spicules.append((rays, 1.0))
        if spicules:
            self._paint(spicules, 30.0)
