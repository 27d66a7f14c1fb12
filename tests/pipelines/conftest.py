"""A home of its own for every test that tracks a run: nothing is read or left anywhere else."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a run: making one takes seconds, copying it does not."""
    from fieldsight.pipelines import _tracking

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    uri = f"sqlite:///{path.as_posix()}"
    _tracking._client(_tracking.store(uri)).search_experiments()
    return path


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs of this test go: its tracking store, its journals and its cache."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    monkeypatch.setenv("FIELDSIGHT_HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder
