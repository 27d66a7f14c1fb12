"""One file, two backends: every architecture answers alike on TensorFlow and on JAX."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fieldsight.core import architectures as nets

OTHER = {"tensorflow": "jax", "jax": "tensorflow"}
BATCH = 2

# Both ranks, the smallest inputs, every option that changes a layer.
SMALL: dict[str, tuple[Callable[..., Any], tuple[int, ...], dict[str, Any]]] = {
    "mlp": (nets.mlp, (6, 5, 2), {}),
    "all_cnn": (nets.all_cnn, (8, 8, 2), {"filters": 4}),
    "all_cnn 3-D": (nets.all_cnn, (8, 8, 8, 1), {"filters": 4}),
    "lenet5": (nets.lenet5, (16, 16, 2), {}),
    "lenet5 original": (nets.lenet5, (32, 32, 1), {"variant": "original"}),
    "resnet20": (nets.resnet20, (8, 8, 2), {}),
    "resnet20 3-D": (nets.resnet20, (8, 8, 8, 1), {}),
    "resnet18": (nets.resnet18, (32, 32, 2), {"squeeze_excitation": True, "antialiased": True}),
    "resnet18 3-D": (nets.resnet18, (32, 32, 32, 1), {"stochastic_depth": 0.1}),
    "resnet50": (nets.resnet50, (32, 32, 2), {}),
    "resnet50 keras": (nets.resnet50, (32, 32, 2), {"variant": "keras"}),
    "inception_v3": (nets.inception_v3, (75, 75, 2), {}),
    "alexnet": (nets.alexnet, (67, 67, 2), {}),
    "vgg11": (nets.vgg11, (32, 32, 2), {}),
    "pilotnet": (nets.pilotnet, (66, 66, 3), {}),
    "unet": (nets.unet, (16, 16, 2), {"filters": 4, "depth": 2}),
    "unet 3-D": (
        nets.unet, (8, 8, 8, 1),
        {"filters": 4, "depth": 2, "residual": True, "normalization": True},
    ),
}  # fmt: skip
LARGE: dict[str, tuple[Callable[..., Any], tuple[int, ...], dict[str, Any]]] = {
    **{f"resnet{n}": (getattr(nets, f"resnet{n}"), (8, 8, 2), {}) for n in (32, 44, 56, 110)},
    **{f"resnet{n}": (getattr(nets, f"resnet{n}"), (32, 32, 2), {}) for n in (34, 101, 152)},
    **{f"vgg{n}": (getattr(nets, f"vgg{n}"), (32, 32, 2), {}) for n in (13, 16, 19)},
    "vgg11 3-D": (nets.vgg11, (32, 32, 32, 1), {}),
    "resnet50 3-D": (nets.resnet50, (32, 32, 32, 1), {"variant": "keras"}),
    "inception_v3 3-D": (nets.inception_v3, (75, 75, 75, 1), {}),
    "alexnet 3-D": (nets.alexnet, (67, 67, 67, 1), {}),
    "alexnet 2014": (nets.alexnet, (63, 63, 2), {"variant": "2014"}),
}

# Loads what this process saved, under the other backend, and writes what it answers.
THERE = """
import json, sys
import keras, numpy as np
import fieldsight.core.layers
folder = sys.argv[1]
for i, name in enumerate(json.load(open(f"{folder}/names.json"))):
    model = keras.saving.load_model(f"{folder}/{i}.keras", safe_mode=True)
    x = np.load(f"{folder}/{i}-input.npy")
    # Each the quicker way: TensorFlow traces for long, JAX compiles each operation by itself.
    is_jax = keras.backend.backend() == "jax"
    answer = model.predict(x, verbose=0) if is_jax else keras.ops.convert_to_numpy(model(x))
    np.save(f"{folder}/{i}-{keras.backend.backend()}.npy", answer)
"""


def inputs(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).normal(size=(BATCH, *shape)).astype("float32")


def unsettled(model: Any) -> Any:
    """The model with statistics and offsets that no longer are zeros and ones."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                low, high = (-0.2, 0.2) if weight.name in ("beta", "moving_mean") else (0.8, 1.2)
                weight.assign(rng.uniform(low, high, weight.shape))
    return model


def answer(model: Any, x: Any) -> Any:
    """As in `THERE`."""
    if keras.backend.backend() == "jax":
        return model.predict(x, verbose=0)
    return keras.ops.convert_to_numpy(model(x))


def both(names: dict[str, Any], folder: Path) -> dict[str, tuple[Any, Any]]:
    """What each network answers here, and what its file answers under the other backend."""
    here = []
    for i, (build, shape, options) in enumerate(names.values()):
        classes = 10 if options.get("variant") == "original" else 3
        model = unsettled(build(shape, classes, **options))
        model.save(folder / f"{i}.keras")
        np.save(folder / f"{i}-input.npy", inputs(shape))
        here.append(answer(model, inputs(shape)))
    (folder / "names.json").write_text(json.dumps(list(names)))
    other = OTHER[keras.backend.backend()]
    done = subprocess.run(
        [sys.executable, "-c", THERE, str(folder)],
        env={**os.environ, "KERAS_BACKEND": other, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    there = [np.load(folder / f"{i}-{other}.npy") for i in range(len(names))]
    return dict(zip(names, zip(here, there, strict=True), strict=True))


# Files are the same whichever backend wrote them: the way back is shown on a few.
QUICK = [
    name for name in SMALL
    if keras.backend.backend() == "tensorflow" or name in ("lenet5 original", "unet 3-D", "all_cnn")
]  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    return both({name: SMALL[name] for name in QUICK}, tmp_path_factory.mktemp("small"))


def agree(here: Any, there: Any) -> None:
    """C-4: the same output from the same weights, to 1e-4 of its size."""
    assert here.shape == there.shape
    assert np.isfinite(here).all()
    assert np.ptp(here) > 0  # a constant would agree with anything
    np.testing.assert_allclose(there, here, atol=1e-4 * max(1.0, float(np.abs(here).max())))


@pytest.mark.parametrize("name", QUICK)
def test_the_saved_network_answers_alike_under_the_other_backend(
    small: dict[str, tuple[Any, Any]], name: str
) -> None:
    agree(*small[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_the_large_ones_too(name: str, tmp_path: Path) -> None:
    agree(*both({name: LARGE[name]}, tmp_path)[name])
