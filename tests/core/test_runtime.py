"""The runtime that a network is predicted by: agreement, choice, memory, silence."""

import importlib.util
import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from fieldsight.core.architectures import all_cnn, unet
from fieldsight.core.runtime import Predictor, engines, predictor, remembered
from fieldsight.core.runtime.predictor import STRICT, difference

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
exported = pytest.mark.skipif(
    not ON_TENSORFLOW, reason="OpenVINO and ONNX Runtime are fed by TensorFlow's export"
)


def need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        message = f"{package} comes with the extra `fast`"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


@pytest.fixture(scope="module")
def _extras() -> None:
    for package in ("openvino", "onnx", "onnxruntime", "tf2onnx"):
        need(package)


def structured() -> keras.Model:
    """Two maps and a vector, in a dictionary with a list in it; windows of any size."""
    x = keras.Input((None, None, 3))
    deep = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    vector = layers.GlobalAveragePooling2D()(deep)
    outputs = {"size": layers.Conv2D(2, 1)(deep), "heads": [vector, layers.Conv2D(5, 1)(deep)]}
    return keras.Model(x, outputs, name="structured")


def tiny() -> keras.Model:
    """What the mechanism is tested on: two convolutions."""
    x = keras.Input((16, 16, 2))
    y = layers.Conv2D(3, 3, padding="same", activation="relu", name="first")(x)
    return keras.Model(x, layers.Conv2D(2, 1, name="second")(y), name="tiny")


def grouped() -> keras.Model:
    x = keras.Input((8, 8, 4))
    return keras.Model(x, layers.Conv2D(8, 3, groups=2, padding="same")(x), name="grouped")


MODELS: dict[str, Callable[[], keras.Model]] = {
    "unet": lambda: unet((16, 16, 2), 3, filters=2, depth=2),
    "unet 3-D": lambda: unet((8, 8, 8, 1), filters=2, depth=1, normalization=True),
    "all_cnn": lambda: all_cnn((8, 8, 3), 4, filters=4),
}


def windows(model: keras.Model, batch: int, side: int = 8, seed: int = 0) -> Any:
    shape = [side if n is None else n for n in model.inputs[0].shape[1:]]
    return np.random.default_rng(seed).normal(size=(batch, *shape)).astype("float32")


def eager(model: keras.Model, x: Any) -> Any:
    """What the network answers, by the other way of calling it: operation after operation."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(x, training=False))


def close(ours: Any, reference: Any, tolerance: float = STRICT) -> None:
    keras.tree.assert_same_structure(ours, reference)
    for a, b in zip(keras.tree.flatten(ours), keras.tree.flatten(reference), strict=True):
        assert isinstance(a, np.ndarray)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.ptp(b))


@pytest.fixture(scope="module")
def small() -> keras.Model:
    return tiny()


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra weren't installed."""
    for package in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)


# Agreement


@exported
@pytest.mark.usefixtures("_extras")
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name", MODELS)
def test_each_runtime_answers_as_the_network_does_whatever_the_batch(
    name: str, runtime: Any
) -> None:
    model = MODELS[name]()
    predict = predictor(model, runtime, remember=False)
    for batch in (5, 2, 1):
        x = windows(model, batch, seed=batch)
        close(predict(x), eager(model, x))
    assert predict.choice is not None
    assert predict.choice.runtime.startswith(runtime)


@exported
@pytest.mark.usefixtures("_extras")
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_windows_may_change_their_size_where_the_network_lets_them(runtime: Any) -> None:
    model = structured()
    predict = predictor(model, runtime, remember=False)
    for batch, side in ((3, 8), (4, 12), (1, 8), (2, 20)):
        x = windows(model, batch, side, seed=side)
        close(predict(x), eager(model, x))


@pytest.mark.parametrize("runtime", ["auto", "keras"])
def test_raw_bytes_are_taken_for_what_they_are(
    small: keras.Model, runtime: Any, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 2)).astype("uint8")
    predict = predictor(small, runtime, cache_dir=tmp_path)
    close(predict(x), eager(small, x.astype("float32")))


@exported
@pytest.mark.usefixtures("_extras")
def test_pieces_side_by_side_answer_as_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "PLACES", 200)  # of 256 a window: one a piece
    model = tiny()
    network = engines.OpenVINO(model, threads=2)
    x = windows(model, 7)
    (streams,), (whole,) = network.streams("f32")(x), network.whole("f32")(x)
    close(streams, eager(model, x))
    close(whole, eager(model, x))


@exported
@pytest.mark.usefixtures("_extras")
def test_no_more_than_a_few_compiled_sizes_are_kept() -> None:
    model = structured()
    engine = engines.OpenVINO(model).streams("f32")
    for side in range(4, 11):
        x = windows(model, 2, side)
        close(engine(x), keras.tree.flatten(eager(model, x)))
    assert len(engine._kept) == engines.KEPT  # type: ignore[attr-defined]


@exported
@pytest.mark.usefixtures("_extras")
def test_bfloat16_is_for_processors_that_have_it(small: keras.Model) -> None:
    predict = predictor(small, "openvino-bf16", remember=False)
    x = windows(small, 2)
    if engines.OpenVINO(small).has_bfloat16:
        close(predict(x), eager(small, x), 1e-2)
    else:
        with pytest.raises(RuntimeError, match="the processor has no bfloat16"):
            predict(x)


# An export that is wrong


@exported
@pytest.mark.usefixtures("_extras")
def test_grouped_convolution_whose_onnx_file_is_invalid_stays_with_keras(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, x = grouped(), windows(grouped(), 2)
    with pytest.raises(RuntimeError, match="onnxruntime can't run this network: InvalidGraph"):
        predictor(model, "onnxruntime", remember=False)(x)
    monkeypatch.setitem(sys.modules, "openvino", None)
    predict = predictor(model, cache_dir=tmp_path)
    close(predict(x), eager(model, x))
    assert predict.choice is not None
    assert predict.choice.runtime == "keras"
    assert "InvalidGraph" in predict.choice.refused["onnxruntime"]


@pytest.fixture
def _wrong_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is exported has other weights than the network."""
    right = engines._exported

    def wrong(model: keras.Model, kind: str) -> Any:
        other = keras.models.clone_model(model)
        other.set_weights([w + 0.01 for w in model.get_weights()])
        return right(other, kind)

    monkeypatch.setattr(engines, "_exported", wrong)


@exported
@pytest.mark.usefixtures("_extras", "_wrong_export")
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_runtime_that_answers_otherwise_is_refused(small: keras.Model, runtime: Any) -> None:
    with pytest.raises(RuntimeError, match=r"differs from Keras's by .* of the range, 1e-05 is"):
        predictor(small, runtime, remember=False)(windows(small, 2))


@exported
@pytest.mark.usefixtures("_extras", "_wrong_export")
def test_auto_then_stays_with_keras_and_says_why(small: keras.Model) -> None:
    x = windows(small, 2)
    predict = predictor(small, remember=False)
    close(predict(x), eager(small, x))
    assert predict.choice is not None
    assert predict.choice.runtime == "keras"
    assert set(predict.choice.refused) == {"openvino", "onnxruntime"}
    assert "openvino not taken: its answer differs" in str(predict.choice)


@exported
@pytest.mark.usefixtures("_extras")
def test_windows_of_another_size_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = structured()
    predict = predictor(model, "openvino", remember=False)
    predict(windows(model, 2, 8))
    right = engines.OpenVINO.compile

    def wrong(self: Any, shape: tuple[int, ...], streams: int, precision: str) -> Any:
        return right(self, (*shape[:2], shape[2] + 1, shape[3]), streams, precision)

    monkeypatch.setattr(engines.OpenVINO, "compile", wrong)
    predict(windows(model, 2, 8))  # compiled already
    with pytest.raises(RuntimeError, match=r"openvino.* can't run .* on windows of \(12, 12, 3\)"):
        predict(windows(model, 2, 12))


def test_the_difference_is_over_each_outputs_range() -> None:
    answer = [np.array([0.0, 4.0]), np.array([10.0, 10.0]), np.array([1.0, np.nan, 3.0])]
    # 1 of 4; 1 of a constant 10; 0.5 of 2
    ours = [np.array([1.0, 4.0]), np.array([11.0, 10.0]), np.array([1.5, np.nan, 3.0])]
    assert [difference([a], [b]) for a, b in zip(ours, answer, strict=True)] == [0.25, 0.1, 0.25]
    assert difference(ours, answer) == 0.25
    assert difference(answer, answer) == 0
    nowhere = float("inf")
    assert difference([np.array([1.0, np.nan])], [np.array([1.0, 2.0])]) == nowhere
    assert difference([np.array([1.0, 2.0])], [np.array([1.0, np.nan])]) == nowhere
    assert difference([np.zeros((2, 1))], [np.zeros((1, 2))]) == nowhere
    assert difference(ours[:1], answer) == nowhere


def test_a_constant_answer_decides_nothing(tmp_path: Path) -> None:
    # Biases begin at zero: of nothing but zeros a new network makes nothing but zeros.
    model = tiny()
    predict = predictor(model, cache_dir=tmp_path)
    assert not predict(np.zeros((2, 16, 16, 2))).any()
    assert predict.choice is None
    assert list(tmp_path.iterdir()) == []
    x = windows(model, 2)
    close(predict(x), eager(model, x))
    assert predict.choice is not None


@pytest.mark.usefixtures("_bare")
def test_nor_does_what_is_not_a_number(small: keras.Model) -> None:
    predict = predictor(small, remember=False)
    x = windows(small, 3)
    x[1, 3, 4, 0] = np.nan
    np.testing.assert_array_equal(predict(x)[[0, 2]], small.predict_on_batch(x)[[0, 2]])
    assert predict.choice is None


@exported
@pytest.mark.usefixtures("_extras")
def test_it_stays_in_its_window(small: keras.Model) -> None:
    x = windows(small, 3)
    predict = predictor(small, "openvino", remember=False)
    clean = predict(x)
    x[1, 3, 4, 0] = np.nan
    close(predict(x)[[0, 2]], clean[[0, 2]])


# The choice


def slow(seconds: float) -> engines.Engine:
    def run(x: Any) -> list[Any]:
        time.sleep(seconds)
        return [x.mean((1, 2))]

    return run


@pytest.mark.parametrize(("ours", "taken"), [(0.002, "onnxruntime"), (0.04, "keras")])
@exported
def test_the_quicker_one_is_taken(
    ours: float, taken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    x = keras.Input((4, 4, 1))
    model = keras.Model(x, layers.GlobalAveragePooling2D()(x))
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(engines, "on_keras", lambda model: slow(0.02))
    made = types.SimpleNamespace(whole=slow(ours), streams=slow(0.06))
    monkeypatch.setattr(engines, "ONNXRuntime", lambda model, threads: made)
    predict = predictor(model, cache_dir=tmp_path)
    predict(windows(model, 2))
    assert predict.choice is not None
    assert predict.choice.runtime == taken
    assert predict.choice.speedup["onnxruntime"] == pytest.approx(0.02 / ours, rel=0.7)
    assert f"onnxruntime ({1000 * predict.choice.seconds['onnxruntime']:.3g} ms a batch of 2" in (
        str(predict.choice)
    )


@pytest.fixture
def first(small: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """A predictor that has chosen, Keras as it had to, and kept its choice in a file."""
    with monkeypatch.context() as bare:
        bare.setitem(sys.modules, "openvino", None)
        bare.setitem(sys.modules, "onnxruntime", None)
        return chosen(small, tmp_path)


def chosen(small: keras.Model, tmp_path: Path) -> Predictor:
    predict = predictor(small, cache_dir=tmp_path)
    predict(windows(small, 2))
    return predict


def again(model: keras.Model, folder: Path, **options: Any) -> Any:
    predict = predictor(model, cache_dir=folder, **options)
    close(predict(windows(model, 2)), eager(model, windows(model, 2)))
    return predict.choice


def test_the_choice_is_remembered(small: keras.Model, first: Predictor, tmp_path: Path) -> None:
    assert first.choice is not None
    assert not first.choice.remembered
    choice = again(small, tmp_path)
    assert choice.remembered
    assert choice.runtime == first.choice.runtime
    assert choice.seconds == {}  # nothing was timed again
    # By configuration: the same network with other weights, and other names, is no other.
    assert again(tiny(), tmp_path).remembered
    unnamed = keras.Sequential([keras.Input((16, 16, 2)), layers.Conv2D(2, 1)])
    assert not again(unnamed, tmp_path).remembered
    unnamed = keras.Sequential([keras.Input((16, 16, 2)), layers.Conv2D(2, 1)])
    assert again(unnamed, tmp_path).remembered


@pytest.mark.usefixtures("first", "_bare")
def test_it_is_decided_anew_for_anything_that_may_change_it(
    small: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert again(small, tmp_path, threads=1).remembered is False
    assert again(small, tmp_path, tolerance=1e-3).remembered is False
    assert again(grouped(), tmp_path).remembered is False
    larger = predictor(small, cache_dir=tmp_path)
    larger(windows(small, 3))
    assert larger.choice is not None
    assert not larger.choice.remembered
    now = remembered.versions()
    monkeypatch.setattr(remembered, "versions", lambda: {**now, "keras": "99.0"})
    assert again(small, tmp_path).remembered is False
    assert again(small, tmp_path).remembered is True


@pytest.mark.usefixtures("_bare")
def test_windows_of_nearly_one_size_share_a_choice(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((None, None, 2)), layers.Conv2D(4, 3, padding="same")])
    rng = np.random.default_rng(0)

    def choice(rows: int, columns: int) -> Any:
        predict = predictor(model, cache_dir=tmp_path)
        x = rng.normal(size=(2, rows, columns, 2)).astype(np.float32)
        close(predict(x), eager(model, x))
        assert predict.choice is not None
        return predict.choice

    assert not choice(40, 64).remembered
    assert choice(33, 50).remembered  # up to 64 both
    assert not choice(32, 50).remembered
    assert not choice(40, 65).remembered


def decide(folder: Path, runtime: Any) -> None:
    """Put another choice into the file."""
    file = folder / remembered.FILE
    file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), runtime)))


@exported
@pytest.mark.usefixtures("_extras", "first")
@pytest.mark.parametrize(
    "runtime", ["onnxruntime", "onnxruntime in streams", "openvino", "openvino in streams"]
)
def test_what_was_remembered_is_what_runs(small: keras.Model, tmp_path: Path, runtime: str) -> None:
    decide(tmp_path, runtime)
    choice = again(small, tmp_path)
    assert (choice.runtime, choice.remembered) == (runtime, True)
    assert 0 <= choice.differences[runtime] <= STRICT


@pytest.mark.usefixtures("first", "_bare")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino-bf16", "gone", 3, None])
def test_what_was_remembered_and_is_no_longer_there_is_decided_anew(
    small: keras.Model, tmp_path: Path, runtime: Any
) -> None:
    decide(tmp_path, runtime)
    choice = again(small, tmp_path)
    assert (choice.runtime, choice.remembered) == ("keras", False)


@exported
@pytest.mark.usefixtures("_extras", "first", "_wrong_export")
def test_what_was_remembered_and_no_longer_agrees_is_decided_anew(
    small: keras.Model, tmp_path: Path
) -> None:
    decide(tmp_path, "onnxruntime")
    choice = again(small, tmp_path)
    assert (choice.runtime, choice.remembered) == ("keras", False)


@pytest.mark.usefixtures("_bare")
def test_a_folder_that_cannot_be_written_or_read_does_no_harm(
    small: keras.Model, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert again(small, blocked).remembered is False
    assert again(small, blocked).remembered is False
    for text in ("{", "[]", '"x"', "\0"):
        (tmp_path / remembered.FILE).write_text(text)
        assert again(small, tmp_path).remembered is False
    assert again(small, tmp_path).remembered is True
    assert {path.name for path in tmp_path.iterdir()} == {"file", remembered.FILE}


def test_the_file_says_nothing_of_model_or_machine(first: Predictor, tmp_path: Path) -> None:
    assert first.choice is not None
    kept = json.loads((tmp_path / remembered.FILE).read_text())
    assert list(kept.values()) == [first.choice.runtime]
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in kept)


def test_old_choices_give_way(tmp_path: Path) -> None:
    file = tmp_path / "choices.json"
    for number in range(remembered.MOST + 5):
        assert remembered.remember(str(number), "keras", file)
    assert remembered.recall("4", file) is None
    assert remembered.recall("5", file) == "keras"


def test_the_default_folder_is_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    platformdirs = pytest.importorskip("platformdirs")
    assert remembered.folder() == Path(platformdirs.user_cache_dir("fieldsight", appauthor=False))
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert remembered.folder() == tmp_path / "fieldsight"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, by the custom's text
        assert remembered.folder() == Path.home() / ".cache" / "fieldsight"


# Absent, impossible, wrong


@pytest.mark.usefixtures("_bare")
def test_without_the_extra_it_is_keras(small: keras.Model) -> None:
    predict = predictor(small, remember=False)
    x = windows(small, 2)
    close(predict(x), eager(small, x))
    assert predict.choice is not None
    assert predict.choice.runtime == "keras"


@exported
@pytest.mark.usefixtures("_bare")
@pytest.mark.parametrize("runtime", ["openvino", "openvino-bf16", "onnxruntime"])
def test_asked_for_by_name_it_names_the_extra(small: keras.Model, runtime: Any) -> None:
    with pytest.raises(RuntimeError, match=rf"{runtime[:8]}.*extra `fast`"):
        predictor(small, runtime, remember=False)(windows(small, 2))


@pytest.mark.skipif(ON_TENSORFLOW, reason="what happens on another backend")
def test_another_backend_has_keras_alone(small: keras.Model) -> None:
    x = windows(small, 2)
    predict = predictor(small, remember=False)
    close(predict(x), eager(small, x))
    assert predict.choice is not None
    assert "needs the TensorFlow backend" in predict.choice.refused["openvino"]
    with pytest.raises(RuntimeError, match="TensorFlow backend, and this is jax"):
        predictor(small, "onnxruntime", remember=False)(x)


def test_a_network_of_two_inputs_stays_with_keras() -> None:
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], layers.Dense(2)(layers.Add()([a, b])))
    x = [np.eye(3, dtype="float32"), np.ones((3, 3), "float32")]
    predict = predictor(model, remember=False)
    close(predict(x), eager(model, x))
    assert predict.choice is not None
    assert predict.choice.runtime == "keras"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"runtime": "tensorrt"}, "one of auto, keras, openvino.* Received: 'tensorrt'"),
        ({"tolerance": 0.0}, "above 0. Received: 0.0"),
        ({"tolerance": float("nan")}, "above 0. Received: nan"),
        ({"threads": 0}, "1 at least, or None for all. Received: 0"),
    ],
)
def test_options_are_checked_at_once(small: keras.Model, options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        predictor(small, **options)


@pytest.mark.parametrize("shape", [(16, 16, 2), (2, 16, 15, 2), (2, 16, 16, 3), (0, 16, 16, 2)])
def test_windows_that_do_not_fit_are_named(small: keras.Model, shape: tuple[int, ...]) -> None:
    predict = predictor(small, "keras")
    with pytest.raises(ValueError, match=r"shape \(batch, 16, 16, 2\).* Received: \(") as raised:
        predict(np.zeros(shape))
    assert str(shape) in str(raised.value)


@exported
@pytest.mark.usefixtures("_extras", "first")
@pytest.mark.parametrize("runtime", ["onnxruntime in streams", "openvino in streams", "keras"])
def test_several_threads_get_each_its_own_answer(
    small: keras.Model, tmp_path: Path, runtime: str
) -> None:
    decide(tmp_path, runtime)
    predict = predictor(small, cache_dir=tmp_path)
    batches = [windows(small, 2 + number % 4) + number for number in range(24)]
    predict(batches[0])
    assert predict.choice is not None
    assert predict.choice.runtime == runtime
    assert predict.side_by_side is (runtime != "keras")
    with ThreadPoolExecutor(3) as pool:
        for x, answer in zip(batches, pool.map(predict, batches), strict=True):
            close(answer, eager(small, x))


# How a batch is cut


@pytest.mark.parametrize(
    ("shape", "threads", "expected"),
    [
        ((8, 256, 256, 4), 2, (1, 2)),  # 2^16 places: a window a piece
        ((2, 64, 64, 64, 1), 2, (1, 2)),
        ((128, 32, 32, 3), 2, (64, 2)),  # a half each, of 2^16 places
        ((1, 256, 256, 4), 2, (1, 1)),  # nothing to put side by side
        ((3, 256, 256, 4), 2, (3, 1)),  # two rounds of two for three
        ((4, 256, 256, 4), 16, (1, 4)),  # four cores on each of four
        ((5, 10), 2, (3, 2)),  # three and two: a fifth more than there are, which is allowed
    ],
)
def test_a_batch_is_cut_so_that_no_stream_waits(
    shape: tuple[int, ...], threads: int, expected: tuple[int, int]
) -> None:
    assert engines.pieces(shape, threads) == expected


@given(
    batch=st.integers(1, 300),
    side=st.integers(1, 600),
    rank=st.integers(0, 3),
    threads=st.integers(1, 64),
)
def test_the_pieces_cover_the_batch_and_waste_little(
    batch: int, side: int, rank: int, threads: int
) -> None:
    size, streams = engines.pieces((batch, *[side] * rank, 3), threads)
    assert 1 <= size <= batch
    assert 1 <= streams <= threads
    rounds = -(-batch // (size * streams))
    assert rounds * size * streams <= 1.25 * batch


# Nothing is left behind, nothing is sent

QUIETLY = """
import sys
connected = []
sys.addaudithook(lambda event, _: connected.append(event) if event.startswith("socket.") else None)
import numpy as np
from fieldsight.core.architectures import unet
from fieldsight.core.runtime import predictor
model = unet((16, 16, 1), filters=2, depth=1)
x = np.random.default_rng(0).normal(size=(2, 16, 16, 1))
for runtime in ("openvino", "onnxruntime"):
    predictor(model, runtime, remember=False)(x)
import onnxruntime, openvino
assert "openvino_telemetry" not in sys.modules
assert openvino.tools.ovc.telemetry_utils.tm.__name__.endswith("telemetry_stub")
assert not any(e in ("socket.connect", "socket.getaddrinfo") for e in connected), connected
"""
# Where telemetry is off by itself, this test would show nothing.
AUTOMATED = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY")


@exported
@pytest.mark.usefixtures("_extras")
def test_neither_runtime_reports_its_use_or_leaves_a_file(tmp_path: Path) -> None:
    # Both makers' reports begin with a number for the device, kept in the home folder:
    # intel/ for OpenVINO, .cache/Microsoft/ for ONNX Runtime.
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in AUTOMATED and not name.startswith(("XDG_", "PYTEST_", "ORT_"))
    }
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "KERAS_HOME": str(temporary / "k"),
        "MPLCONFIGDIR": str(temporary / "k"),
    }
    done = subprocess.run(
        [sys.executable, "-c", QUIETLY], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert [name for name in left if not name.startswith("temporary/k")] == ["home", "temporary"]
    assert done.stdout == ""
