"""Lung's training: a small one end to end, resumed and refused; and what it is made of."""

import csv
import json
import shutil
import types
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fieldsight.core.losses import noisy_or
from fieldsight.datasets.lung_preparation import prepare
from fieldsight.datasets.nodules import Nodule
from fieldsight.datasets.volume import Volume
from fieldsight.pipelines import _training
from fieldsight.pipelines.__main__ import main
from fieldsight.pipelines._models import load_part, read_card
from fieldsight.pipelines.lung import Train, _recipes
from fieldsight.pipelines.lung._cases import Case

BALLS = ((-75.0, 10.0, 20.0, 8.0, 40), (80.0, -20.0, -30.0, 6.0, 40))  # x, y, z, radius, HU


@pytest.fixture(scope="module")
def case(lung: ModuleType) -> Case:
    """A chest with two solid balls in its lungs, 16 and 12 mm wide."""
    volume = lung.chest(BALLS)
    index = np.moveaxis(np.indices(volume.shape), 0, -1)
    places = volume.to_world(index)
    mask = np.zeros(volume.shape, np.uint8)
    nodules = []
    for number, (x, y, z, radius, _) in enumerate(BALLS, 1):
        mask[np.sum((places - (x, y, z)) ** 2, axis=-1) < radius**2] = number
        nodules.append(Nodule((x, y, z), 2 * radius, "solid", malignancy=4.0))
    found = prepare(volume, 2.0, mask)
    return Case(
        "phantom", "p", "1.2", found.image, found.lungs, found.affine, tuple(nodules), (),
        found.labels, 1,
    )  # fmt: skip


def test_a_case_places_its_nodules_where_its_voxels_are_bright(case: Case) -> None:
    # L-7: world to voxel; a solid ball is brighter than -100 HU, lung is not.
    for place in case.to_index([nodule.centre_mm for nodule in case.nodules]):
        assert case.image[tuple(np.rint(place).astype(int))] > -100
    back = case.to_world(case.to_index([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(back, [[1.0, 2.0, 3.0]], atol=1e-3)
    sides = case.boxes[:, 3:] - case.boxes[:, :3]
    np.testing.assert_allclose(sides, [[8.0] * 3, [6.0] * 3], atol=1e-6)


def test_patches_turn_their_targets_along(case: Case) -> None:
    from fieldsight.pipelines.lung._patches import FinderPatches

    draw = FinderPatches([case], side=32, batch_size=8)
    patches, targets = draw(np.random.default_rng(0))
    assert patches.shape == (8, 32, 32, 32, 1)
    assert targets.shape == (8, 16, 16, 16, 8)
    centres = np.argwhere(targets[..., -1] == 1)
    assert len(centres) >= 3  # every other patch is near a nodule
    for number, *place in centres:
        offset = targets[(number, *place)][4:7]
        voxel = np.floor((np.array(place) + 0.5 + offset) * 2).astype(int)
        assert patches[(number, *np.clip(voxel, 0, 31), 0)] > -200


def test_half_of_the_patches_are_at_hard_negatives_or_in_the_lungs(case: Case) -> None:
    from fieldsight.pipelines.lung._patches import FinderPatches

    bare = Case("b", "b", "b", case.image, case.lungs, case.affine)
    hard = [(0, np.array([40.0, 30.0, 25.0]))]
    _, targets = FinderPatches([bare], side=32, batch_size=4, hard=hard)(np.random.default_rng(1))
    assert targets[..., -1].sum() == 0


def test_rare_nodules_are_drawn_more_often_than_their_share() -> None:
    from fieldsight.pipelines.lung._patches import balance

    weights = balance(["solid"] * 9 + ["ground-glass"])
    assert weights[-1] == pytest.approx(3 * weights[0])  # the square root of 9
    assert weights.sum() == pytest.approx(1)


def test_an_outline_has_the_volume_of_its_ball(case: Case) -> None:
    from fieldsight.pipelines.lung._patches import around
    from fieldsight.pipelines.lung._segmenter import dice, outline

    assert case.labels is not None
    place = case.to_index([case.nodules[0].centre_mm])[0]
    cube = (around(case.labels, place, 24, 0) == 1).astype(np.float32)
    grid = Volume(np.broadcast_to(np.int16(0), case.image.shape), case.affine)
    drawn = outline(cube, place, case, grid)
    assert drawn is not None
    # A ball of 16 mm has 2,145 mm3; on voxels of 2 mm within 15 %.
    assert drawn.volume_mm3 == pytest.approx(2145, rel=0.15)
    assert drawn.diameter_mm == pytest.approx(16, rel=0.06)
    ours = np.zeros(case.image.shape, bool)
    sides = zip(drawn.offset, drawn.mask.shape, strict=True)
    ours[tuple(slice(a, a + b) for a, b in sides)] = drawn.mask
    assert dice(ours, np.asarray(case.labels) == 1) == 1


def test_a_finding_lies_where_its_outline_lies(case: Case) -> None:
    # CSV and JSON name the finding's centre, SEG its voxels: half a voxel apart at most.
    from types import SimpleNamespace

    from fieldsight.pipelines.lung._reading import Marks, findings_of
    from fieldsight.pipelines.lung._segmenter import outline

    near, far = (np.asarray(nodule.centre_mm) for nodule in case.nodules)
    grid = Volume(np.broadcast_to(np.int16(0), case.image.shape), case.affine)
    cube = np.zeros((24, 24, 24), np.float32)
    cube[13:16, 11:14, 9:12] = 1  # two voxels of 2 mm off the middle along two axes
    drawn = [outline(cube, place, case, grid) for place in case.to_index([near])]
    model: Any = SimpleNamespace(outlines=lambda *_: drawn)
    marks = Marks(np.array([near, far]), np.ones(2), np.array([0.9, 0.1]), np.zeros(2), 0.5)
    found, _ = findings_of(model, case, grid, marks, threshold=0.5, heat=False)
    mask = found[0].mask
    assert mask is not None
    middle = np.argwhere(mask).mean(axis=0) + found[0].mask_start
    np.testing.assert_allclose(grid.to_index(found[0].centre_mm), middle, atol=1e-9)
    assert np.linalg.norm(found[0].centre_mm - near) > 3
    np.testing.assert_allclose(found[1].centre_mm, far)  # not outlined: where it was found


def test_an_outline_takes_the_part_at_the_place_alone(case: Case) -> None:
    from fieldsight.pipelines.lung._segmenter import outline

    cube = np.zeros((24, 24, 24), np.float32)
    cube[10:14, 10:14, 10:14] = 1
    cube[1:9, 1:9, 1:9] = 1
    place = case.to_index([case.nodules[0].centre_mm])[0]
    grid = Volume(np.broadcast_to(np.int16(0), case.image.shape), case.affine)
    drawn = outline(cube, place, case, grid)
    assert drawn is not None
    assert drawn.mask.shape == (4, 4, 4)
    assert outline(0 * cube, place, case, grid) is None


def test_a_patient_is_the_noisy_or_of_the_likeliest_candidates() -> None:
    # L-14: 1 - (1 - leak) (1 - 0.8 x 0.5) (1 - 0.5 x 0.4), and the leak without a candidate.
    from fieldsight.pipelines.lung._suspicion import Calibration

    one = Calibration(leak=0.1)
    score = one.patient(np.array([0.8, 0.5]), np.array([0.5, 0.4]))
    assert score == pytest.approx(1 - 0.9 * 0.6 * 0.8, abs=1e-6)
    assert one.patient(np.zeros(0), np.zeros(0)) == pytest.approx(0.1, abs=1e-6)
    logits = np.log([[0.4 / 0.6, 0.2 / 0.8]])
    assert score == pytest.approx(float(noisy_or(logits, leak=0.1)[0]), abs=1e-6)


def test_calibration_comes_back_from_a_card() -> None:
    from fieldsight.pipelines.lung._suspicion import Calibration

    one = Calibration(finder=1.5, leak=0.02)
    assert Calibration.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_a_saved_model_sees_hounsfield_units_and_answers_the_same_in_its_window() -> None:
    # C-5: what lies beyond [-1200, 600] HU makes no difference.
    from fieldsight.pipelines.lung import _networks

    sizes = _recipes.Sizes(filters=(2, 4, 4), blocks=(1, 1, 1), pyramid=4, outliner=2, crop=16)
    cube = np.random.default_rng(0).uniform(-3000, 3000, (1, 16, 16, 16, 1)).astype("float32")
    for network in (_networks.finder(sizes), _networks.outliner(sizes), _networks.judge(sizes)):
        inside = np.clip(cube, -1200, 600)
        np.testing.assert_allclose(network(cube), network(inside), atol=1e-5)


def test_the_judge_begins_with_the_finders_features() -> None:
    from fieldsight.pipelines.lung import _networks

    sizes = _recipes.Sizes(filters=(2, 4, 4), blocks=(1, 1, 1), pyramid=4, outliner=2, crop=16)
    finder = _networks.finder(sizes)
    for network in (_networks.judge(sizes, finder), _networks.outliner(sizes, finder)):
        for name in ("stem", "stage2_block0_conv2"):
            ours, theirs = (one.get_layer(name).get_weights() for one in (network, finder))
            np.testing.assert_array_equal(ours[0], theirs[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "a number above 0"),
        (["--cases", "2"], "at least 3"),
        (["--seed", "-1"], "--seed"),
        (["--data", "nowhere"], "nowhere"),
        (["--resume", "0123abcd"], "interrupted"),
    ],
)
def test_what_can_not_be_is_told_before_a_run_exists(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["lung", "train", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list((home / "runs").glob("*"))


def test_a_disk_too_small_for_the_patients_is_told_before_a_run_exists(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = types.SimpleNamespace(free=30_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert main(["lung", "train", "--full"]) == 2
    message = capsys.readouterr().err
    assert "GB of disk were needed for 188 simulated patients" in message
    assert "30.0 GB free" in message
    assert not list((home / "runs").glob("*"))


@pytest.fixture(scope="module")
def small() -> Any:
    """A recipe of a second an epoch."""
    sizes = _recipes.Sizes(filters=(4, 8, 8), blocks=(1, 1, 1), pyramid=8, outliner=2, crop=16)
    short = _training.Recipe(epochs=1, batch_size=4, learning_rate=3e-3, precision="float32")
    return _recipes.Way(
        spacing_mm=3.0,
        detail="quick",
        patients=_recipes.Patients(train=2, val=1, test=1, other=1),
        sizes=sizes,
        finder=_recipes.Plan(rounds=(short, short), steps=2, side=16),
        outliner=short,
        outliner_steps=2,
        judge=short,
        judge_steps=2,
    )


def test_trained_killed_resumed_and_asked(
    home: Path,
    tmp_path: Path,
    small: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fieldsight.pipelines.lung import _comparison

    monkeypatch.setattr(_recipes, "way", lambda settings: small)
    compare = _comparison.compare

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(_comparison, "compare", killed)
    arguments = ["lung", "train", "--cache", str(tmp_path / "cache"), "--precision", "float32"]
    assert main(arguments) == 130
    run = capsys.readouterr().err.split("--resume ")[1].split()[0]
    monkeypatch.setattr(_comparison, "compare", compare)
    assert main(["lung", "train", "--resume", run, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["test_scans"] == 1

    # C-10: the card says what it was trained on, and the parts stand in the file.
    (file,) = home.rglob("model.keras")
    card = read_card(file)
    assert card.simulated
    assert card.facts["spacing_mm"] == 3.0
    assert "SIMULATED" in card.limits
    assert load_part(file, "judge").output_shape == (None, 2)
    assert (next(home.rglob("report.html"))).read_text().count("SIMULATED") > 0

    # A simulated scan is read without being asked twice, and the answers say what they are.
    series = sorted((tmp_path / "cache" / "simulated-quick-0" / "dicom").iterdir())[0]
    out = tmp_path / "answers"
    assert main(["lung", "predict", str(series), "--out", str(out), "--model", str(file)]) == 0
    (table,) = out.rglob("findings.csv")
    assert next(csv.reader(table.open())) == [
        "seriesuid", "coordX", "coordY", "coordZ", "probability",
    ]  # fmt: skip
    told = json.loads(next(out.rglob("findings.json")).read_text())
    assert any("SIMULATED" in mark for mark in told["marks"])

    # What can't be used of a batch is a row, and the rest goes on.
    asked = ["lung", "predict", str(series), str(tmp_path / "gone"), "--out", str(out)]
    assert main([*asked, "--model", str(file)]) == 1
    heading, failed = csv.reader((out / "failures.csv").open())
    assert (heading, failed[0]) == (["series", "reason"], "path 2")

    data = str(tmp_path / "cache" / "simulated-quick-0")
    scored = tmp_path / "scored"
    evaluate = ["lung", "evaluate", "--data", data, "--model", str(file), "--out", str(scored)]
    assert main([*evaluate, "--json"]) == 0
    assert (scored / "candidates.csv").exists()
    assert json.loads((scored / "figures.json").read_text())["simulated"] is True

    # Where nobody marked nodules, the patients' outcomes are scored alone; one is missing.
    bowl = tmp_path / "bowl"
    (bowl / "stage1").mkdir(parents=True)
    (bowl / "stage1_labels.csv").write_text("id,cancer\na,1\nb,0\nc,0\n")
    for name, patient in zip("ab", sorted(series.parent.iterdir()), strict=False):
        (bowl / "stage1" / name).symlink_to(next(patient.iterdir()), target_is_directory=True)
    capsys.readouterr()
    evaluate = ["lung", "evaluate", "--data", str(bowl), "--model", str(file), "--out", str(scored)]
    assert main([*evaluate, "--allow-simulated", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["data"], told["test_patients"], told["failed"]) == ("bowl", 2, 1)
    assert 0 <= told["test_auc"] <= 1
    assert "test_cpm" not in told
    assert (scored / "failures.csv").read_text().startswith("scan,reason\nc,c: a folder")


def test_a_model_of_simulated_patients_refuses_a_real_scan(
    lung: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # C-10.
    from fieldsight.pipelines._errors import CommandError
    from fieldsight.pipelines._models import Card, ModelFile
    from fieldsight.pipelines.lung._predict import refuse_simulated

    card = Card(
        name="fieldsight-lung-simulated-quick", application="lung", architecture="", data="s",
        simulated=True, data_fingerprint="", split_fingerprint="", intended_use="", limits="",
    )  # fmt: skip
    found = ModelFile(tmp_path / "model.keras", card, card.name)
    real = lung.chest()
    with pytest.raises(CommandError, match="--allow-simulated"):
        refuse_simulated(found, real, allowed=False)
    refuse_simulated(found, real, allowed=True)
    drawn = Volume(real.hounsfield, real.affine, facts={"simulated": 1})
    refuse_simulated(found, drawn, allowed=False)


def test_full_has_the_patients_that_the_figures_need() -> None:
    quick, full = (_recipes.way(Train(full=asked)) for asked in (False, True))
    assert quick.patients.test >= 24
    assert full.patients.test >= 60
    assert (quick.spacing_mm, full.spacing_mm) == (2.0, 1.0)


@pytest.mark.slow
def test_the_quick_network_beats_the_blobs_by_an_interval(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lung", "train", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["test_scans"] >= 24
    assert figures["test_cpm_difference_low"] > 0
