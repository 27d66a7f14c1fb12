"""`fieldsight wildlife predict` and `watch`: the model that is meant, then what it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldsight.pipelines import _tracking, _training
from fieldsight.pipelines.wildlife import _predict, _watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fieldsight.core.metrics import Alarms
    from fieldsight.pipelines._models import ModelFile
    from fieldsight.pipelines.wildlife import Predict, Watch
    from fieldsight.pipelines.wildlife._finder import NetworkFinder

MAKE_WITH = "fieldsight wildlife train"
SIMULATED = ("simulated", "simulated-quick", "simulated-full")


def model_for(reference: str | None, *, allow_simulated: bool) -> ModelFile:
    """The model that is meant: a file, a run, or the newest champion, real data first.

    Raises:
        CommandError: if there is none.
    """
    return _tracking.find_model(
        reference, application="wildlife", make_with=MAKE_WITH, last=SIMULATED,
        allow_simulated=allow_simulated,
    )  # fmt: skip


def predict(settings: Predict) -> int:
    """Find what is in the inputs; return the exit code."""
    request = _predict.Request(
        inputs=settings.inputs,
        out=settings.out,
        frames_per_second=settings.frames_per_second,
        telemetry=settings.telemetry,
        terrain=settings.terrain,
        field_of_view_degrees=settings.field_of_view,
        blur_km=settings.blur_locations,
        pictures=settings.pictures,
        json=settings.json,
    )
    _predict.check(request)
    inputs = _predict.find(request)
    # Whether the inputs are real is asked below, when both are known.
    file = model_for(settings.model, allow_simulated=True)
    _training.prepare_backend(0)
    from fieldsight.pipelines.wildlife import _finder

    finder = _finder.load(file, threshold=settings.threshold, polarity=settings.polarity)
    _predict.refuse_simulated(inputs, finder, allowed=settings.allow_simulated)
    interval = None if settings.threshold is not None else _finder.interval_of(file.card.facts)
    return _predict.answer(request, inputs, finder, interval=interval)


def watch(settings: Watch) -> int:
    """Alert as frames come; return the exit code."""
    request = _watch.Request(
        source=settings.source,
        out=settings.out,
        false_alarms_per_hour=settings.false_alarms_per_hour,
        frames_per_second=settings.frames_per_second,
        idle_s=settings.idle_s,
        allow_simulated=settings.allow_simulated,
        json=settings.json,
    )

    def load() -> tuple[NetworkFinder, Mapping[str, Alarms]]:
        file = model_for(settings.model, allow_simulated=True)
        _training.prepare_backend(0)
        from fieldsight.pipelines.wildlife import _alarms, _finder

        finder = _finder.load(file, polarity=settings.polarity, ahead=False)
        return finder, _alarms.from_facts(file.card.facts.get("alarms", {}))

    return _watch.answer(request, load)
