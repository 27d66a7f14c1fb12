import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from fieldsight.pipelines import _figures

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8)
NAMES = [str(digit) for digit in range(10)]


def words(figure: Any) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title("left"), *[text.get_text() for text in axes.texts]]
    return found


def test_confusion_counts_are_those_of_the_hand() -> None:
    figure = _figures.confusion_matrix(
        [0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 0, 2], ["ant", "bee", "cat"], data="simulated, 6 pictures"
    )
    said = words(figure)
    assert "Confusion matrix: 2 of 6 wrong" in said
    assert "simulated, 6 pictures" in said
    matrix = {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text()
        for t in figure.axes[0].texts
    }
    assert matrix == {(0, 0): "2", (0, 1): "1", (1, 1): "1", (2, 0): "1", (2, 2): "1"}
    assert [text.get_text().strip() for text in figure.axes[1].texts] == [
        "1 of 3", "0 of 1", "1 of 2",
    ]  # fmt: skip


def test_curves_are_errors_and_mark_the_best_epoch() -> None:
    history = {
        "loss": [1.0, 0.5, 0.4],
        "accuracy": [0.9, 0.95, 0.96],
        "val_loss": [0.8, 0.3, 0.6],
        "val_accuracy": [0.92, 0.97, 0.96],
    }
    figure = _figures.learning_curves(history, data="mnist")
    errors = figure.axes[1]
    np.testing.assert_allclose(np.asarray(errors.lines[0].get_ydata(), float), [10, 5, 4])
    assert "best: 0.3, epoch 2" in words(figure)
    assert "best: 3 %, epoch 2" in words(figure)


@pytest.mark.parametrize(
    "history",
    [{}, {"loss": []}, {"loss": [1.0]}, {"accuracy": [1.0, 1.0]}, {"loss": [np.nan, 1.0]},
     {"loss": [1.0] * 60, "val_loss": [2.0] * 60, "top_accuracy": [0.5] * 60}],
)  # fmt: skip
def test_short_or_odd_histories_are_drawn_too(history: dict[str, list[float]]) -> None:
    assert _figures.png(_figures.learning_curves(history))


def test_worst_mistakes_come_in_order_of_the_truths_probability() -> None:
    probabilities = np.full((4, 3), 0.0)
    probabilities[0] = [0.9, 0.1, 0.0]  # right
    probabilities[1] = [0.6, 0.4, 0.0]  # wrong, the truth had 0.4
    probabilities[2] = [0.0, 0.05, 0.95]  # wrong, 0.05
    probabilities[3] = [0.5, 0.2, 0.3]  # wrong, 0.3
    figure = _figures.worst_mistakes(DIGITS[:4], [0, 1, 1, 2], probabilities, data="mnist")
    captions = [word for word in words(figure) if "→" in word and "label" not in word]
    assert captions == ["1 → 2", "2 → 0", "1 → 0"]
    assert "95 % sure" in words(figure)
    assert any("3 of 3" in word for word in words(figure))


def test_no_mistake_is_said_not_drawn() -> None:
    figure = _figures.worst_mistakes(DIGITS[:3], [0, 1, 2], np.eye(3))
    assert "No mistakes among 3 pictures" in words(figure)


def drawn() -> list[tuple[str, Any]]:
    maps = {
        "same": DIGITS[:3, ..., None] / 255.0,
        "conv": RNG.normal(size=(3, 9, 9, 20)),
        "relu": RNG.random((3, 4, 4, 2)),
        "dense": RNG.normal(size=(3, 30)),
        "logits": RNG.normal(size=(3, 10)),
    }
    atlas = _figures.feature_map_atlas(DIGITS[:3], maps, ["ant", "bee", "cat"], data="uci")
    assert list(atlas) == ["conv", "relu", "dense", "logits"]
    indices = np.arange(8).reshape(2, 4)
    boxes = np.tile([[[[3, 4], [9, 12]]]], (2, 4, 1, 1))
    colour = RNG.random((3, 20, 30, 3))
    rows = [
        _figures.Comparison(model, form, seed, 0.9, 0.88, 0.92)
        for model in ("LeNet-5", "dense")
        for form in ("as they are", "shuffled")
        for seed in range(3)
    ]
    return [
        *atlas.items(),
        ("filters", _figures.filters(RNG.normal(size=(6, 5, 5, 1)), layer="c1", data="uci")),
        ("colour filters", _figures.filters(RNG.normal(size=(70, 7, 7, 3)))),
        ("deep filters", _figures.filters(np.zeros((2, 3, 3, 12)))),
        ("excited", _figures.unit_excitation(DIGITS, indices, indices / 2, boxes, layer="c1")),
        ("excited", _figures.unit_excitation(DIGITS[..., None], indices, indices / 2)),
        (
            "cam",
            _figures.grad_cam_overlays(
                colour, RNG.random((3, 20, 30)), ["a", "b", "c"], [1.0, 0.5, 0.99], labels=["a"] * 3
            ),
        ),
        ("comparison", _figures.comparison(rows, data="mnist")),
    ]


def test_every_figure_is_a_readable_png_of_one_width_and_leaves_no_style_behind() -> None:
    before = dict(mpl.rcParams)
    for name, figure in drawn():
        picture = Image.open(io.BytesIO(_figures.png(figure)))
        picture.load()
        assert picture.width == round(_figures.WIDTH * _figures.DPI), name
        texts = [text for axes in figure.axes for text in axes.texts] + figure.texts
        renderer = figure._get_renderer()
        for text in texts:  # nothing is cut off at the sides
            extent = text.get_window_extent(renderer)
            assert extent.x0 >= -1, (name, text)
            assert extent.x1 <= figure.bbox.x1 + 1, (name, text)
    assert dict(mpl.rcParams) == before


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    history = {"loss": [1.0, 0.5]}
    paths = [
        _figures.save(_figures.learning_curves(history), tmp_path / f"new/{name}.png")
        for name in "ab"
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.png", "b.png"]


def page(height: int, width: int) -> Any:
    return np.full((height, width, 3), 250, np.uint8)


def test_overlay_keeps_the_pictures_pixels_and_adds_a_footer_below() -> None:
    picture = page(600, 800)
    picture[300:340, 400:430] = 17
    overlay = _figures.digit_overlay(
        picture, [[400, 300, 430, 340]], [7], [0.97], "fieldsight-digits-uci@champion · run 1a2b"
    )
    pixels = np.asarray(overlay)
    assert overlay.width == 800
    assert overlay.height > 600
    assert (pixels[300:340, 400:430] == 17).all()  # the box is drawn around it
    assert tuple(pixels[320, 398]) == (0x00, 0x72, 0xB2)
    assert (pixels[590, 5] == 250).all()
    assert (pixels[600:] < 100).any()  # the footer's letters


def test_an_unsure_answer_differs_by_colour_and_by_a_question_mark() -> None:
    sure, unsure = (
        np.asarray(_figures.digit_overlay(page(300, 400), [[50, 90, 90, 140]], [3], [p], "m"))
        for p in (0.95, 0.6)
    )
    vermillion = np.array([0xD5, 0x5E, 0x00])
    assert not (sure == vermillion).all(axis=-1).any()
    assert (unsure == vermillion).all(axis=-1).any()
    assert not np.array_equal(sure[300:], unsure[300:])  # the footer says what it means


@pytest.mark.parametrize(("height", "width"), [(28, 28), (5, 400), (2000, 30)])
def test_small_pictures_are_enlarged_by_a_whole_factor(height: int, width: int) -> None:
    overlay = _figures.digit_overlay(page(height, width), [[0, 0, 5, 5]], ["9"], [0.2], "m" * 300)
    assert overlay.width % width == 0
    assert max(overlay.size) >= 480


def test_an_empty_page_of_twelve_megapixels_is_drawn() -> None:
    overlay = _figures.digit_overlay(page(3000, 4000), np.zeros((0, 4)), [], [], "model")
    assert overlay.width == 4000


def test_percentages_are_never_rounded_to_certainty() -> None:
    assert _figures.percent(0.9999) == ">99.9 %"
    assert _figures.percent(1.0) == "100 %"
    assert _figures.percent(0.994) == "99.4 %"
    assert _figures.percent(0.126) == "13 %"


def test_importing_draws_in_no_heavy_package() -> None:
    code = (
        "import sys, fieldsight.pipelines._figures, fieldsight.pipelines._report;"
        "print({'matplotlib', 'PIL', 'jinja2', 'keras', 'scipy'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
