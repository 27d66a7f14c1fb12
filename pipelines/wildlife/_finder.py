"""What finds objects: the network, run on frames as they come and on mosaics by windows."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldsight.core import windows
from fieldsight.core.boxes import clip, suppress
from fieldsight.core.detection import Detections, decode, decode_batch
from fieldsight.core.runtime import predictor
from fieldsight.core.windows.context import context_of
from fieldsight.core.windows.reading import in_turn
from fieldsight.datasets import thermal
from fieldsight.datasets.detections import DISCLAIMER
from fieldsight.datasets.findings import Provenance
from fieldsight.pipelines import _models
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines.wildlife._cohort import Eye, Polarity
from fieldsight.pipelines.wildlife._tracks import ONE, WEAK

if TYPE_CHECKING:
    from fieldsight.datasets.frames import Mosaic, Shot
    from fieldsight.pipelines._models import ModelFile

Array = NDArray[Any]

LEAST = 0.02  # probability of what is weakest, where everything is asked for
OVERLAP = 0.5  # of two boxes of one class: then they are one object
WHOLE = 1_500_000  # pixels of a picture that is run at once; a larger one goes by windows
# Frames at most that are run at once, and their pixels: side by side, a core on each, so that the
# cores need not wait for each other at each layer.
AT_ONCE = 8
PIXELS = 2**22
AHEAD = 2  # batches that are asked for while the caller works on one
# Pixels of a window's side. More than half of what the smallest compute lies in margins, a third of
# what the largest do: along each axis the one that suits a picture best is taken, with no more
# than so many places in the answer, for memory's sake.
WINDOWS = range(1024, 2049, 128)
PLACES = 512
BATCH = 2  # windows that are run at once; of those of a row most are in pairs
CANDIDATES = 100_000  # in a frame or window at most: one may hold a colony


class NetworkFinder:
    """A trained detector with all that its card says of it; satisfies `_looking.Finder`.

    Args:
        network: the detector, or what runs it (`core.runtime.predictor`).
        classes: names by label.
        people: of these.
        vehicles: of these.
        threshold: the score from which a detection is one.
        stride: of the detector.
        largest_px: side of the largest object that it learned.
        eye: how it sees pictures.
        provenance: what outputs say of it.
        least: of scores that are given; None for what may prolong a track.
        ahead: whether frames may be asked for before the last one's objects are given: not where
            they come as somebody waits for the alert.
    """

    def __init__(
        self,
        network: Any,
        *,
        classes: Sequence[str],
        people: frozenset[str],
        vehicles: frozenset[str],
        threshold: float,
        stride: int,
        largest_px: float,
        eye: Eye,
        provenance: Provenance,
        least: float | None = None,
        ahead: bool = True,
    ) -> None:
        if isinstance(network, keras.Model):
            network = predictor(network, "keras")
        self.network, self.classes = network, tuple(classes)
        self.people, self.vehicles, self.threshold = people, vehicles, threshold
        self.stride, self.largest_px, self.eye = stride, largest_px, eye
        self.provenance = provenance
        self.least = WEAK * threshold if least is None else least
        self.ahead = ahead
        self.odd = ""  # of the last input: why nothing is known of it
        self._spare: collections.deque[Array] = collections.deque(maxlen=AHEAD)  # batches
        self._spare_windows: collections.deque[Array] = collections.deque()
        self._context = context_of(network.model)
        self._multiple = max(self._context.stride)

    def frames(self, shots: Iterable[Shot]) -> Iterator[tuple[Shot, Detections]]:
        """What is in each frame of one input, as `_looking.Finder` has it; some are run at once.

        A thermal sequence's first eight frames are waited for: they tell its scale.
        """
        for group, found in self._looks(shots):
            yield from zip(group, each_once(found, self.threshold), strict=True)

    def looks(self, shots: Iterable[Shot]) -> Iterator[tuple[Shot, Detections]]:
        """The same with each class by itself, as `look` has it."""
        for group, found in self._looks(shots):
            yield from zip(group, found, strict=True)

    def _looks(self, shots: Iterable[Shot]) -> Iterator[tuple[list[Shot], list[Detections]]]:
        seen = self.eye.follow(self._weighed(shots))
        if self.ahead:
            return self._ahead(seen)
        return (([shot], [self.look(shot.image)]) for shot in seen)

    def _weighed(self, shots: Iterable[Shot]) -> Iterator[Shot]:
        """The frames as they are; whether the first is of what the network learned is noted."""
        self.odd = ""
        for number, shot in enumerate(shots):
            if not number:
                self.odd = odd_for(self.eye, shot.image)
            yield shot

    def _ahead(self, shots: Iterable[Shot]) -> Iterator[tuple[list[Shot], list[Detections]]]:
        """The network runs on the next frames while the caller works on what is in these."""
        groups = ((group, self._filled(group)) for group in _alike(shots))
        for (group, batch), answers in in_turn(self._answer, groups, lambda: AHEAD + 1):
            if batch is None:
                yield group, [answers]
                continue
            self._spare.append(batch)
            yield group, self._objects(answers, group[0].image.shape[:2])

    def _filled(self, group: list[Shot]) -> Array | None:
        """What the network is to see of them at once; None of a picture that goes by windows."""
        images = [shot.image for shot in group]
        return self._batch(images) if _is_small(images[0]) else None

    def _answer(self, asked: tuple[list[Shot], Array | None]) -> Any:
        (first, *_), batch = asked
        return self._by_windows(first.image) if batch is None else self._run(batch)

    def look(self, image: Array) -> Detections:
        """All of at least `least` in a picture, each class by itself.

        Args:
            image: `(rows, columns, channels)` uint8, as the eye sees it.
        """
        if not _is_small(image):
            return self._by_windows(image)
        batch = self._batch([image])
        answers = self._run(batch)
        self._spare.append(batch)
        return self._objects(answers, image.shape[:2])[0]

    def _batch(self, images: Sequence[Array]) -> Array:
        """Pictures of one size as the network takes them, filled up to sides that it takes."""
        rows, columns, channels = images[0].shape
        missing = [(0, -side % self._multiple) for side in (rows, columns)]
        shape = (len(images), rows + missing[0][1], columns + missing[1][1], channels)
        # Memory that was written to before is filled many times faster than new memory.
        spare = self._spare.popleft() if self._spare else None
        batch = spare if spare is not None and spare.shape == shape else np.empty(shape, np.float32)
        mode = "reflect" if min(rows, columns) > self._multiple else "edge"
        for place, image in zip(batch, images, strict=True):
            if shape[1:3] != (rows, columns):
                image = np.pad(image, [*missing, (0, 0)], mode=mode)  # type: ignore[call-overload]
            np.copyto(place, image)
        return batch

    def _objects(self, answers: Array, size: tuple[int, int]) -> list[Detections]:
        """What a network's answers to pictures of a size say."""
        rows, columns = (-(-side // self.stride) for side in size)
        every = decode_batch(answers[:, :rows, :columns], **self._asked)
        return [_within(found, size) for found in every]

    def mosaic(self, mosaic: Mosaic, progress: Callable[[int, int], None]) -> Detections:
        """What is in an orthomosaic, by windows; places without data aren't looked at."""
        seen = _Seen(mosaic, self.eye)
        self.odd = seen.odd
        found = self._by_windows(seen, progress=progress)
        return once(found, self.threshold)

    def _by_windows(
        self, source: Any, progress: Callable[[int, int], None] | None = None
    ) -> Detections:
        step = 4 * self.stride
        overlap = int(max(step, -(-self.largest_px // step) * step))
        sides = [side for side in WINDOWS if side <= PLACES * self.stride] or WINDOWS[:1]
        window = windows.fitted(
            source.shape[:2], sides, margin=self._context.margin, stride=self._context.stride,
            overlap=overlap,
        )  # fmt: skip
        return windows.detect(
            source, self.network, functools.partial(decode, **self._asked), window=window,
            batch_size=BATCH, overlap=overlap, threshold=OVERLAP, progress=progress,
            spare=self._spare_windows,
        )  # fmt: skip

    def _run(self, batch: Array) -> Array:
        return np.asarray(self.network(batch))

    @functools.cached_property
    def _asked(self) -> dict[str, Any]:
        """Of whoever decodes an answer."""
        return {
            "num_classes": len(self.classes), "stride": self.stride, "threshold": self.least,
            "overlap": OVERLAP, "limit": CANDIDATES,
        }  # fmt: skip


def load(
    file: ModelFile,
    *,
    threshold: float | None = None,
    polarity: Polarity = "auto",
    ahead: bool = True,
) -> NetworkFinder:
    """The finder of a saved model, run by the fastest runtime there is.

    Args:
        file: that was found.
        threshold: instead of the card's.
        polarity: of thermal frames.
        ahead: as `NetworkFinder` has it.

    Raises:
        CommandError: if the card lacks what a finder needs, or the threshold is no probability.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise CommandError(f"--threshold: between 0 and 1 was needed. Received: {threshold}.")
    facts = file.card.facts
    try:
        found = NetworkFinder(
            predictor(_models.load_model(file.path)),
            classes=facts["classes"],
            people=frozenset(facts["people"]),
            vehicles=frozenset(facts["vehicles"]),
            threshold=float(facts["threshold"]) if threshold is None else threshold,
            stride=int(facts["stride"]),
            largest_px=float(facts["largest_px"]),
            eye=Eye(bool(facts["thermal"]), polarity),
            provenance=provenance_of(file),
            ahead=ahead,
        )
    except KeyError as error:
        raise CommandError(
            f"a model of fieldsight wildlife train was needed. Received: {file.title}, whose card "
            f"doesn't say {error.args[0]}."
        ) from error
    return found


def provenance_of(file: ModelFile) -> Provenance:
    """What outputs say of a model (C-10)."""
    card = file.card
    return Provenance(
        model=file.title, version=file.version or "", trained_on=card.data,
        simulated=card.simulated, run=file.run_id or card.run_id or "", software=card.version,
        disclaimer=DISCLAIMER,
    )  # fmt: skip


def _alike(shots: Iterable[Shot]) -> Iterator[list[Shot]]:
    """Frames in a row that may be run at once; a large one by itself."""
    group: list[Shot] = []
    for shot in shots:
        rows, columns = shot.image.shape[:2]
        most = min(AT_ONCE, PIXELS // (rows * columns)) if _is_small(shot.image) else 1
        if group and (len(group) >= most or group[0].image.shape != shot.image.shape):
            yield group
            group = []
        group.append(shot)
        if len(group) >= most:
            yield group
            group = []
    if group:
        yield group


def _is_small(image: Array) -> bool:
    """Whether a picture is run at once."""
    rows, columns = image.shape[:2]
    return rows * columns <= WHOLE


def once(found: Detections, threshold: float) -> Detections:
    """Each object once above the threshold: what other classes say of it counts as weaker.

    What they say isn't dropped: a track weighs it (`_tracks.Follower`).
    """
    return each_once([found], threshold)[0]


def each_once(pictures: Sequence[Detections], threshold: float) -> list[Detections]:
    """The same in each of some pictures, in less time."""
    sizes = [len(found) for found in pictures]
    boxes = np.concatenate([found.boxes for found in pictures])
    given = np.concatenate([found.scores for found in pictures])
    picture = np.repeat(np.arange(len(pictures)), sizes)
    kept = suppress(boxes, given, threshold=ONE, labels=picture)
    scores = np.minimum(given, np.nextafter(np.float32(threshold), np.float32(0)))
    scores[kept] = given[kept]
    changed = np.split(scores, np.cumsum(sizes)[:-1])
    return [
        Detections(found.boxes, mine, found.labels).take(np.argsort(-mine, kind="stable"))
        for found, mine in zip(pictures, changed, strict=True)
    ]


def alone(found: Detections) -> Detections:
    """Each object once, by its best class."""
    return found.take(np.sort(suppress(found.boxes, found.scores, threshold=ONE)))


def interval_of(
    facts: Mapping[str, Any],
) -> Callable[[str, bool, int], tuple[float, float] | None]:
    """From a count to its interval, by the errors that the card keeps of validation.

    Of single pictures it needs validation by single pictures: else there is none.
    """
    from fieldsight.pipelines.wildlife._track_scores import count_interval

    kept = facts.get("counts", {})
    made: dict[tuple[str, bool], Callable[[int], tuple[float, float]] | None] = {}

    def interval(label: str, by_tracks: bool, count: int) -> tuple[float, float] | None:
        key = (label, by_tracks)
        if key not in made:
            rows = kept.get("tracks" if by_tracks else "pictures", {}).get(label)
            made[key] = (
                None if rows is None else count_interval(np.array(rows[0]), np.array(rows[1]))
            )
        reach = made[key]
        return None if reach is None else reach(count)

    return interval


class _Seen:
    """A mosaic as the eye sees it: a source of `core.windows`."""

    def __init__(self, mosaic: Mosaic, eye: Eye) -> None:
        self._mosaic, self._eye = mosaic, eye
        self._valid: tuple[tuple[slice, slice], Array] | None = None
        self.shape = (*mosaic.shape[:2], eye.channels)
        self._scale = None
        some = list(mosaic.some(count=thermal.FIRST if eye.thermal else 1))
        self.odd = odd_for(eye, some[0]) if some else ""
        if eye.thermal and some and all(thermal.is_thermal(one) for one in some):
            self._scale = thermal.scale_of(some, polarity=eye.polarity)

    def read(self, slices: tuple[slice, slice]) -> Array:
        image, valid = self._mosaic.read_valid(slices)
        self._valid = slices, valid  # it is asked for next, and nothing is read twice
        return self._eye.see(image, self._scale)

    def valid(self, slices: tuple[slice, slice]) -> Array:
        known = self._valid
        return known[1] if known and known[0] == slices else self._mosaic.valid(slices)


def odd_for(eye: Eye, image: Array) -> str:
    """What is to be said of a picture of another kind than an eye learned; "" of its own kind."""
    if eye.thermal == thermal.is_thermal(image):
        return ""
    if eye.thermal:
        return (
            "the model learned thermal frames, and this is in colour: its brightness alone was "
            "looked at, and how well is not known"
        )
    return (
        "the model learned pictures in colour, and this has one channel: how well it was looked "
        "at is not known"
    )


def _within(found: Detections, size: tuple[int, int]) -> Detections:
    """What has its centre in the picture, cut at its edges."""
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    inside = ((middles >= 0) & (middles < (size[1], size[0]))).all(axis=1)
    boxes = clip(found.boxes, size).astype(np.float32)
    return Detections(boxes, found.scores, found.labels).take(np.flatnonzero(inside))
