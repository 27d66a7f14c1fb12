"""One animal, one box, however a mosaic is cut; pictures too few to be split are cut in pieces."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from fieldsight.core import windows
from fieldsight.core.windows.context import context_of
from fieldsight.datasets import animals
from fieldsight.datasets.findings import Provenance
from fieldsight.datasets.frames import Shot
from fieldsight.pipelines.wildlife import Train, _cohort, _finder, _network, _pieces, _recipes
from fieldsight.pipelines.wildlife._cohort import Eye
from fieldsight.pipelines.wildlife._finder import NetworkFinder, interval_of


def bright(channels: int = 1) -> Any:
    """A network, not a trained one, that answers where a picture is bright, in boxes of 8."""
    inputs = keras.Input((None, None, channels))
    x = keras.layers.AveragePooling2D(4)(inputs)
    heat = keras.layers.Conv2D(1, 3, padding="same", name="heat")(x)
    rest = keras.layers.Conv2D(4, 1, name="rest")(x)
    model = keras.Model(inputs, keras.layers.Concatenate()([heat, rest]))
    kernel = np.full((3, 3, channels, 1), 0.01, np.float32)
    kernel[1, 1] = 0.1
    model.get_layer("heat").set_weights([kernel, np.array([-12.0], np.float32)])
    size = np.array([np.log(2), np.log(2), 0, 0], np.float32)
    model.get_layer("rest").set_weights([np.zeros((1, 1, channels, 4), np.float32), size])
    model.compile(run_eagerly=True)  # each size of a window would be compiled by itself
    return model


def finder(model: Any, **settings: Any) -> NetworkFinder:
    given: dict[str, Any] = {
        "classes": ("zebra",), "people": frozenset(), "vehicles": frozenset(), "threshold": 0.5,
        "stride": 4, "largest_px": 12.0, "eye": Eye(True, "hot"),
        "provenance": Provenance(model="bright", simulated=False),
    }  # fmt: skip
    return NetworkFinder(model, **(given | settings))


def herd(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Any, Any]:
    """A picture with bright squares of 4 pixels, at least 20 apart, each on one place."""
    image = np.full((*size, 1), 20, np.uint8)
    places = []
    for row in range(8, size[0] - 8, 20):
        for column in range(8, size[1] - 8, 20):
            if rng.random() < 0.4:
                y, x = (4 * (each // 4) for each in (row, column))
                image[y : y + 4, x : x + 4] = 220
                places.append((x + 2, y + 2))
    return image, np.array(places)


def test_one_animal_is_one_box_at_forty_sizes_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    # W-6.
    rng = np.random.default_rng(0)
    image, places = herd(rng, (180, 260))
    found = finder(bright())
    for window in 4 * rng.integers(12, 75, 40):
        monkeypatch.setattr(_finder, "WINDOWS", [int(window)])
        cut = found._by_windows(image)
        middles = (cut.boxes[:, :2] + cut.boxes[:, 2:]) / 2
        assert len(cut) == len(places), window
        assert sorted(map(tuple, middles.round().astype(int))) == sorted(map(tuple, places))


def test_a_colony_is_found_whole_by_windows_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((1200, 1200, 1), 20, np.uint8)
    rows, columns = (each.ravel() for each in np.mgrid[6:1196:10, 6:1196:10] // 4 * 4)
    for row, column in zip(rows, columns, strict=True):
        image[row : row + 4, column : column + 4] = 220
    found = finder(bright())
    assert len(rows) == 119**2  # more than 10,000
    assert len(found.look(image)) == len(rows)
    monkeypatch.setattr(_finder, "WHOLE", 1000)
    assert len(found.look(image)) == len(rows)


@pytest.mark.parametrize(("stride", "largest"), [(4, 2048), (2, 1024)])
def test_windows_are_chosen_by_the_picture_and_no_larger_than_memory_holds(
    monkeypatch: pytest.MonkeyPatch, stride: int, largest: int
) -> None:
    network = _network.finder(1, 1, stride=stride, filters=(4, 4), pyramid=4)
    found = finder(network, stride=stride)
    asked = []

    def detect(*_: Any, window: Any, **__: Any) -> Any:
        asked.append(window)

    monkeypatch.setattr(windows, "detect", detect)
    found._by_windows(np.zeros((9000, 2050, 1), np.uint8))
    ((rows, columns),) = asked
    assert max(rows, columns) <= largest
    if stride == 4:  # two windows of half the columns, not two of 2,048
        assert columns < 1300


def test_a_large_picture_is_cut_and_a_small_one_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    image, places = herd(np.random.default_rng(1), (93, 131))
    found = finder(bright())
    assert len(found.look(image)) == len(places)
    monkeypatch.setattr(_finder, "WHOLE", 1000)
    monkeypatch.setattr(_finder, "WINDOWS", [64])
    assert len(found.look(image)) == len(places)


def test_frames_are_given_one_by_one_in_a_sequences_scale() -> None:
    image, _ = herd(np.random.default_rng(2), (96, 128))
    asked = []

    def shots() -> Any:
        for number in range(12):
            asked.append(number)
            yield Shot(number, None, image.astype(np.uint16) * 30 + 2000)

    given = finder(bright(), ahead=False).frames(shots())
    shot, found = next(given)
    assert asked == list(range(8))  # what a scale is made from, and nothing ahead of that
    assert shot.image.dtype == np.uint8
    assert len(found)
    next(given)
    assert len(asked) == 8
    assert len(list(given)) == 10


@pytest.mark.parametrize(("thermal", "word"), [(True, "in colour"), (False, "one channel")])
def test_pictures_of_another_kind_than_it_learned_are_told(thermal: bool, word: str) -> None:
    grey = herd(np.random.default_rng(1), (64, 96))[0]
    colour = np.concatenate([grey, grey // 2, 255 - grey], axis=2)
    own, other = (grey, colour) if thermal else (colour, grey)
    found = finder(bright(1 if thermal else 3), eye=Eye(thermal, "hot"))
    list(found.frames([Shot(0, None, other)]))
    assert word in found.odd
    list(found.frames([Shot(0, None, own)]))
    assert found.odd == ""


def test_looking_ahead_finds_the_same_and_a_watch_waits_for_no_later_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of one size never more than are run at once, of the third size, nor less.
    sizes = [64, 73, *[82] * 21, 91, 91, 100, 109, 64]
    shots = [
        Shot(n, None, herd(np.random.default_rng(n), (rows, 100))[0])
        for n, rows in enumerate(sizes)
    ]
    monkeypatch.setattr(_finder, "WHOLE", 100 * 95)  # the last ones go by windows
    monkeypatch.setattr(_finder, "WINDOWS", [64])
    asked: list[int] = []

    def coming() -> Iterator[Shot]:
        for shot in shots:
            asked.append(shot.number)
            yield shot._replace(image=np.repeat(shot.image, 3, axis=2))

    colour = {"eye": Eye(False), "least": 0.1}
    ahead = list(finder(bright(3), **colour).frames(coming()))
    assert len(ahead) == len(shots)
    asked.clear()
    waiting = finder(bright(3), ahead=False, **colour)
    for number, (shot, found) in enumerate(waiting.frames(coming())):
        assert asked[-1] == shot.number == number  # none after it: it may come in an hour
        assert ahead[number][0].number == number
        np.testing.assert_array_equal(found.boxes, ahead[number][1].boxes)
        np.testing.assert_array_equal(found.scores, ahead[number][1].scores)
    assert asked == list(range(len(sizes)))


def test_frames_are_grouped_by_size_and_large_ones_stay_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_finder, "WHOLE", 500)
    monkeypatch.setattr(_finder, "PIXELS", 1000)
    sides = [10, 10, 10, 20, 20, 20, 30, 30, 10, *[5] * 10]
    shots = [Shot(n, None, np.zeros((side, side, 1), np.uint8)) for n, side in enumerate(sides)]
    groups = list(_finder._alike(shots))
    assert [len(group) for group in groups] == [3, 2, 1, 1, 1, 1, 8, 2]
    assert [shot.number for group in groups for shot in group] == list(range(len(sides)))


def test_the_network_answers_every_fourth_pixel_and_sees_no_whole_picture() -> None:
    # W-4; windows need it.
    model = _network.finder(3, 5)
    assert model.output_shape == (None, None, None, 9)
    assert model(np.zeros((1, 64, 96, 3), np.float32)).shape == (1, 16, 24, 9)
    assert _network.finder(1, 2, stride=2)(np.zeros((1, 64, 96, 1))).shape == (1, 32, 48, 6)
    context = context_of(model)
    assert not context.unknown
    assert not context.global_operations
    assert context.stride == (8, 8)


def test_counts_have_the_intervals_that_validation_gave() -> None:
    rows = [list(range(1, 11)), [1, 2, 3, 5, 5, 6, 7, 8, 8, 10]]
    interval = interval_of({"counts": {"tracks": {"zebra": rows}}})
    reach = interval("zebra", True, 9)
    assert reach is not None
    assert reach[0] < 9 < reach[1]
    assert interval("zebra", False, 9) is None  # of single pictures nothing was measured
    assert interval("lion", True, 9) is None
    assert interval_of({})("zebra", True, 9) is None


def one_picture(folder: Path) -> Path:
    """A picture with a box in each third, one of them over a cut."""
    Image.fromarray(np.full((60, 200, 3), (90, 120, 60), np.uint8)).save(folder / "a.png")
    (folder / "boxes.csv").write_text(
        "image_path,xmin,ymin,xmax,ymax,label\n"
        "a.png,10,10,20,20,crane\na.png,112,10,124,20,crane\n"
        "a.png,130,30,140,40,crane\na.png,170,30,180,44,crane\n"
    )
    return folder / "boxes.csv"


def test_a_single_picture_is_cut_in_pieces(tmp_path: Path) -> None:
    cohort = _cohort.load(
        Train(data=one_picture(tmp_path)), _recipes.QUICK, tmp_path, lambda _: lambda *_: None
    )
    assert "pieces" in cohort.how
    (train,), (val,), (test,) = (
        [frame for unit in side for frame in unit.frames]
        for side in (cohort.train, cohort.val, cohort.test)
    )
    # By hand: cuts at 120 and 160; the second box's middle, 118, lies left of the first.
    assert train.size == (60, 120)
    assert train.boxes.tolist() == [[10, 10, 20, 20], [112, 10, 120, 20]]
    assert val.boxes.tolist() == [[10, 30, 20, 40]]
    assert val.ignored.tolist() == [[0, 10, 4, 20]]
    assert test.boxes.tolist() == [[10, 30, 20, 44]]
    assert val.read().shape == (60, 40, 3)
    assert val.read((slice(0, 5), slice(2, 9))).shape == (5, 7, 3)


def test_pieces_of_a_tall_picture_lie_below_each_other(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((100, 50, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text(
        "image_path,xmin,ymin,xmax,ymax,label\na.png,1,70,9,76,crane\n"
    )
    found, sides = _pieces.cut(animals.load(tmp_path / "boxes.csv"))
    assert [frame.size for frame in found.frames] == [(60, 50), (20, 50), (20, 50)]
    assert sides == [[0], [1], [2]]
    assert found.frames[1].boxes.tolist() == [[1, 10, 9, 16]]
