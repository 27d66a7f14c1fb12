"""HOTA, IDF1 and MOTA: what tracks are worth, as their authors define them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from fieldsight.core.boxes import distance, ignored, iou, match
from fieldsight.core.boxes.geometry import checked

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

ALPHAS = np.arange(0.05, 0.99, 0.05)  # likenesses from which on two boxes are one, in HOTA
ONE = 0.5  # the same in MOTA and IDF1
_EPS = float(np.finfo(float).eps)


class Tracks(NamedTuple):
    """The tracks of one sequence, true or found, a row a box.

    Attributes:
        frames: `(n,)` integers, the frame of each box, in any order.
        tracks: `(n,)` integers, its track; none twice in a frame.
        boxes: `(n, 4)` `xyxy` pixels.
    """

    frames: ArrayLike
    tracks: ArrayLike
    boxes: ArrayLike

    def checked(self, name: str) -> Tracks:
        """The same as arrays.

        Raises:
            ValueError: if they aren't of one length or a track is twice in a frame.
        """
        boxes = checked(self.boxes, f"{name}'s boxes")
        frames, tracks = (np.asarray(one, np.int64).reshape(-1) for one in self[:2])
        if not len(frames) == len(tracks) == len(boxes):
            raise ValueError(
                f"{name} needs a frame, a track and a box a row. Received: {len(frames)}, "
                f"{len(tracks)} and {len(boxes)}."
            )
        rows, counts = np.unique(np.stack([frames, tracks]), axis=1, return_counts=True)
        if (counts > 1).any():
            frame, track = rows[:, counts > 1][:, 0].tolist()
            raise ValueError(
                f"{name} may have a track once a frame. Received: track {track} twice in frame "
                f"{frame}."
            )
        return Tracks(frames, tracks, boxes)

    def where(self, kept: NDArray[np.bool_]) -> Tracks:
        """The rows of a mask."""
        return Tracks(*(np.asarray(one)[kept] for one in self))


@dataclass(frozen=True, eq=False)
class TrackScores:
    """What is counted of one sequence; of several, their sum (`sum(found, TrackScores())`).

    A figure is None where it has no answer: nothing there and nothing found.

    Attributes:
        objects: true boxes.
        findings: found boxes.
        true_tracks: how many.
        found_tracks: how many.
        hits: `(19,)` found boxes that are true at each of HOTA's likenesses.
        likeness: `(19,)` the sum of how like they are.
        association: `(19, 3)` the sum over hits of how well their tracks agree, of the share of
            the true track that the found one has, and of the found one that is true.
        matched: hits of MOTA.
        switches: how often a true track's found one is another than before.
        identities: hits of IDF1: boxes of tracks that belong together.
    """

    objects: int = 0
    findings: int = 0
    true_tracks: int = 0
    found_tracks: int = 0
    hits: Floats | float = 0.0
    likeness: Floats | float = 0.0
    association: Floats | float = 0.0
    matched: int = 0
    switches: int = 0
    identities: int = 0

    def __add__(self, other: TrackScores) -> TrackScores:
        """Both sequences together."""
        return TrackScores(**{name: getattr(self, name) + getattr(other, name)
                              for name in self.__dataclass_fields__})  # fmt: skip

    @property
    def hota_curve(self) -> Floats:
        """`(19,)` HOTA at each likeness."""
        return np.sqrt(self._detection * self._association(0))

    @property
    def hota(self) -> float | None:
        """Higher order tracking accuracy: the root of detection times association, on average."""
        return float(self.hota_curve.mean()) if self.objects + self.findings else None

    @property
    def det_a(self) -> float | None:
        """HOTA's detection accuracy: hits among all that is there or was found."""
        return float(self._detection.mean()) if self.objects + self.findings else None

    @property
    def ass_a(self) -> float | None:
        """HOTA's association accuracy: how well the tracks of hits agree."""
        return float(self._association(0).mean()) if self.objects + self.findings else None

    @property
    def loc_a(self) -> float | None:
        """How like hits are to what they hit; None without any at the least likeness."""
        hits = np.broadcast_to(self.hits, ALPHAS.shape)
        if not hits[0]:
            return None
        # By the official script a likeness at which there is no hit counts as 1.
        return float(
            np.divide(self.likeness, hits, out=np.ones(len(ALPHAS)), where=hits > 0).mean()
        )

    @property
    def mota(self) -> float | None:
        """1 less misses, false alarms and switches an object; None where there is none."""
        if not self.objects:
            return None
        wrong = self.objects + self.findings - 2 * self.matched + self.switches
        return 1 - wrong / self.objects

    @property
    def idf1(self) -> float | None:
        """F1 of boxes, where each true track has at most one found track."""
        both = self.objects + self.findings
        return 2 * self.identities / both if both else None

    @property
    def _detection(self) -> Floats:
        hits = np.broadcast_to(self.hits, ALPHAS.shape)
        return hits / np.maximum(1, self.objects + self.findings - hits)

    def _association(self, part: int) -> Floats:
        hits = np.broadcast_to(self.hits, ALPHAS.shape)
        association = np.broadcast_to(self.association, (len(ALPHAS), 3))
        return association[:, part] / np.maximum(1, hits)


def track_scores(
    truth: Tracks,
    found: Tracks,
    *,
    by: Literal["iou", "distance"] = "iou",
    reach: float | None = None,
) -> TrackScores:
    """Compare the tracks of one sequence with the true ones.

    Reference:
        Luiten et al., HOTA: a higher order metric for evaluating multi-object tracking,
        International Journal of Computer Vision 129, 2021; Ristani et al., Performance measures
        and a data set for multi-target, multi-camera tracking, ECCV workshops 2016 (IDF1);
        Bernardin and Stiefelhagen, Evaluating multiple object tracking performance: the CLEAR
        MOT metrics, EURASIP Journal on Image and Video Processing, 2008 (MOTA). Boxes are matched
        as the official script (trackeval) matches them.

    Args:
        truth: the true tracks, of one class or all as one.
        found: what was found.
        by: how like two boxes are: intersection over union; or, for tiny ones, 1 less the
            distance of the centres in twice the reach, so that at the reach it is a half.
        reach: pixels, with "distance" alone.

    Raises:
        ValueError: if rows don't fit, or `reach` is given with "iou" or isn't above 0.

    Example:
        One object in four frames, whose number changes in the third:

        >>> true = Tracks([0, 1, 2, 3], [7, 7, 7, 7], [[0, 0, 8, 8]] * 4)
        >>> scores = track_scores(true, true._replace(tracks=[1, 1, 2, 2]))
        >>> scores.switches, scores.mota, scores.idf1, round(scores.hota, 3)
        (1, 0.75, 0.5, 0.707)
    """
    if (by == "distance") != (reach is not None) or (reach is not None and not reach > 0):
        raise ValueError(
            "reach, above 0, is needed with by='distance' and nowhere else. Received: "
            f"by={by!r}, reach={reach}."
        )
    true, seen = truth.checked("truth"), found.checked("found")
    true_names, true_tracks = np.unique(true.tracks, return_inverse=True)
    names, tracks = np.unique(seen.tracks, return_inverse=True)
    pairs = list(_frames(true._replace(tracks=true_tracks), seen._replace(tracks=tracks), reach))
    lengths = np.bincount(true_tracks, minlength=len(true_names))
    found_lengths = np.bincount(tracks, minlength=len(names))
    hits, likeness, association = _hota(pairs, lengths, found_lengths)
    matched, switches = _clear(pairs, len(lengths))
    return TrackScores(
        len(true_tracks), len(tracks), len(lengths), len(found_lengths), hits, likeness,
        association, matched, switches, _identities(pairs, len(lengths), len(found_lengths)),
    )  # fmt: skip


def without_ignored(
    truth: Tracks, found: Tracks, regions: Tracks, *, threshold: float = ONE
) -> Tracks:
    """Leave out findings where nobody knows what is there, unless they are of something known.

    Args:
        truth: the true tracks.
        found: what was found.
        regions: boxes to be ignored by frame; their tracks aren't looked at.
        threshold: intersection over union of a finding with a true box from which on it stays;
            and the share of a finding within regions from which on it goes.

    Returns:
        The rows of `found` that are to be scored.
    """
    true, seen = truth.checked("truth"), found.checked("found")
    frames = np.asarray(regions.frames).reshape(-1)
    if not len(frames):
        return seen
    areas = checked(regions.boxes)
    kept = np.ones(len(np.asarray(seen.frames)), bool)
    for frame in np.unique(frames):
        rows = np.flatnonzero(np.asarray(seen.frames) == frame)
        boxes = np.asarray(seen.boxes)[rows]
        known = np.asarray(true.boxes)[np.asarray(true.frames) == frame]
        unknown = ignored(boxes, areas[frames == frame], threshold=threshold)
        kept[rows] = ~unknown | (match(boxes, known, np.zeros(len(rows)), threshold=threshold) >= 0)
    return seen.where(kept)


class _Pair(NamedTuple):
    """One frame: true tracks, found tracks, and how like each two are."""

    true: Indices
    found: Indices
    alike: Floats


def _frames(true: Tracks, found: Tracks, reach: float | None) -> Iterator[_Pair]:
    """Frames in order, those where nothing is and nothing was found left out."""
    every = np.unique(np.concatenate([true.frames, found.frames]))
    sides = []
    for one in (true, found):
        order = np.lexsort((np.asarray(one.tracks), np.asarray(one.frames)))
        frames, tracks, boxes = (np.asarray(column)[order] for column in one)
        ends = np.searchsorted(frames, every, side="right")[:-1]
        sides.append(list(zip(np.split(tracks, ends), np.split(boxes, ends), strict=True)))
    for (tracks, boxes), (others, seen) in zip(*sides, strict=True):
        if reach is None:
            alike = iou(boxes, seen)
        else:
            alike = np.maximum(0, 1 - distance(boxes, seen) / (2 * reach))
        yield _Pair(tracks, others, alike)


def _hota(pairs: list[_Pair], true: Indices, found: Indices) -> tuple[Floats, Floats, Floats]:
    together = np.zeros((len(true), len(found)))
    for one in pairs:
        rest = one.alike.sum(0)[None] + one.alike.sum(1)[:, None] - one.alike
        share = np.divide(one.alike, rest, out=np.zeros_like(one.alike), where=rest > _EPS)
        together[np.ix_(one.true, one.found)] += share
    belongs = together / np.maximum(true[:, None] + found[None] - together, 1)
    rows, columns, alike = [], [], []
    for one in pairs:
        i, j = linear_sum_assignment(belongs[np.ix_(one.true, one.found)] * one.alike, True)
        rows.append(one.true[i])
        columns.append(one.found[j])
        alike.append(one.alike[i, j])
    if not pairs:
        return np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS)), np.zeros((len(ALPHAS), 3))
    i, j, values = np.concatenate(rows), np.concatenate(columns), np.concatenate(alike)
    number, which = np.unique(i * len(found) + j, return_inverse=True)
    counts = np.zeros((len(ALPHAS), len(number)))
    counted = values[None] >= ALPHAS[:, None] - _EPS
    for k, hit in enumerate(counted):
        counts[k] = np.bincount(which[hit], minlength=len(number))
    mine, its = true[number // max(1, len(found))], found[number % max(1, len(found))]
    shares = np.stack([mine + its - counts, np.broadcast_to(mine, counts.shape),
                       np.broadcast_to(its, counts.shape)], axis=-1)  # fmt: skip
    association = (counts[..., None] ** 2 / np.maximum(1, shares)).sum(axis=1)
    return counted.sum(1).astype(float), (counted * values).sum(1), association


def _clear(pairs: list[_Pair], true: int) -> tuple[int, int]:
    """Hits and switches; whoever was matched in the frame before stays so if it may."""
    last, before = np.full(true, -1), np.full(true, -1)
    matched = switches = 0
    for one in pairs:
        if not one.alike.size:
            continue  # as the official script: a match holds over frames where nothing was found
        good = one.alike >= ONE - _EPS
        same = one.found[None] == before[one.true][:, None]
        value = np.where(good, one.alike + 1000 * same, 0)
        i, j = linear_sum_assignment(value, maximize=True)
        hit = value[i, j] > _EPS
        rows, columns = one.true[i[hit]], one.found[j[hit]]
        matched += len(rows)
        switches += int(np.sum((last[rows] >= 0) & (last[rows] != columns)))
        last[rows] = columns
        before[:] = -1
        before[rows] = columns
    return matched, switches


def _identities(pairs: list[_Pair], true: int, found: int) -> int:
    """Boxes in common of tracks, where each true one is given to at most one found one."""
    common = np.zeros((true, found))
    for one in pairs:
        common[np.ix_(one.true, one.found)] += one.alike >= ONE - _EPS
    return int(common[linear_sum_assignment(common, maximize=True)].sum())
