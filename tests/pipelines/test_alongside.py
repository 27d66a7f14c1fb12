"""Work beside work: its answer, its errors, and that it ends when nobody waits for it."""

import threading
import time

import keras
import numpy as np
import pytest

from fieldsight.pipelines import _training
from fieldsight.pipelines._alongside import Check, alongside
from fieldsight.pipelines._training import Recipe, batches, compile_classifier, fit

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_its_answer_comes_when_it_is_asked_for() -> None:
    for at_once in (True, False):
        with alongside(lambda _: threading.current_thread(), at_once=at_once) as answer:
            assert (answer() is threading.current_thread()) is not at_once


def test_its_error_is_raised_to_whoever_asks() -> None:
    def fail(_: Check) -> None:
        raise ValueError("no scenes")

    with pytest.raises(ValueError, match="no scenes"), alongside(fail, at_once=True) as answer:
        answer()


def test_it_ends_when_what_it_stands_beside_fails() -> None:
    begun, ended = threading.Event(), threading.Event()

    def go_on(check: Check) -> None:
        begun.set()
        try:
            while True:
                check()
                time.sleep(0.01)
        finally:
            ended.set()

    def interrupted() -> None:
        with alongside(go_on, at_once=True):
            assert begun.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert ended.is_set()  # and not later


def test_networks_that_train_side_by_side_learn_what_they_learn_alone() -> None:
    rng = np.random.default_rng(0)
    pictures, labels = rng.normal(size=(96, 8)).astype("float32"), rng.integers(0, 3, 96)

    def learned(seed: int) -> list[np.ndarray]:
        recipe = Recipe(epochs=3, batch_size=16, seed=seed, precision="float32")

        def build() -> keras.Model:
            x = keras.Input((8,))
            y = keras.layers.Dropout(0.3)(keras.layers.Dense(16, "relu")(x))
            return keras.Model(x, keras.layers.Dense(3)(y))

        model = _training.seeded(seed, build)
        data = batches(pictures, labels, batch_size=16, seed=seed)
        compile_classifier(model, recipe, len(data))
        fit(model, data, recipe, quiet=True)
        weights: list[np.ndarray] = model.get_weights()
        return weights

    alone = [learned(1), learned(2)]
    with alongside(lambda _: learned(2), at_once=True) as answer:
        together = [learned(1), answer()]
    for ours, theirs in zip(together, alone, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
