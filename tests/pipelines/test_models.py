import errno
import json
import resource
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._models import (
    Card,
    ModelFile,
    load_model,
    load_part,
    model_name,
    read_card,
    save_model,
)

CARD = Card(
    name="fieldsight-digits-mnist",
    application="digits",
    architecture="lenet5",
    data="mnist",
    simulated=False,
    data_fingerprint="d" * 64,
    split_fingerprint="e" * 64,
    intended_use="single handwritten digits",
    limits="not for letters",
    figures={"test_accuracy": 0.9935, "test_accuracy_low": 0.9917},
    run_id="ab12cd34ef56",
)


def digit_model(units: int = 10) -> Any:
    pictures = keras.Input((28, 28), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pictures))
    return keras.Model(pictures, keras.layers.Dense(units, activation="softmax")(flat))


@pytest.fixture(scope="module")
def model() -> Any:
    return digit_model()


@pytest.fixture(scope="module")
def saved(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.keras"
    save_model(model, path, CARD)
    return path


def test_card_comes_back_as_it_was_written(saved: Path) -> None:
    card = read_card(saved)
    assert (card.name, card.data, card.run_id) == ("fieldsight-digits-mnist", "mnist", CARD.run_id)
    assert card.figures == {"test_accuracy": 0.9935, "test_accuracy_low": 0.9917}
    assert (card.created, card.version) == (CARD.created, CARD.version)


def test_card_says_what_goes_in_and_comes_out(saved: Path) -> None:
    assert read_card(saved).signature == {
        "input": {"shape": [-1, 28, 28], "dtype": "uint8"},
        "output": {"shape": [-1, 10], "dtype": "float32"},
    }


def test_card_is_plain_json_inside_the_file(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        assert json.loads(archive.read("card.json"))["simulated"] is False
        assert archive.testzip() is None


def test_fields_of_a_later_version_do_not_stop_an_older_one(saved: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.keras"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(later, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "card.json":
                content = json.dumps({**json.loads(content), "colour": "blue"}).encode()
            target.writestr(name, content)
    assert read_card(later).name == CARD.name


def test_loaded_model_answers_as_the_saved_one(model: Any, saved: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(
        load_model(saved).predict(pictures, verbose=0), model.predict(pictures, verbose=0)
    )


def test_keras_itself_opens_the_file(model: Any, saved: Path) -> None:
    assert keras.saving.load_model(saved).count_params() == 7850  # 784 x 10 + 10


@pytest.mark.parametrize(
    "data", ["mnist", "RGB.byte", "my data: 50 %", "a/b", "Größe 1", "...", "x" * 300, "it's"]
)
def test_a_models_name_is_one_that_mlflow_takes_whatever_the_data_are_called(data: str) -> None:
    from mlflow.utils.validation import _validate_model_name

    name = model_name("lung", data)
    assert name.startswith("fieldsight-lung-")
    _validate_model_name(name)
    assert model_name("lung", "simulated-quick") == "fieldsight-lung-simulated-quick"


def test_title_names_model_run_and_data() -> None:
    found = ModelFile(Path("m.keras"), CARD, CARD.name, "3", "ab12cd34ef56")
    assert found.title == "fieldsight-digits-mnist v3 (run ab12cd34, trained on mnist, real)"
    alone = ModelFile(Path("m.keras"), CARD, "mine")
    assert alone.title == "mine (trained on mnist, real)"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no .keras file, or a damaged one"),
        (b"not a model", "no .keras file, or a damaged one"),
        (None, "there is no such file"),
    ],
)
def test_what_is_no_model_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.keras"
    if content is not None:
        path.write_bytes(content)
    for read in (read_card, load_model):
        with pytest.raises(CommandError, match=reason):
            read(path)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="that is a folder"):
        read_card(tmp_path)


def test_truncated_model_is_refused_in_one_line(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.keras"
    path.write_bytes(saved.read_bytes()[: saved.stat().st_size // 2])
    with pytest.raises(CommandError, match="damaged") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_refused_in_one_line(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.keras"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, b"\0" * 500 if name.endswith(".h5") else content)
    with pytest.raises(CommandError, match="was needed") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_keras_file_of_somebody_else_is_told_from_ours(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "plain.keras"
    model.save(path)
    with pytest.raises(CommandError, match=r"no item named 'card\.json'"):
        read_card(path)


def test_a_model_that_brings_code_is_refused(tmp_path: Path) -> None:
    pictures = keras.Input((28, 28), dtype="uint8")
    flat = keras.layers.Flatten()(pictures)
    evil = keras.Model(pictures, keras.layers.Lambda(lambda x: x * 2.0)(flat))
    path = tmp_path / "evil.keras"
    save_model(evil, path, CARD)
    with pytest.raises(CommandError, match="asks to run code") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_card_of_gigabytes_is_not_read_into_memory(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with (
        zipfile.ZipFile(saved) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
    ):
        target.writestr("config.json", source.read("config.json"))
        with target.open("card.json", "w") as member:
            for _ in range(80):
                member.write(b" " * 2**20)
    with pytest.raises(CommandError, match="can't be read"):
        read_card(path)


def test_on_a_full_disk_the_old_model_stays(small_disk: Path) -> None:
    path = small_disk / "model.keras"
    save_model(digit_model(1), path, CARD)
    before = path.read_bytes()
    with pytest.raises(CommandError, match=r"no space left.*is unchanged"):
        save_model(digit_model(500), path, CARD)
    assert path.read_bytes() == before
    assert [entry.name for entry in small_disk.iterdir()] == ["model.keras"]


def test_where_files_may_not_grow_the_old_model_stays(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(saved.read_bytes())
    big = digit_model(500)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, limits[1]))
    try:
        with pytest.raises(CommandError, match="no space left") as caught:
            save_model(big, path, CARD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.EFBIG, None)
    assert path.read_bytes() == saved.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


def test_a_model_file_ends_in_keras(model: Any, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"ends in \.keras\. Received: model\.h5"):
        save_model(model, tmp_path / "model.h5", CARD)


def test_a_folder_that_may_not_be_written_to(model: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="can't be written"):
        save_model(model, tmp_path / "file" / "model.keras", CARD)


def test_parts_come_back_and_the_file_stays_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    whole, part = digit_model(), digit_model(3)
    save_model(whole, path, CARD, parts={"second": part})
    pictures = np.random.default_rng(0).integers(0, 256, (2, 28, 28), np.uint8)
    for loaded, was in ((load_model(path), whole), (load_part(path, "second"), part)):
        np.testing.assert_allclose(
            loaded.predict(pictures, verbose=0), was.predict(pictures, verbose=0), atol=1e-6
        )
    assert read_card(path).name == CARD.name


def test_a_part_that_is_not_there_is_told(saved: Path) -> None:
    with pytest.raises(CommandError, match="a part second was needed"):
        load_part(saved, "second")


def test_a_part_may_not_run_code(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    inputs = keras.Input((2,))
    hostile = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    save_model(digit_model(), path, CARD, parts={"second": hostile})
    with pytest.raises(CommandError, match="run code of its own"):
        load_part(path, "second")
