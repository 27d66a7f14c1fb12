"""The command line: known mistakes end in one line on stderr and exit code 2."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets.mnist import write_idx
from fieldsight.pipelines import digits
from fieldsight.pipelines.__main__ import applications, common_actions, main


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], home: Path) -> Callable[..., str]:
    """Runs a command that must be refused: in one line, without a trace, and before any run."""

    def run(*arguments: object, by_nobody: bool = False) -> str:
        with an_ordinary_user() if by_nobody else contextlib.nullcontext():
            assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        assert captured.err.count("\n") == 1, captured.err
        assert captured.err.startswith("fieldsight: ")
        assert not list(home.glob("runs/*")), "a run was begun that could only fail"
        return captured.err

    return run


def test_an_unknown_command_names_those_there_are(refused: Callable[..., str]) -> None:
    line = refused("digts", "train")
    assert "'digts'" in line
    for name in [*applications(), *common_actions()]:
        assert name in line


def test_applications_are_the_public_modules() -> None:
    assert "digits" in applications()
    assert not any(name.startswith("_") for name in applications())


def test_an_unknown_flag_is_tyros_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["digits", "train", "--epoks", "3"])
    assert ended.value.code == 2
    assert "--epoks" in capsys.readouterr().err


def test_debug_shows_the_trace_and_the_line_still_stands_last(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["digits", "train", "--data", "mnist", "--data-dir", str(tmp_path / "nowhere")]
    for arguments in (["--debug", *wrong], [*wrong, "--debug"]):
        assert main(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert any("DatasetNotFoundError" in line for line in lines[:-1])
        assert lines[-1].startswith("fieldsight: a folder of MNIST's four IDX files was needed")


# MNIST's files


Files = dict[str, Any]


def mnist_files(folder: Path, **changes: Any) -> Path:
    """A tiny set in MNIST's layout; `changes` by the first letters of a file's name."""
    images = np.zeros((6, 28, 28), np.uint8)
    labels = np.arange(6, dtype=np.uint8)
    folder.mkdir(exist_ok=True)
    for stem in ("train", "t10k"):
        write_idx(folder / f"{stem}-images-idx3-ubyte", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte", changes.get(f"{stem}_labels", labels))
    return folder


def train_on(folder: Path) -> list[object]:
    return ["digits", "train", "--data", "mnist", "--data-dir", folder]


def test_a_folder_without_mnist_is_told_what_is_missing(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    line = refused(*train_on(tmp_path / "empty"))
    assert "train-images-idx3-ubyte" in line
    assert "t10k-labels-idx1-ubyte" in line
    assert "--data uci" in line
    mnist_files(tmp_path / "three")
    (tmp_path / "three" / "t10k-labels-idx1-ubyte").unlink()
    line = refused(*train_on(tmp_path / "three"))
    assert "no t10k-labels-idx1-ubyte." in line
    assert "no train" not in line


def test_a_folder_that_is_not_there_or_a_file_is_told(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    assert "which is not there" in refused(*train_on(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("x")
    assert "which is a file" in refused(*train_on(tmp_path / "file"))


def test_a_truncated_file_is_told_with_both_lengths(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    folder = mnist_files(tmp_path / "mnist")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    line = refused(*train_on(folder))
    # 16 bytes of header and 6 * 28 * 28 of pictures.
    assert "train-images-idx3-ubyte: is truncated" in line
    assert "4720 bytes" in line
    assert "Received: 4620" in line


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([0, 1, 2, 3, 4, 200], "needs labels 0 to 9. Received: 200 at index 5"),
        ([0, 1, 2, 3, 4], "Received: 6 pictures, and 5 labels"),
    ],
)
def test_labels_that_cannot_be_are_told(
    refused: Callable[..., str], tmp_path: Path, labels: list[int], told: str
) -> None:
    folder = mnist_files(tmp_path / "mnist", t10k_labels=np.array(labels, np.uint8))
    line = refused(*train_on(folder))
    assert told in line
    assert "t10k-" in line


def test_offline_it_says_what_to_download_and_what_needs_nothing(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDSIGHT_MNIST_URL", "http://127.0.0.1:9/")  # discard: nobody listens
    line = refused("digits", "train", "--data", "mnist")
    assert "train-images-idx3-ubyte.gz" in line
    assert "--data-dir" in line
    assert "`--data uci` needs nothing" in line


# Settings and runs


@pytest.mark.parametrize(
    ("flag", "value", "needed"),
    [
        ("--epochs", "0", "at least 1"),
        ("--epochs", "-3", "at least 1"),
        ("--batch-size", "0", "at least 1"),
        ("--learning-rate", "0", "above 0"),
        ("--learning-rate", "nan", "above 0"),
        ("--seed", "-1", "at least 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    refused: Callable[..., str], flag: str, value: str, needed: str
) -> None:
    line = refused("digits", "train", flag, value)
    assert f"{flag}: " in line
    assert needed in line
    assert f"Received: {value}" in line


@pytest.mark.parametrize("flag", ["--seeds", "--epochs"])
def test_compare_needs_at_least_one(refused: Callable[..., str], flag: str) -> None:
    assert f"{flag}: at least 1 is needed. Received: 0." in refused("digits", "compare", flag, 0)


@pytest.mark.parametrize("reference", ["deadbeef0000", "no/run", ""])
def test_an_unknown_run_cannot_be_resumed(refused: Callable[..., str], reference: str) -> None:
    line = refused("digits", "train", "--resume", reference)
    assert f"Received: {reference!r}" in line
    assert "interrupted" in line


def test_own_digits_need_their_folder_and_enough_of_them(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    assert "--data folder needs --data-dir" in refused("digits", "evaluate", "--data", "folder")
    (tmp_path / "mine").mkdir()
    line = refused("digits", "evaluate", "--data", "folder", "--data-dir", tmp_path / "mine")
    assert "subfolders 0 to 9" in line
    (tmp_path / "mine" / "7").mkdir()
    picture = np.full((60, 60), 255, np.uint8)
    picture[10:14, 15:45] = picture[10:50, 40:44] = 0
    Image.fromarray(picture).save(tmp_path / "mine" / "7" / "one.png")
    line = refused("digits", "train", "--data", "folder", "--data-dir", tmp_path / "mine")
    assert "at least 50 labelled pictures are needed. Received: 1." in line


# Pictures to read


def test_an_empty_list_of_pictures_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "at least one picture is needed. Received: none." in refused("digits", "predict")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("no picture")
    assert "no picture in this folder" in refused("digits", "predict", tmp_path / "notes")


def test_without_a_champion_the_command_that_makes_one_is_named(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    picture = tmp_path / "page.png"
    Image.new("L", (40, 40), 255).save(picture)
    out = tmp_path / "answers.csv"
    line = refused("digits", "predict", picture, "--out", out)
    assert "a model of digits was needed. Received: none" in line
    assert "make digits" in line
    assert not out.exists()
    line = refused("digits", "evaluate", "--data", "uci")
    assert "fieldsight digits train --data uci makes one" in line
    assert "make digits" in refused("digits", "explain")


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_model_that_is_none_is_refused(
    refused: Callable[..., str], tmp_path: Path, content: bytes | None
) -> None:
    model = tmp_path / "mine.keras"
    if content is not None:
        model.write_bytes(content)
    picture = tmp_path / "page.png"
    Image.new("L", (40, 40), 255).save(picture)
    line = refused("digits", "predict", picture, "--model", model)
    assert "a model saved by fieldsight was needed" in line
    assert str(model) in line


@contextlib.contextmanager
def an_ordinary_user() -> Iterator[None]:
    """The superuser, whom no permission stops, is nobody for a while."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that may not be entered; beside pytest's own, which nobody else may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "locked"
        Path(name).chmod(0o755)
        folder.mkdir()
        folder.chmod(0)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize("action", ["predict", "train"])
def test_a_folder_without_permission_is_told(
    refused: Callable[..., str], locked: Path, action: str
) -> None:
    import fieldsight.datasets.mnist
    import fieldsight.pipelines.digits._data
    import fieldsight.pipelines.digits._predict  # noqa: F401  nobody may read no checkout either

    arguments = ["digits", "predict", locked] if action == "predict" else train_on(locked)
    line = refused(*arguments, by_nobody=True)
    assert str(locked) in line
    assert "permission denied" in line


# Trouble of the system


def ended_by(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def end(self: object) -> int:
        raise error

    monkeypatch.setattr(digits.Train, "run", end)
    return main(["digits", "train"])


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "no space is left"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "larger than is allowed"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.ENOENT, "no such file"),
        (errno.EISDIR, "a folder"),
        (errno.ENOTDIR, "there is a file"),
    ],
)
def test_known_trouble_of_the_system_is_one_line_that_names_the_file(
    number: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended_by(OSError(number, os.strerror(number), "out/model.keras"), monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fieldsight: out/model.keras: ")
    assert told in line


def test_what_is_nobodys_mistake_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        ended_by(ZeroDivisionError(), monkeypatch)
    with pytest.raises(OSError, match="strange"):
        ended_by(OSError(errno.EIO, "strange"), monkeypatch)


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == "interrupted\n"
