"""`fieldsight lung predict`: from CT series to findings in the formats that viewers open."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fieldsight.datasets import scans
from fieldsight.datasets.errors import DataError
from fieldsight.pipelines import _tracking, _training
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._files import check_output_folder, file_names, write_failures

if TYPE_CHECKING:
    from fieldsight.datasets.dicom_source import Pseudonyms
    from fieldsight.datasets.findings import Finding
    from fieldsight.datasets.volume import Volume
    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.lung import Predict
    from fieldsight.pipelines.lung._reading import LungModel

MAKE_WITH = "fieldsight lung train --data DIR (or make lung, of simulated patients)"
SIMULATED = ("simulated-quick", "simulated-full", "simulated")  # data that no real model has seen


def predict(settings: Predict) -> int:
    """Read every series that is found, write its answers; return the exit code."""
    if not settings.series:
        raise CommandError(
            "at least one series is needed. Received: none. "
            "For example: fieldsight lung predict exported/ --out answers"
        )
    if settings.threshold is not None and not 0 <= settings.threshold <= 1:
        raise CommandError(
            f"--threshold: a probability from 0 to 1 was needed. Received: {settings.threshold}."
        )
    check_output_folder("--out", settings.out)
    search = scans.search(settings.series)
    failures = failed(search)
    for note in search.notes:
        print(f"note: {note}", file=sys.stderr)
    for reason in failures.values():
        print(f"fieldsight: {reason}", file=sys.stderr)
    for other in search.refused:
        if other.name not in failures:
            print(f"left out: {other.name}: {other.refused}", file=sys.stderr)
    if not search.found:
        raise CommandError(
            "a CT series was needed, of DICOM files, as .mhd, .mha or .nii. Received: none in "
            f"{', '.join(map(str, settings.series))}. `fieldsight lung inspect` says what is there."
        )
    # Whether a series is simulated is known once it is read: until then the model is held back.
    found = _tracking.find_model(
        settings.model, application="lung", last=SIMULATED, make_with=MAKE_WITH,
        allow_simulated=True,
    )  # fmt: skip
    _training.prepare_backend(0)
    from fieldsight.datasets.dicom_source import Pseudonyms
    from fieldsight.pipelines.lung import _outputs, _reading

    model = _reading.load(found)
    pseudonyms = Pseudonyms() if settings.pseudonymise else None
    answered = 0
    names = file_names(series.name for series in search.found)
    for place, (series, name) in enumerate(zip(search.found, names, strict=True), 1):
        folder = settings.out / name
        started = time.perf_counter()
        print(f"{place}/{len(search.found)} {series.name}", file=sys.stderr)
        try:
            _outputs.check_folder(folder)
            volume = scans.read(series)
            refuse_simulated(found, volume, allowed=settings.allow_simulated)
            took = {"read": time.perf_counter() - started}
            answer = answer_series(
                model, found, volume, folder, threshold=settings.threshold, pseudonyms=pseudonyms,
                uids=settings.uids, took=took,
            )  # fmt: skip
        except (DataError, CommandError) as error:
            failures[series.name] = str(error)
            print(f"fieldsight: {error}", file=sys.stderr)
            continue
        answered += 1
        print(f"{series.name}: {answer}; {folder}")
        _print_seconds(took, time.perf_counter() - started)
    if settings.out.is_dir() or failures:
        write_failures(settings.out, "series", failures)
    if not answered:
        print("fieldsight: no series could be answered", file=sys.stderr)
        return 2
    print(f"found by {found.title}. For research only: no medical device.")
    return 1 if failures else 0


def failed(search: scans.Search) -> dict[str, str]:
    """What was named and can't be read, with the reason: image files among it, whatever they are.

    A localizer or a report in a DICOM folder is nothing that failed.
    """
    files = [each for each in search.refused if each.kind != "dicom"]
    return {**search.failures, **{each.name: f"{each.name}: {each.refused}" for each in files}}


def refuse_simulated(found: ModelFile, volume: Volume, *, allowed: bool) -> None:
    """A model of simulated patients alone answers of real ones only if it is asked to (C-10).

    Raises:
        CommandError: if the scan is real, the model isn't, and it wasn't allowed.
    """
    if found.card.simulated and not volume.facts.get("simulated") and not allowed:
        raise CommandError(
            f"a model trained on real scans was needed. Received: {found.title}. Give "
            "--allow-simulated to use it all the same, and every output will say so; or --model "
            "for another."
        )


def answer_series(
    model: LungModel,
    found: ModelFile,
    volume: Volume,
    folder: Path,
    *,
    threshold: float | None = None,
    pseudonyms: Pseudonyms | None = None,
    uids: bool = False,
    took: dict[str, float] | None = None,
) -> str:
    """Find the nodules of one series and write all there is to say.

    Args:
        model: ready to run.
        found: its file, for what every output says of it.
        volume: the scan.
        folder: for its answers.
        threshold: from which probability a candidate is a finding; None for the model's own.
        pseudonyms: as `_outputs.write_all` has it.
        uids: the same.
        took: takes the seconds of each stage.

    Returns:
        The answer in some words.
    """
    from fieldsight.datasets.lung_preparation import prepare
    from fieldsight.pipelines.lung import _outputs
    from fieldsight.pipelines.lung._cases import Case
    from fieldsight.pipelines.lung._reading import findings_of

    clock = _Clock({} if took is None else took)
    least = model.threshold if threshold is None else threshold
    prepared = prepare(volume, model.spacing_mm)
    case = Case(
        volume.name, volume.name, volume.series_uid, prepared.image, prepared.lungs,
        prepared.affine,
    )  # fmt: skip
    clock.lap("prepare")
    model.seconds.clear()
    marks = model.read(case)
    findings, heat = findings_of(model, case, volume, marks, threshold=least)
    clock.took.update(model.seconds)
    clock.lap(None)
    _outputs.write_all(
        folder, volume, findings, _outputs.provenance_of(found), threshold=least,
        pseudonyms=pseudonyms, uids=uids, heat=heat, patient_score=marks.patient,
    )  # fmt: skip
    clock.lap("write")
    return _in_words(findings, least, marks.patient)


class _Clock:
    """Seconds by stage."""

    def __init__(self, took: dict[str, float]) -> None:
        self.took, self.last = took, time.perf_counter()

    def lap(self, stage: str | None) -> None:
        """What went by since the last lap belongs to this stage; to none, if None."""
        now = time.perf_counter()
        if stage is not None:
            self.took[stage] = now - self.last
        self.last = now


def _in_words(findings: Sequence[Finding], threshold: float, score: float) -> str:
    shown = [one for one in findings if one.probability >= threshold]
    sizes = ", ".join(f"{one.diameter_mm:.0f} mm" for one in shown[:5])
    more = ", ..." if len(shown) > 5 else ""
    word = "finding" if len(shown) == 1 else "findings"
    count = f"{len(shown)} {word} ({sizes}{more})" if shown else "no finding"
    return f"{count}, patient score {score:.2f}"


def _print_seconds(took: dict[str, float], total: float) -> None:
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in took.items())
    print(f"  seconds: {parts}; {total:.1f} in all", file=sys.stderr)
