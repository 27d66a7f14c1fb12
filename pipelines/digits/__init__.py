"""Read handwritten digits: train, score, and read a user's own pictures.

`make digits` trains LeNet-5 on the 1,797 UCI digits that ship with scikit-learn;
`fieldsight digits train --data mnist --data-dir DIR` on MNIST. What is measured stands in
docs/measurements.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

if TYPE_CHECKING:
    from fieldsight.pipelines.digits._networks import Plan

# Here and not where they are used: help must be instant, and those modules import SciPy.
Data = Literal["uci", "mnist", "folder"]
Network = Literal["lenet5", "lenet5-original", "all-cnn", "mlp"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Train a network, score the test split once, track the run, register the model.

    The network is fitted on the training pictures and its best epoch chosen on the validation
    ones; then it is refitted on both. A plain dense network is trained beside it. What isn't
    given is taken from the recipe of that network and data.
    """

    data: Data = "uci"
    """uci: 1,797 digits that ship with scikit-learn; mnist: 70,000; folder: your own pictures."""
    data_dir: Path | None = None
    """MNIST's four IDX files (left out: fetched once), or subfolders 0 to 9 of pictures."""
    network: Network = "lenet5"
    """lenet5 (ReLU, max pooling); lenet5-original (as in 1998); all-cnn (best, slow); mlp."""
    epochs: int | None = None
    """Passes over the training pictures; the refit is shortened by the same factor."""
    batch_size: int | None = None
    """Pictures a step."""
    learning_rate: float | None = None
    """The largest learning rate of the schedule."""
    seed: int = 0
    """Of the weights, the order of the pictures and their distortions."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """auto tries bfloat16 where the device has it and takes it where it gains."""
    resume: str | None = None
    """A run that was stopped, by its id: it goes on from its last finished epoch."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def plan(self, data: str) -> Plan:
        """The recipe for this kind of data with these settings in it."""
        from fieldsight.pipelines.digits._networks import plan

        found = plan(self.network, data)
        given = {
            name: value
            for name in ("epochs", "batch_size", "learning_rate")
            if (value := getattr(self, name)) is not None
        }
        recipe = dataclasses.replace(
            found.recipe, **given, seed=self.seed, precision=self.precision
        )
        refit = round(found.refit_epochs * recipe.epochs / found.recipe.epochs)
        return dataclasses.replace(found, recipe=recipe, refit_epochs=refit)

    def run(self) -> int:
        """Train."""
        from fieldsight.pipelines.digits._train import train

        return train(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a model on labelled digits of yours, or on a published test split."""

    data: Data
    """uci and mnist: their test splits; folder: all pictures of --data-dir."""
    data_dir: Path | None = None
    """MNIST's four IDX files, or a folder with subfolders 0 to 9 of pictures, one digit each."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion for that data."""
    out: Path | None = None
    """A folder for the confusion matrix, the worst mistakes and every answer as CSV."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Score."""
        from fieldsight.pipelines.digits._evaluate import evaluate

        return evaluate(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predict:
    """Read the digits in pictures: scans or photos of one digit or of a page of many.

    Dark ink on light or light on dark, colour, any size, slightly tilted, unevenly lit. The
    answers go to a CSV, a row a digit in reading order; a JSON beside it names the model, its
    run and its data, and the pictures that couldn't be read. Exit code 0; 1 if some couldn't be
    read; 2 if none could.
    """

    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Picture files, or folders of them."""
    out: Path = Path("answers.csv")
    """file,x0,y0,x1,y1,digit,probability,margin in pixels of the picture as it is displayed."""
    overlay: Path | None = None
    """A folder for the pictures with boxes and answers drawn."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion, UCI's last."""

    def run(self) -> int:
        """Read."""
        from fieldsight.pipelines.digits._predict import predict

        return predict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compare:
    """When is a CNN worth it? LeNet-5 against a dense network of as many parameters.

    Both learn from the pictures as they are, and from pictures whose pixels are all moved by one
    fixed permutation: what a convolution knows of neighbours is then worth nothing, and a dense
    network doesn't notice. Over several seeds; a table and a figure.
    """

    data: Data = "uci"
    """uci: 1,797 digits that ship with scikit-learn; mnist: 70,000; folder: your own pictures."""
    data_dir: Path | None = None
    """MNIST's four IDX files, or a folder with subfolders 0 to 9 of pictures, one digit each."""
    seeds: int = 5
    """How many seeds; each is a training of four networks."""
    epochs: int | None = None
    """Passes over the training pictures."""
    out: Path = Path("compare.png")
    """The figure."""
    json: bool = False
    """Print the figures to stdout as one JSON object instead of a table."""

    def run(self) -> int:
        """Compare."""
        from fieldsight.pipelines.digits._compare import compare

        return compare(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explain:
    """Draw what a network sees: filters, feature maps, favourite pictures, Grad-CAM, mistakes."""

    data: Data | None = None
    """Which pictures it is shown; left out: the test split of those it was trained on."""
    data_dir: Path | None = None
    """MNIST's four IDX files, or a folder with subfolders 0 to 9 of pictures, one digit each."""
    model: str | None = None
    """A .keras file, a run's id or name@alias; left out: the newest champion."""
    out: Path = Path("explain")
    """The folder of the pictures; explain.html in it shows them all."""

    def run(self) -> int:
        """Draw."""
        from fieldsight.pipelines.digits._explain import explain

        return explain(self)


ACTIONS = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "compare": Compare,
    "explain": Explain,
}
