"""`fieldsight digits explain`: what a network sees."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldsight.pipelines import _tracking, _training
from fieldsight.pipelines._files import check_output_folder
from fieldsight.pipelines.digits import _data
from fieldsight.pipelines.digits._predict import MAKE_WITH
from fieldsight.pipelines.digits._scores import CLASSES

if TYPE_CHECKING:
    from fieldsight.datasets.sample import LabelledImages
    from fieldsight.pipelines.digits import Explain

Drawn = tuple[str, str, Any]
SEARCHED = 2000  # pictures among which each unit's favourites are looked for


def explain(settings: Explain) -> int:
    """Draw everything into the folder and into the model's run; return the exit code."""
    check_output_folder("--out", settings.out)
    found = _tracking.find_model(settings.model, application="digits", make_with=MAKE_WITH)
    shown = settings.data or ("folder" if settings.data_dir else found.card.data)
    labelled = _data.labelled_pictures(shown, settings.data_dir)  # type: ignore[arg-type]
    _training.prepare_backend(0)
    from fieldsight.pipelines import _figures, _report
    from fieldsight.pipelines._models import load_model

    model = load_model(found.path)
    data = f"{labelled.name}, {len(labelled):,} pictures; {found.title}"
    drawn = draw_all(model, labelled, data)
    shown_on_page = []
    for name, (title, caption, figure) in drawn.items():
        path = _figures.save(figure, settings.out / f"{name}.png")
        shown_on_page.append((title, caption, path.read_bytes()))  # drawn once: it takes a second
        print(path)
    page = _report.write_report(
        settings.out / "explain.html",
        title=f"What {found.card.architecture} sees in {labelled.name}",
        card=dataclasses.asdict(found.card),
        figures=shown_on_page,
        notes=[f"Pictures shown: {data}."],
    )
    print(page)
    if (run := _tracking.add_artifacts(found, settings.out, "explain")) is not None:
        print(f"and in MLflow's run {run}, under explain")
    return 0


def draw_all(model: Any, labelled: LabelledImages, data: str) -> dict[str, Drawn]:
    """Every picture by its file's name: its title, its caption and the figure."""
    from fieldsight.core import inspection
    from fieldsight.pipelines import _figures

    probabilities = model.predict(labelled.images, batch_size=500, verbose=0)
    each = _one_of_each(labelled, probabilities)
    images = labelled.images[each]
    drawn: dict[str, Drawn] = {}
    if _convolutions(model):
        drawn["filters"] = (
            "Filters of the first convolution",
            "What each unit of the first layer multiplies the pixels with.",
            _figures.filters(inspection.filters(model), data=data),
        )
    maps = inspection.feature_maps(model, images)
    atlas = _figures.feature_map_atlas(images, maps, CLASSES, data=data)
    for number, (layer, figure) in enumerate(atlas.items(), start=1):
        drawn[f"maps_{number:02d}_{layer}"] = (
            f"Layer {layer}",
            "What this layer makes of one picture of each digit.",
            figure,
        )
    searched = labelled.images[:SEARCHED]
    for layer in _worth_searching(model):
        best = inspection.top_images(model, searched, layer, 9)
        drawn[f"favourites_{layer}"] = (
            f"What excites the units of {layer}",
            f"For each unit the nine of {len(searched):,} pictures that excite it most, and where.",
            _figures.unit_excitation(
                searched, best.indices, best.values, best.boxes, layer=layer, data=data
            ),
        )
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labelled.labels)
    # As `worst_mistakes` orders them: where the truth was thought least likely.
    worst = wrong[np.argsort(probabilities[wrong, labelled.labels[wrong]])][:10]
    for name, chosen, title in (
        ("grad_cam", each, "Grad-CAM: where the evidence is, one picture of each digit"),
        ("grad_cam_mistakes", worst, "Grad-CAM of the worst mistakes"),
    ):
        if len(chosen) and _convolutions(model):
            drawn[name] = (title, "Brighter is more evidence for the answer given.", _cam(
                model, labelled, probabilities, chosen, data
            ))  # fmt: skip
    drawn["worst_mistakes"] = (
        "Worst mistakes",
        "The wrong answers that were most confident: label, answer and its probability.",
        _figures.worst_mistakes(labelled.images, labelled.labels, probabilities, data=data),
    )
    return drawn


def _cam(model: Any, labelled: LabelledImages, probabilities: Any, chosen: Any, data: str) -> Any:
    from fieldsight.core import inspection
    from fieldsight.pipelines import _figures

    answers = probabilities[chosen].argmax(axis=1)
    maps = inspection.grad_cam(model, labelled.images[chosen], class_index=answers)
    return _figures.grad_cam_overlays(
        labelled.images[chosen],
        maps,
        [CLASSES[answer] for answer in answers],
        probabilities[chosen].max(axis=1).tolist(),
        labels=[CLASSES[label] for label in labelled.labels[chosen]],
        data=data,
    )


def _one_of_each(labelled: LabelledImages, probabilities: Any) -> Any:
    """The first picture of each digit that is read right, or else the first of it."""
    right = probabilities.argmax(axis=1) == labelled.labels
    chosen = []
    for digit in np.unique(labelled.labels):
        of_class = np.flatnonzero(labelled.labels == digit)
        good = of_class[right[of_class]]
        chosen.append(int(good[0] if len(good) else of_class[0]))
    return np.array(chosen)


def _convolutions(model: Any) -> list[str]:
    return [layer.name for layer in model.layers if "Conv" in type(layer).__name__]


def _worth_searching(model: Any) -> list[str]:
    """Convolutions and the layers of units after them, but not the answer itself."""
    dense = [layer.name for layer in model.layers if type(layer).__name__ == "Dense"]
    return [*_convolutions(model), *dense]
