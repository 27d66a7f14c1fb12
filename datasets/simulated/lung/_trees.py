"""Trees that fill the lungs: arteries, veins and airways."""

from dataclasses import dataclass

import numpy as np

from fieldsight.datasets.sample import Array
from fieldsight.datasets.simulated.lung._anatomy import Chest
from fieldsight.datasets.simulated.lung._raster import sampled

# Murray's law: what flows in flows out, and flow grows with this power of the radius.
_MURRAY = 2.8
_TIP_MM = 0.47  # radius of the last vessels that are drawn; below, they are texture


@dataclass(frozen=True, eq=False)
class Tree:
    """Curved segments `n` that taper.

    Args:
        starts: `(n, 3)` millimetres.
        bends: `(n, 3)` the curves' control points.
        ends: `(n, 3)`.
        radii: `(n, 2)` millimetres at start and end.
        levels: `(n,)` how many forks lie before.
    """

    starts: Array
    bends: Array
    ends: Array
    radii: Array
    levels: Array

    def take(self, chosen: Array) -> "Tree":
        """Some of the segments."""
        return Tree(*(a[chosen] for a in (
            self.starts, self.bends, self.ends, self.radii, self.levels
        )))  # fmt: skip


def joined(trees: list[Tree]) -> Tree:
    """All segments as one tree."""
    return Tree(*(
        np.concatenate([getattr(tree, name) for tree in trees])
        for name in ("starts", "bends", "ends", "radii", "levels")
    ))  # fmt: skip


def hila(chest: Chest) -> Array:
    """`(2, 3)` millimetres: where vessels and airways enter the right and the left lung."""
    z = chest.level(np.array([0.51, 0.53]))
    y = (chest.front(z) + chest.spine(z)) / 2 + 12
    return np.stack([z, y, np.array([-36.0, 38.0]) * chest.size[2]], 1)


def vessels(chest: Chest, rng: np.random.Generator, depth: int) -> list[Tree]:
    """Arteries and veins of both lungs, right artery first: `2**depth` tips each."""
    roots, sides = [], []
    for side, hilum in zip((-1, 1), hila(chest), strict=True):
        # Veins enter below the arteries and in front of them.
        roots += [hilum + np.array([6, 3, 0]), hilum + np.array([-16, -8, 0])]
        sides += [side, side]
    points = np.stack([_within(chest, rng, side, 2**depth) for side in sides])
    return _grown(np.stack(roots), points, rng)


def airways(chest: Chest, arteries: list[Tree], rng: np.random.Generator) -> Tree:
    """Windpipe, main bronchi, and in each lung bronchi beside its arteries.

    Radii are of the outer wall.
    """
    hilum = hila(chest)
    width = rng.uniform(7.5, 10.0) * chest.size[2]
    fork = chest.level(0.62)
    carina = np.array([fork, chest.spine(fork) - 30, 2.0])
    top = chest.level(1.25)
    throat = np.array([top, chest.spine(chest.level(1.0)) - 34, 0.0])
    starts = [throat, carina, carina]
    ends = [carina, hilum[0] + (4, 2, 0), hilum[1] + (-2, 4, 0)]
    radii = [(width, width), (width * 0.8, width * 0.66), (width * 0.74, width * 0.6)]
    trunk = Tree(
        np.array(starts),
        (np.array(starts) + np.array(ends)) / 2 + (3.0, 0, 0),
        np.array(ends),
        np.array(radii),
        np.zeros(3, int),
    )
    parts = [trunk]
    for artery in arteries:
        upper = artery.take(artery.levels < 5)
        outer = upper.radii * 0.9 + 0.3
        shift = np.array([-3.0, 5.0, 0.0])
        shift = shift / np.linalg.norm(shift) * (outer[:, :1] + upper.radii[:, :1]) * 0.95
        parts.append(
            Tree(upper.starts + shift, upper.bends + shift, upper.ends + shift, outer, upper.levels)
        )
    return joined([trunk, *(clear_of(chest, part, 1) for part in parts[1:])])


def _within(chest: Chest, rng: np.random.Generator, side: int, count: int) -> Array:
    """Points spread through a lung, `(count, 3)`: a jittered choice of the grid's voxels."""
    inside = chest.lung < -3
    x = chest.grid.axis(2)
    inside &= ((x * side) > 0)[None, None, :]
    places = np.argwhere(inside)
    # Every k-th voxel of a shuffled fine order would clump; strata along the order don't.
    picks = (np.arange(count) + rng.random(count)) / count * len(places)
    chosen = places[picks.astype(int)] + rng.uniform(-0.5, 0.5, (count, 3))
    points: Array = chest.grid.origin + chosen * chest.grid.spacing
    return points


def _grown(roots: Array, points: Array, rng: np.random.Generator) -> list[Tree]:
    """Halve each tree's tips, level after level, and fork on the way to each half's middle."""
    trees, tips, _ = points.shape
    flow = rng.lognormal(0, 0.35, (trees, tips))
    nodes = roots[:, None, :]  # (trees, groups, 3), where the last level's forks are
    groups = points[:, None]  # (trees, groups, tips of it, 3)
    flows = flow[:, None]
    heading = np.zeros_like(nodes)
    levels: list[tuple[Array, ...]] = []
    level = 0
    while groups.shape[2] >= 1:
        middle = groups.mean(2)
        # Tips end where they were put; forks lie before their group's middle.
        # The first forks lie near the hilum: from there, long branches run to the pleura.
        low, high = (0.22, 0.42) if level < 4 else (0.45, 0.65)
        share = rng.uniform(low, high, (*middle.shape[:2], 1)) if groups.shape[2] > 1 else 1.0
        ends = nodes + share * (middle - nodes)
        length = np.linalg.norm(ends - nodes, axis=-1, keepdims=True)
        bends = (nodes + ends) / 2 + 0.22 * length * heading
        bends = bends + rng.normal(0, 0.045, bends.shape) * length
        radius = _TIP_MM * flows.sum(2) ** (1 / _MURRAY)
        levels.append((nodes, bends, ends, radius, np.full(radius.shape, level)))
        if groups.shape[2] == 1:
            break
        heading = (ends - bends) / np.maximum(
            np.linalg.norm(ends - bends, axis=-1, keepdims=True), 1e-6
        )
        groups, flows = _halved(groups, flows, rng)
        nodes, heading = np.repeat(ends, 2, 1), np.repeat(heading, 2, 1)
        level += 1
    return [_tree(levels, tree) for tree in range(trees)]


def _halved(groups: Array, flows: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    trees, count, size, _ = groups.shape
    spread = groups - groups.mean(2, keepdims=True)
    # The direction of a group's greatest spread, by a few steps of the power method.
    axis = rng.standard_normal((trees, count, 3, 1))
    covariance = np.swapaxes(spread, 2, 3) @ spread
    for _ in range(4):
        axis = covariance @ axis
        axis /= np.maximum(np.linalg.norm(axis, axis=2, keepdims=True), 1e-12)
    order = np.argsort((spread @ axis)[..., 0], axis=2, kind="stable")
    groups = np.take_along_axis(groups, order[..., None], 2)
    flows = np.take_along_axis(flows, order, 2)
    half = size // 2
    return groups.reshape(trees, count * 2, half, 3), flows.reshape(trees, count * 2, half)


def _tree(levels: list[tuple[Array, ...]], tree: int) -> Tree:
    starts, bends, ends, radius, number = (
        np.concatenate([level[part][tree] for level in levels]) for part in range(5)
    )
    # A segment begins a little thicker than it goes on, as after a fork.
    return Tree(starts, bends, ends, np.stack([radius * 1.05, radius * 0.92], 1), number)


def clear_of(chest: Chest, tree: Tree, beyond: int = 3) -> Tree:
    """Without the segments after `beyond` forks that would run through what isn't lung."""
    middle = (tree.starts + 2 * tree.bends + tree.ends) / 4
    inside = sampled(chest.lung, chest.grid, middle) < -0.5
    return tree.take(inside | (tree.levels < beyond))
