"""`fieldsight deforestation predict`: from chips to the competition's submission."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldsight.datasets import planet
from fieldsight.datasets.errors import DataError
from fieldsight.datasets.files import write_atomically
from fieldsight.pipelines import _tracking, _training
from fieldsight.pipelines._console import progress
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_file, write_failures
from fieldsight.pipelines.deforestation import _bands, _tag_model
from fieldsight.pipelines.deforestation._chips import with_bands

if TYPE_CHECKING:
    from fieldsight.datasets.planet import ChipSet
    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.deforestation import Predict
    from fieldsight.pipelines.deforestation._tag_model import TagModel

Array = NDArray[Any]

AT_ONCE = 32  # chips


def predict(settings: Predict) -> int:
    """Tag every chip that is found; return the exit code."""
    if not settings.chips:
        raise CommandError(
            "at least one chip is needed. Received: none. For example: fieldsight deforestation "
            "predict test-tif-v2 --out submission.csv"
        )
    check_output_file("--out", settings.out, ".csv")
    if settings.probabilities is not None:
        check_output_file("--probabilities", settings.probabilities, ".csv")
    bands = _bands.named(settings.bands)
    # Whether chips are simulated is known once they are found: until then the model is held back.
    found = _tracking.find_model(
        settings.model, application=_tag_model.APPLICATION, last=_tag_model.SIMULATED,
        make_with=_tag_model.MAKE_WITH, allow_simulated=True,
    )  # fmt: skip
    product = _tag_model.product_of(found)
    chips = with_bands(planet.find(settings.chips, product), bands)
    for note in chips.notes:
        print(f"note: {note}", file=sys.stderr)
    if not len(chips):
        write_failures(settings.out.parent, "chip", chips.failures)
        raise CommandError(f"chips that can be read were needed. Received: {_none(chips)}")
    _tag_model.refuse_simulated(found, simulated=chips.simulated, allowed=settings.allow_simulated)
    order = _tag_model.order_of(chips, found)
    _training.prepare_backend(0)
    model = _tag_model.load(found)
    read, said, failures = answers_of(model, chips, order, settings.average or model.averaged)
    failures = {**chips.failures, **failures}
    write_failures(settings.out.parent, "chip", failures)
    names = [chips.names[i] for i in read]
    if not names:
        print("fieldsight: no chip could be tagged", file=sys.stderr)
        return 2
    planet.write_submission(settings.out, names, model.thresholds.decide(said))
    _write_facts(settings.out, found, len(names), len(failures))
    if settings.probabilities is not None:
        _write_probabilities(settings.probabilities, names, said)
    print(f"{settings.out}: {len(names):,} chips tagged by {found.title}")
    if failures:
        print(f"{len(failures)} failed: {settings.out.parent / 'failures.csv'}", file=sys.stderr)
    return 1 if failures else 0


def _none(chips: ChipSet) -> str:
    name, reason = next(iter(chips.failures.items()), ("none", "no file is a chip."))
    return f"{name}: {reason}"


def answers_of(
    model: TagModel, chips: ChipSet, order: list[int], average: bool
) -> tuple[Array, Array, dict[str, str]]:
    """What a tagger says of every chip that can be read.

    Args:
        model: the tagger.
        chips: of its product.
        order: of their bands, as the model takes them.
        average: over the eight symmetries.

    Returns:
        Indices of the chips that could be read, their `(n, 17)` probabilities, and why others
        couldn't, by name.
    """
    from fieldsight.pipelines.deforestation import _tagger

    read: list[int] = []
    said: list[Array] = []
    failures: dict[str, str] = {}
    tell = progress(f"tagging {len(chips):,} chips")
    for indices in _some_at_a_time(len(chips)):
        pixels = []
        for index in indices:
            try:
                pixels.append(chips.read([index])[..., order])
                read.append(index)
            except DataError as error:
                failures[chips.names[index]] = str(error)
        if pixels:
            said.append(_tagger.answers(model.run, np.concatenate(pixels), average=average))
        tell(indices[-1] + 1, len(chips))
    none = np.zeros((0, len(planet.TAGS)))
    return np.array(read, int), np.concatenate(said) if said else none, failures


def _some_at_a_time(total: int) -> Iterator[range]:
    for start in range(0, total, AT_ONCE):
        yield range(start, min(start + AT_ONCE, total))


def _write_facts(out: Path, found: ModelFile, tagged: int, failed: int) -> None:
    """What the submission's own form has no place for: which model said it (C-10)."""
    facts = {**_tag_model.provenance(found), "chips": tagged, "failed": failed}
    write_atomically(out.with_suffix(".json"), json.dumps(facts, indent=2).encode())


def _write_probabilities(path: Path, names: Sequence[str], said: Array) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_name", *planet.TAGS))
    for name, row in zip(names, said, strict=True):
        writer.writerow((name, *(f"{value:.6f}" for value in row)))
    write_atomically(path, text.getvalue().encode())
