"""Sets of digits by name, each split on the principle that suits it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldsight.datasets.sample import LabelledImages, digest
from fieldsight.datasets.splits import Split, at_random, in_order
from fieldsight.pipelines._errors import CommandError

if TYPE_CHECKING:
    from fieldsight.pipelines.digits import Data

FRACTIONS = (0.6, 0.2, 0.2)
IN_ORDER = "in file order, for writers follow each other"
MNIST_VALIDATION = 10_000  # the last of the 60,000 training pictures


@dataclass(frozen=True)
class Digits:
    """A set of digits on three sides, and how it came to be."""

    name: str
    train: LabelledImages
    val: LabelledImages
    test: LabelledImages
    fingerprint: str
    split_fingerprint: str
    split: str
    how: str


def load(data: Data, data_dir: Path | None, *, at_random_seed: int | None = None) -> Digits:
    """Read and split a set of digits.

    Args:
        data: which set.
        data_dir: where it is, for MNIST (None: fetched once) and for a folder of pictures.
        at_random_seed: split the UCI digits at random instead of in file order.
    """
    if data == "mnist":
        return _mnist(data_dir)
    if data == "uci":
        if data_dir is not None:
            raise CommandError(
                "--data uci ships with scikit-learn and reads no folder. Received: --data-dir "
                f"{data_dir}. For pictures of your own add --data folder; for MNIST --data mnist."
            )
        from fieldsight.datasets import uci_digits

        whole = uci_digits.load()
        if at_random_seed is None:
            return _cut(whole, in_order(len(whole), FRACTIONS), "file order", IN_ORDER)
        split = at_random(len(whole), FRACTIONS, at_random_seed)
        return _cut(whole, split, "random", "at random, every writer on both sides")
    whole = labelled_pictures(data, data_dir)
    if len(whole) < 50:
        raise CommandError(
            f"{data_dir}: to train, at least 50 labelled pictures are needed. Received: "
            f"{len(whole)}. `fieldsight digits evaluate` scores any number of them."
        )
    return _cut(whole, at_random(len(whole), FRACTIONS, 0), "random", "at random")


def labelled_pictures(data: Data, data_dir: Path | None) -> LabelledImages:
    """All labelled pictures a user has, to score a model on: MNIST's and UCI's are their test's."""
    if data != "folder":
        return load(data, data_dir).test
    if data_dir is None:
        raise CommandError(
            "--data folder needs --data-dir: a folder with subfolders 0 to 9 of pictures, one "
            "digit each."
        )
    from fieldsight.datasets import digit_folder

    labelled, failures = digit_folder.load(data_dir)
    for failure in failures:
        print(f"left out: {failure.reason}", file=sys.stderr)
    return labelled


def _mnist(data_dir: Path | None) -> Digits:
    from fieldsight.datasets import mnist

    train, test = mnist.load(data_dir)
    # A smaller set in MNIST's layout gives the same share of its training pictures.
    held = min(MNIST_VALIDATION, len(train) // 6)
    first = len(train) - held
    sides = np.arange(len(train) + len(test))
    split = Split(sides[:first], sides[first : len(train)], sides[len(train) :])
    return Digits(
        name="mnist",
        train=train.take(slice(None, first)),
        val=train.take(slice(first, None)),
        test=test,
        fingerprint=digest(train.images, train.labels, test.images, test.labels),
        split_fingerprint=split.fingerprint,
        split="published",
        how=f"as published; the last {held:,} training pictures are held out for validation",
    )


def _cut(whole: LabelledImages, split: Split, name: str, how: str) -> Digits:
    return Digits(
        name=whole.name,
        train=whole.take(split.train),
        val=whole.take(split.val),
        test=whole.take(split.test),
        fingerprint=whole.fingerprint,
        split_fingerprint=split.fingerprint,
        split=name,
        how=how,
    )
