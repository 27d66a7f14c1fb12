"""Which inputs lie at some paths."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from fieldsight.datasets import _walking, birdsai, mot, stills
from fieldsight.datasets.errors import DataError, DatasetNotFoundError
from fieldsight.datasets.frames import videos
from fieldsight.datasets.frames.inputs import Input, Inputs, Kind, Shot
from fieldsight.datasets.frames.mosaics import Mosaic
from fieldsight.datasets.sample import Array

LEAST = 3  # pictures that make a sequence
STEP_AT_MOST = 30  # by which a sequence's numbers count on: a frame a second
BY_WINDOWS = 60_000_000  # pixels of a TIFF without a place that is read by windows all the same
AHEAD = 4  # frames that are read before they are asked for
OWN = "detections.coco.json"  # what `predict` writes beside the folders of what it draws
DRAWN = ("pictures", "videos")

_NUMBERED = re.compile(r"^(.*?)(\d+)$")
# What cameras call the pictures that they take one by one; programs write frames in lower case.
_CAMERAS = re.compile(r"^(DJI|IMG|DSC|DSCN|DSCF|PICT|PXL|GOPR|FLIR|SAM|MVIMG|P)[\d_-]")


def find(
    paths: Iterable[str | os.PathLike[str]],
    *,
    frames_per_second: float | None = None,
    sequences: bool | None = None,
) -> Inputs:
    """The inputs at these paths; headers are read, and no pixels.

    A folder's pictures are a sequence if their names are alike but for a number that counts on,
    they are of one size, and no camera says that it took each by itself (EXIF, or a name such as
    DJI_0007); MOTChallenge's and BIRDSAI's folders are. A GeoTIFF with a place on the map is an
    orthomosaic, and so is a TIFF of more than 60 million pixels.

    A file is taken once, whatever links lead to it; what `predict` has drawn is left out. Names are
    paths within what was asked for; where two would be alike, within the folder above all of it.

    Args:
        paths: pictures, videos, GeoTIFFs, folders with all that lies below them.
        frames_per_second: of sequences whose files don't say.
        sequences: whether folders of numbered pictures are sequences; None decides by the above.

    Raises:
        DatasetNotFoundError: if nothing is there that could be an input.
    """
    given = [Path(path).expanduser() for path in paths]
    search = _Search(frames_per_second, sequences)
    search.all(given)
    if search.twice and (above := _above(given)):
        search = _Search(frames_per_second, sequences, above)
        search.all(given)
    if not search.items:
        raise DatasetNotFoundError(
            f"{', '.join(map(str, given)) or 'no path'}: pictures, videos or GeoTIFFs were needed. "
            f"Received: {next(iter(search.failures.values()), 'none of them')}. Name a file or a "
            "folder that holds some."
        )
    items = sorted(search.items, key=lambda item: item.name)
    return Inputs(tuple(items), search.failures, tuple(search.notes))


def _above(paths: Sequence[Path]) -> Path | None:
    """The folder above all paths; None if there is none, as on two drives."""
    try:
        found = Path(os.path.commonpath([os.path.normpath(path.absolute()) for path in paths]))
    except ValueError:
        return None
    return found if found.is_dir() else found.parent


@dataclass
class _Search:
    frames_per_second: float | None
    sequences: bool | None
    above: Path | None = None  # that names are paths within; None for what was asked for
    items: list[Input] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    twice: bool = False  # whether two files would have had one name
    _drawn: int = 0  # folders
    _walked: set[str] = field(default_factory=set)  # real folders
    _seen: set[str] = field(default_factory=set)  # real files and sequences' folders

    def all(self, given: Sequence[Path]) -> None:
        """Take what lies at some paths, of folders first: a sequence is to keep its frames."""
        for path in sorted(given, key=lambda path: not path.is_dir()):
            if path.is_dir():
                self.folder(path)
            elif path.exists():
                name = self._within(path) if self.above else path.name
                if self._is_new(path):
                    self.file(path, name, asked=True)
            else:
                self.failures[str(path)] = (
                    f"{path}: a picture, a video or a folder was needed. Received: no such file. "
                    "Check its name."
                )
        if self._drawn:
            self.notes.append(
                "folders of pictures or videos that an earlier answer drew are left out: "
                f"{self._drawn}"
            )

    def _within(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.above)).as_posix()

    def _inner(self, path: Path, root: Path) -> str:
        """A path within what was asked for; its own name if it is that."""
        inner = self._within(path) if self.above else path.relative_to(root).as_posix()
        return path.absolute().name if inner == "." else inner

    def _is_new(self, path: Path) -> bool:
        """Whether a file, or a sequence's folder, wasn't taken yet, whatever led to it."""
        real = os.path.realpath(path)
        if real in self._seen:
            return False
        self._seen.add(real)
        return True

    def add(self, item: Input) -> None:
        taken = {each.name for each in self.items}
        path, name, number = Path(item.name), item.name, 2
        while name in taken:
            self.twice = True
            last = f"{path.stem}-{number}{path.suffix}"
            name, number = path.with_name(last).as_posix(), number + 1
        if name != item.name:
            item = Input(name, item.kind, item.path, item.frames_per_second, item.count,
                         item.shots, item.names, item.failures)  # fmt: skip
        self.items.append(item)

    def file(self, path: Path, name: str, *, asked: bool = False) -> None:
        """Take a file; one that was asked for by its name, and can't be used, is told."""
        suffix = path.suffix.lower()
        try:
            if suffix in videos.SUFFIXES:
                self.add(videos.video(path, name))
            elif suffix in stills.SUFFIXES:
                self.add(_picture(path, name, self.frames_per_second))
            elif asked:
                # Whatever its name says, it may be a video.
                self.add(videos.video(path, name))
        except DataError as error:
            self.twice |= name in self.failures
            self.failures[name] = str(error)

    def folder(self, root: Path) -> None:
        """Take all that lies in a folder and below it."""
        for sequence in mot.sequences(root):
            place = mot.frames_folder(sequence)
            rate = mot.rate(sequence) or self.frames_per_second
            if self._is_new(place):
                self._sequence(self._inner(sequence, root), place, mot.numbered(place), rate)
        for part in birdsai.parts(root):
            for place in sorted(each for each in (part / "images").iterdir() if each.is_dir()):
                if self._is_new(place):
                    self._sequence(self._inner(place, root), place, mot.numbered(place),
                                   self.frames_per_second)  # fmt: skip
        for current, names in _walking.walk(root, walked=self._walked, leave=self._is_drawn):
            if os.path.realpath(current) not in self._seen:
                self._flat(current, [name for name in names if self._is_new(current / name)], root)

    def _is_drawn(self, folder: Path, name: str) -> bool:
        """Whether a folder holds what `predict` drew: looked at again, all would count twice."""
        drawn = name in DRAWN and (folder / OWN).is_file()
        if drawn:
            self._drawn += 1
        return drawn

    def _flat(self, folder: Path, names: Sequence[str], root: Path) -> None:
        """Take the files of one folder."""
        pictures = [name for name in names if name.lower().endswith(stills.SUFFIXES)]
        members: dict[tuple[str, str], dict[int, Path]] = {}
        for name in pictures:
            path = folder / name
            found = _NUMBERED.match(path.stem)
            if found:
                series = members.setdefault((found[1], path.suffix.lower()), {})
                series.setdefault(int(found[2]), path)
        taken: set[str] = set()
        whole = [key for key, series in members.items() if self._is_sequence(key[0], series)]
        for key in whole:
            series = dict(sorted(members[key].items()))
            name = self._inner(folder, root)
            if len(whole) > 1 or len(series) < len(pictures):
                name = f"{name}/{key[0].rstrip('_-. ') or 'frames'}"
            self._sequence(name, folder, series, self.frames_per_second)
            taken |= {path.name for path in series.values()}
        for name in names:
            if name not in taken:
                self.file(folder / name, self._inner(folder / name, root))

    def _is_sequence(self, prefix: str, series: Mapping[int, Path]) -> bool:
        if self.sequences is False or len(series) < LEAST:
            return False
        if self.sequences:
            return True
        numbers = sorted(series)
        if numbers[-1] - numbers[0] > STEP_AT_MOST * len(numbers) or _CAMERAS.match(prefix + "0"):
            return False
        sizes = set()
        for path in (series[numbers[0]], series[numbers[len(numbers) // 2]], series[numbers[-1]]):
            try:
                header = stills.header(path)
            except DataError:
                continue  # a broken frame says nothing about the others
            if header.camera or _is_mosaic(path, header):
                return False
            sizes.add(header.size)
        return len(sizes) == 1

    def _sequence(
        self, name: str, place: Path, pictures: Mapping[int, Path], rate: float | None
    ) -> None:
        if not pictures:
            self.failures[name] = (
                f"{name}: pictures with a number at the end of their names were needed. Received: "
                "none. Copy them there."
            )
            return
        numbers = list(pictures)
        gaps = numbers[-1] - numbers[0] + 1 - len(numbers)
        if gaps:
            self.notes.append(f"{name}: of the frames {numbers[0]} to {numbers[-1]}, {gaps} aren't "
                              "there")  # fmt: skip
        self.add(sequence(name, place, pictures, rate))


def sequence(
    name: str, place: Path, pictures: Mapping[int, Path], frames_per_second: float | None
) -> Input:
    """Pictures by number as a sequence; each is read when its turn comes."""
    names = {number: f"{name}/{path.name}" for number, path in pictures.items()}
    reads = [(number, partial(stills.read, path)) for number, path in pictures.items()]
    return Input(name, "sequence", place, frames_per_second, len(pictures), _in_turn(reads), names)


def _in_turn(
    reads: Sequence[tuple[int, Callable[[], Array]]],
) -> Callable[[Input], Iterator[Shot]]:
    def shots(source: Input) -> Iterator[Shot]:
        first, rate = reads[0][0], source.frames_per_second
        for number, image in _ahead(reads):
            if isinstance(image, DataError):
                source.failures[source.frame_name(number)] = str(image)
            else:
                yield Shot(number, (number - first) / rate if rate else None, image)

    return shots


def _ahead(
    reads: Iterable[tuple[int, Callable[[], Array]]],
) -> Iterator[tuple[int, Array | DataError]]:
    """Pictures in their order, read in another thread while the caller works."""
    waiting: list[tuple[int, object]] = []
    rest = iter(reads)
    with ThreadPoolExecutor(1) as pool:
        try:
            while True:
                for number, read in islice(rest, AHEAD - len(waiting)):
                    waiting.append((number, pool.submit(_tried, read)))
                if not waiting:
                    return
                number, future = waiting.pop(0)
                yield number, future.result()  # type: ignore[attr-defined]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _tried(read: Callable[[], Array]) -> Array | DataError:
    try:
        return read()
    except DataError as error:
        return error


def _picture(path: Path, name: str, frames_per_second: float | None) -> Input:
    header = stills.header(path)
    if header.pages > 1:
        reads = [(page, partial(stills.read, path, page=page)) for page in range(header.pages)]
        return Input(name, "sequence", path, frames_per_second, header.pages, _in_turn(reads))
    mosaic = _is_mosaic(path, header)
    kind: Kind = "orthomosaic" if mosaic else "picture"

    def shots(_: Input) -> Iterator[Shot]:
        yield Shot(0, None, stills.read(path))

    return Input(name, kind, path, None, 1, shots)


def _is_mosaic(path: Path, header: stills.Header) -> bool:
    if path.suffix.lower() not in (*stills.TIFFS, ".jp2") or header.orientation != 1:
        return False
    if header.stored[0] * header.stored[1] > BY_WINDOWS:
        return True
    try:
        with Mosaic(path) as mosaic:
            return mosaic.grid.is_georeferenced
    except DataError:
        return False
