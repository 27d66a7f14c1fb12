"""Runs and models in MLflow: the one file that imports it (the served script apart).

MLflow is imported when a run's worker thread or a search for a model needs it, never before.
Calls go through `MlflowClient` with an explicit address: MLflow's own "current" store, run and
user are left to whoever else uses MLflow in this process.
"""

import contextlib
import functools
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse
from urllib.request import url2pathname

from fieldsight.pipelines import _environment, _journal
from fieldsight.pipelines._errors import CommandError
from fieldsight.pipelines._journal import Journal, Record
from fieldsight.pipelines._models import Card, ModelFile, read_card
from fieldsight.pipelines._run import Run, StoreError, Validation

__all__ = [
    "Run",
    "Store",
    "StoreError",
    "Validation",
    "add_artifacts",
    "find_model",
    "resume_run",
    "start_run",
]

TAG = "fieldsight.run"  # the local id, by which a run is found again before it is made twice
RECORD_TAG = "fieldsight.record"
BATCH = 200  # records in one go; MLflow takes 1,000 metrics, 100 params and 100 tags in a call
SECONDS_PER_CALL = 5
LONGEST_PARAM = 6000
LONGEST_TAG = 5000
SERVED_MODEL = Path(__file__).resolve().with_name("_served_model.py")
# What no later try will mend: the record itself is wrong for the store.
REFUSALS = frozenset(
    {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS"}
)


@dataclass(frozen=True)
class Store:
    """Where runs go.

    Attributes:
        uri: MLflow's tracking URI.
        artifact_location: where artifacts of new experiments go; None lets the server say.
        where: the same for a person, without any password.
    """

    uri: str
    artifact_location: str | None
    where: str


def store(uri: str | None = None) -> Store:
    """Where runs go: `MLFLOW_TRACKING_URI`, else the checkout's `mlflow/`, else the user's folder.

    Args:
        uri: a tracking URI to use instead.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        folder = _journal.home()
        database = (folder / "mlflow.db").as_posix()
        return Store(f"sqlite:///{database}", (folder / "artifacts").as_uri(), str(folder))
    if uri.startswith("sqlite:///"):
        # MLflow's own default is ./mlruns, in whatever folder the command was started.
        folder = Path(uri.removeprefix("sqlite:///")).resolve().parent
        return Store(uri, (folder / "artifacts").as_uri(), str(folder))
    local = None if uri.startswith("http") else (_journal.home() / "artifacts").as_uri()
    return Store(uri, local, redacted(uri))


def redacted(uri: str) -> str:
    """A URI without the user name and the password that it may carry."""
    return re.sub(r"//[^/@]*@", "//", uri)


def start_run(
    application: str,
    *,
    settings: Mapping[str, object],
    tags: Mapping[str, str],
    name: str | None = None,
    sample_every: float = 10.0,
) -> Run:
    """Start a tracked run.

    Args:
        application: `digits`, `lung`, ...; its experiment is `fieldsight/<application>`.
        settings: every setting of the action; logged as parameters and kept for `resume_run`.
        tags: what the run is searched by, `data` above all.
        name: the run's name; its local id by default.
        sample_every: seconds between two measurements of the machine's load.

    Returns:
        The run, open; finish it, or use it as a context manager.
    """
    there = store()
    journal = Journal(_journal.runs_folder() / _journal.new_id())
    journal.append(
        "start",
        application=application,
        name=name or f"{application}-{journal.folder.name[:6]}",
        store=redacted(there.uri),
        settings=dict(settings),
        tags={**_environment.tags(), **tags},
    )
    return _run(journal, there, sample_every)


def resume_run(reference: str, *, sample_every: float = 10.0) -> Run:
    """Go on with a run that was interrupted, in the same MLflow run.

    Args:
        reference: the run's local id (or its first characters), or the id MLflow gave it.
        sample_every: seconds between two measurements of the machine's load.

    Raises:
        CommandError: if no such run is on this machine, or it is finished or still going on.
    """
    folder = _journal.find(reference)
    if folder is None:
        raise CommandError(
            "a run that was interrupted on this machine was needed. "
            f"Received: {reference!r}, which is not among those in {_journal.runs_folder()}."
        )
    if _journal.read_done(folder) is not None:
        raise CommandError(_finished(reference))
    try:
        journal = Journal(folder)
    except BlockingIOError:
        raise CommandError(
            f"a run that was interrupted was needed. Received: {reference!r}, which is going on "
            "in another process. Wait for it, or stop it first."
        ) from None
    if journal.first is None or journal.last is None:
        journal.close()
        raise CommandError(f"run {reference!r} left no journal to resume from. Start a new one.")
    if journal.last["kind"] == "end" and journal.last["status"] == "FINISHED":
        journal.close()
        raise CommandError(_finished(reference))
    journal.append("reopen")
    return _run(journal, _store_of(journal), sample_every)


def send_waiting(folder: Path, *, to: str | None = None) -> tuple[int, str]:
    """Send what waits of one run that is not going on.

    Args:
        folder: the run's folder.
        to: another store than the one it was started for.

    Returns:
        How many records were sent, and the run's status.

    Raises:
        StoreError: if the store doesn't take them.
        BlockingIOError: if the run is going on.
    """
    if _journal.read_done(folder) is not None:
        return 0, "DONE"
    with Journal(folder) as journal:
        if journal.first is None or journal.last is None:
            return 0, "EMPTY"
        there = store(to) if to else _store_of(journal)
        if journal.state.get("store", redacted(there.uri)) != redacted(there.uri):
            journal.start_over()
        if journal.last["kind"] != "end":
            # Its process died: say so in MLflow, where it would stay RUNNING; resuming reopens it.
            journal.append("end", status="KILLED", at=journal.last["time"])
        status, waiting = str(journal.last["status"]), len(journal)
        if waiting:
            _Sender(there).send(journal)
        if status == "FINISHED":
            journal.finish()
        return waiting, status


def _run(journal: Journal, there: Store, sample_every: float) -> Run:
    return Run(
        journal,
        connect=lambda: _Sender(there),
        monitors=_Monitors,
        place=functools.partial(_place, there),
        sample_every=float(
            os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL") or sample_every
        ),
    )


def _store_of(journal: Journal) -> Store:
    """The store a run was started for; the password, which isn't kept, from the environment."""
    started_for = str((journal.first or {})["store"])
    now = store()
    return now if redacted(now.uri) == started_for else store(started_for)


def _finished(reference: str) -> str:
    return (
        f"a run that was interrupted was needed. Received: {reference!r}, which is finished. "
        "Start a new one."
    )


def _place(there: Store, run: Run) -> str:
    experiment = f"experiment fieldsight/{run.application}"
    if there.uri.startswith("http"):
        path = ""
        if run.mlflow_id:
            path = f"/#/experiments/{run._journal.state.get('experiment')}/runs/{run.mlflow_id}"
        return f"{there.where.rstrip('/')}{path} ({experiment}, run {run.id})"
    ours = (_journal.checkout() or Path()) / "mlflow" / "mlflow.db"
    opens = (
        "make ui" if there.uri == f"sqlite:///{ours.as_posix()}" else f"mlflow ui {_option(there)}"
    )
    return f"{there.where} ({experiment}, run {run.id}); `{opens}` opens it"


def _option(there: Store) -> str:
    return f"--backend-store-uri {redacted(there.uri)}"


# --- MLflow, imported late ---------------------------------------------------------------------


@functools.cache
def _prepare() -> None:
    """Import MLflow: short waits, no messages home, nothing on the person's terminal."""
    wanted = {
        # One try of a few seconds: the worker thread tries again, with longer and longer pauses.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS_PER_CALL),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # A store without space is told in one line of ours, not in SQLAlchemy's trace.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"mlflow\b")  # wishes for type hints and examples
    import mlflow  # noqa: F401


@contextlib.contextmanager
def patience(seconds: int) -> Iterator[None]:
    """Wait longer than training may for each answer, unless the person has set how long."""
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    _prepare()
    before = os.environ[name]
    os.environ[name] = str(seconds) if before == str(SECONDS_PER_CALL) else before
    try:
        yield
    finally:
        os.environ[name] = before


@functools.cache
def _client(there: Store) -> Any:
    _prepare()
    from mlflow import MlflowClient
    from mlflow.tracking._tracking_service.utils import _get_store

    if there.uri.startswith("sqlite:///"):
        Path(there.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    if there.artifact_location is not None:
        # Opens the store with our artifact folder; its default would be the current one.
        _get_store(there.uri, there.artifact_location)
    return MlflowClient(tracking_uri=there.uri, registry_uri=there.uri)


@contextlib.contextmanager
def _asking(there: Store) -> Iterator[Any]:
    """A client of the store; whatever goes wrong in it, refusals apart, is a StoreError."""
    try:
        yield _client(there)
    except (StoreError, CommandError):
        raise
    except Exception as error:
        raise StoreError(f"{there.where} doesn't answer: {_why(error)}") from error


def _why(error: Exception) -> str:
    text = redacted(str(error)).strip()
    if "timed out" in text.lower() or "timeout" in text.lower():
        return "no reply in time"
    if "refused" in text.lower():
        return "connection refused"
    return text.splitlines()[0][:160] if text else type(error).__name__


def _code_of(error: Exception) -> str:
    return str(getattr(error, "error_code", ""))


class _Monitors:
    """MLflow's own measurements of the machine, under MLflow's own names."""

    def __init__(self) -> None:
        _prepare()
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        self._monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        with contextlib.suppress(ImportError, RuntimeError):  # no NVIDIA library or no device
            self._monitors.append(GPUMonitor())

    def __call__(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for monitor in self._monitors:
            with contextlib.suppress(Exception):  # a device that is gone ends no run
                monitor.collect_metrics()
                found |= {
                    f"system/{key}": value for key, value in monitor.aggregate_metrics().items()
                }
            monitor.clear_metrics()
        return found


class _UnsendableError(Exception):
    """A record that no store would take, for a reason on this side."""


class _Sender:
    """Sends journals to one store. Sending twice changes nothing."""

    def __init__(self, there: Store) -> None:
        self.there = there
        self._told: set[str] = set()
        self._began_again = False

    def send(self, journal: Journal) -> None:
        """Send what waits; raises StoreError where the store doesn't take it."""
        with _asking(self.there) as client:
            from mlflow.exceptions import MlflowException

            try:
                self._send_all(client, journal)
            except MlflowException as error:
                if _code_of(error) != "RESOURCE_DOES_NOT_EXIST" or self._began_again:
                    raise
                # The store was emptied, or is a new one at the old address: tell it everything.
                self._began_again = True
                journal.start_over()
                self._send_all(client, journal)

    def _send_all(self, client: Any, journal: Journal) -> None:
        run_id = self._run_id(client, journal)
        while batch := journal.waiting(BATCH):
            for group in _groups(batch):
                self._send_group(client, run_id, journal, group)
                journal.sent(group[-1]["n"])

    def _run_id(self, client: Any, journal: Journal) -> str:
        """The MLflow run of a journal: remembered, found by its tag, or made."""
        if found := journal.state.get("run"):
            return str(found)
        start = journal.first or {}
        experiment = _experiment(client, f"fieldsight/{start['application']}", self.there)
        local_id = journal.folder.name
        runs = client.search_runs([experiment], f"tags.`{TAG}` = '{local_id}'", max_results=1)
        run = runs[0] if runs else _create_run(client, experiment, start, local_id)
        address = redacted(self.there.uri)
        journal.remember(store=address, experiment=experiment, run=run.info.run_id)
        return str(run.info.run_id)

    def _send_group(self, client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            _SEND[group[0]["kind"]](client, run_id, journal, group)
        except MlflowException as error:
            if _code_of(error) not in REFUSALS:
                raise
            parts = _parts(group)
            if len(parts) > 1:
                for part in parts:
                    self._send_group(client, run_id, journal, [part])
                return
            self._tell_once(f"the tracking store refused {_named(group[0])}: {_why(error)}")
        except _UnsendableError as error:
            self._tell_once(str(error))

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            _journal.say(text)


def _groups(batch: list[Record]) -> Iterator[list[Record]]:
    """Split records into runs of one kind, each of which goes in one call if it can."""
    group: list[Record] = []
    for record in batch:
        alike = group and record["kind"] == group[0]["kind"] == "metrics"
        if group and not (alike and sum(len(item["values"]) for item in group) < 800):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _parts(group: list[Record]) -> list[Record]:
    """The smallest records a group can be told in, to find the one that is refused."""
    return [
        {**record, "values": {key: value}}
        for record in group
        for key, value in record.get("values", {}).items()
    ]


def _named(record: Record) -> str:
    names = ", ".join(record.get("values", {})) or record.get("file") or record.get("name") or ""
    return f"{record['kind']} {names}".strip()


def _experiment(client: Any, name: str, there: Store) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = there.artifact_location and f"{there.artifact_location}/{name.split('/')[-1]}"
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if _code_of(error) != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # made by another process just now
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _create_run(client: Any, experiment: str, start: Record, local_id: str) -> Any:
    # No mlflow.user and no script path: a run may be shown to anybody.
    tags = {
        TAG: local_id,
        "mlflow.source.name": f"fieldsight {start['application']}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": start["tags"].get("git_commit", "unknown"),
    }
    return client.create_run(
        experiment, start_time=start["time"], tags=tags, run_name=start["name"]
    )


def _send_start(client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:
    (record,) = group
    _send_tags(client, run_id, journal, [{**record, "values": record["tags"]}])
    settings = {key: str(value) for key, value in record["settings"].items()}
    _send_params(client, run_id, journal, [{**record, "values": settings}])


def _send_params(client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:  # noqa: ARG001
    from mlflow.entities import Param

    values = [
        Param(_key(key), value[:LONGEST_PARAM])
        for record in group
        for key, value in record["values"].items()
    ]
    for part in _slices(values, 100):
        client.log_batch(run_id, params=part, synchronous=True)


def _send_tags(client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:  # noqa: ARG001
    from mlflow.entities import RunTag

    values = [
        RunTag(_key(key), value[:LONGEST_TAG])
        for record in group
        for key, value in record["values"].items()
    ]
    for part in _slices(values, 100):
        client.log_batch(run_id, tags=part, synchronous=True)


def _send_metrics(client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:  # noqa: ARG001
    from mlflow.entities import Metric

    values = [
        Metric(_key(key), value, record["time"], record["step"])
        for record in group
        for key, value in record["values"].items()
    ]
    for part in _slices(values, 1000):
        client.log_batch(run_id, metrics=part, synchronous=True)


def _send_artifact(client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:
    (record,) = group
    path = journal.folder / record["file"]
    folder = record["folder"] or None
    if path.is_dir():
        inside = "/".join(part for part in (folder, path.name) if part)
        client.log_artifacts(run_id, str(path), inside)
    elif path.exists():
        client.log_artifact(run_id, str(path), folder)
    else:
        raise _UnsendableError(f"{path.name} is no longer beside the run's journal: not sent")


def _send_end(client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:  # noqa: ARG001
    (record,) = group
    client.set_terminated(run_id, record["status"], record.get("at", record["time"]))


def _send_reopen(client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:  # noqa: ARG001
    client.update_run(run_id, status="RUNNING")


def _send_model(client: Any, run_id: str, journal: Journal, group: list[Record]) -> None:
    (record,) = group
    path = journal.folder / record["file"]
    try:
        card = read_card(path)
    except CommandError as error:
        raise _UnsendableError(f"the run's model was not sent: {error}") from error
    model = _logged_model(client, run_id, f"{journal.folder.name}/{record['n']}", record, path)
    version = _registered(client, run_id, model, record, card)
    _give_alias(client, record["name"], version, record["validation"])


def _logged_model(client: Any, run_id: str, mark: str, record: Record, path: Path) -> Any:
    """The MLflow model of a record: found by its mark, or uploaded and linked to its run."""
    from mlflow.entities import LoggedModelOutput

    run = client.get_run(run_id)
    experiment = run.info.experiment_id
    found = client.search_logged_models([experiment], f"tags.`{RECORD_TAG}` = '{mark}'")
    card = read_card(path)
    model = (
        found[0]
        if found
        else client.create_logged_model(
            experiment,
            name=record["name"],
            source_run_id=run_id,
            tags={RECORD_TAG: mark, "data": card.data, "simulated": str(card.simulated).lower()},
            model_type=card.application,
        )
    )
    if str(model.status) != "READY":
        with tempfile.TemporaryDirectory(prefix="fieldsight-") as scratch:
            folder = Path(scratch) / "model"
            try:
                save_pyfunc(path, folder, model_id=model.model_id, run_id=run_id)
            except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
                raise _UnsendableError(f"the run's model was not sent: {_why(error)}") from error
            client.log_model_artifacts(model.model_id, str(folder))
        model = client.finalize_logged_model(model.model_id, "READY")
    outputs = run.outputs.model_outputs if run.outputs else []
    if all(output.model_id != model.model_id for output in outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def save_pyfunc(path: Path, folder: Path, *, model_id: str = "", run_id: str = "") -> None:
    """Write MLflow's form of a saved model: the `.keras` file and a script, and no pickle.

    Args:
        path: the `.keras` file.
        folder: where; must not exist.
        model_id: the id of the logged model it belongs to.
        run_id: the id of the run that made it.
    """
    _prepare()
    import mlflow.pyfunc
    from mlflow.models import Model

    card = read_card(path)
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(SERVED_MODEL),
        artifacts={"model": str(path)},
        signature=_mlflow_signature(card.signature),
        pip_requirements=[
            f"{name}=={number}"
            for name, number in _environment.packages().items()
            if name in {"fieldsight", "keras", "numpy", "mlflow", _backend()}
        ],
        mlflow_model=Model(
            model_id=model_id or None, model_uuid=model_id or None, run_id=run_id or None
        ),
    )
    # MLflow notes where its files came from on this machine: a person's name stands there, often.
    described = folder / "MLmodel"
    text = described.read_text(encoding="utf-8")
    for source in (path.resolve(), path, SERVED_MODEL):
        text = text.replace(str(source), source.name)
    described.write_text(text, encoding="utf-8")
    for cache in folder.rglob("__pycache__"):
        for file in cache.iterdir():
            file.unlink()
        cache.rmdir()


def _backend() -> str:
    if _environment.is_imported("keras"):
        import keras

        return str(keras.backend.backend())
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def _mlflow_signature(signature: Mapping[str, Any]) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    ends = {
        end: Schema([TensorSpec(np.dtype(tensor["dtype"]), tuple(tensor["shape"]))])
        for end, tensor in signature.items()
    }
    return ModelSignature(inputs=ends["input"], outputs=ends["output"])


def _registered(client: Any, run_id: str, model: Any, record: Record, card: Card) -> Any:
    """The registered version of a logged model: found by that model's id, or made."""
    from mlflow.exceptions import MlflowException

    name = record["name"]
    try:
        client.create_registered_model(
            name, tags={"application": card.application, "data": card.data}
        )
    except MlflowException as error:
        if _code_of(error) != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in client.search_model_versions(f"name = '{name}'"):
        if _model_id(version) == model.model_id:
            return version
    # A server takes `models:/`; without one MLflow would look that up in its global store.
    server = client.tracking_uri.startswith("http")
    source = f"models:/{model.model_id}" if server else model.artifact_location
    tags = {
        "data": card.data,
        "simulated": str(card.simulated).lower(),
        "data_fingerprint": card.data_fingerprint,
        "run_id": run_id,
        "fieldsight.run": card.run_id or "",
        **{f"validation_{key}": str(value) for key, value in (record["validation"] or {}).items()},
    }
    return client.create_model_version(
        name, source, run_id=run_id, tags=tags, model_id=model.model_id, await_creation_for=0
    )


def _model_id(version: Any) -> str:
    """The id of the logged model that a registered version is of."""
    found = re.search(r"(?:^models:/|/)(m-[0-9a-f]{32})(?:/|$)", str(version.source))
    return str(getattr(version, "model_id", None) or (found[1] if found else ""))


def decide(
    new: Validation | None, champion: Mapping[str, str] | None
) -> tuple[Literal["champion", "candidate"], str]:
    """Whether a model becomes champion, and why. Only validation data decide.

    Args:
        new: the new model's validation.
        champion: the tags of the present champion's version; None if there is none.

    Returns:
        The alias and the reason.
    """
    if champion is None:
        return "champion", "the first of its name"
    if new is None:
        return "candidate", "it has no validation score"
    if champion.get("validation_fingerprint") != new["fingerprint"]:
        return "candidate", "the champion was validated on other data: the two can't be compared"
    if champion.get("validation_metric") != new["metric"]:
        return "candidate", "the champion was validated by another metric"
    old, value, metric = float(champion["validation_value"]), new["value"], new["metric"]
    better = value > old if new["higher_is_better"] else value < old
    word = "better" if better else "not better"
    reason = f"{metric} {value:.6g} on validation is {word} than the champion's {old:.6g}"
    return ("champion" if better else "candidate"), reason


def _give_alias(client: Any, name: str, version: Any, validation: Validation | None) -> None:
    if "decision" in version.tags:
        return
    present = _by_alias(client, name, "champion")
    if present is not None and present.version == version.version:
        present = None
    alias, reason = decide(validation, None if present is None else present.tags)
    client.set_registered_model_alias(name, alias, version.version)
    client.set_model_version_tag(name, version.version, "decision", f"{alias}: {reason}")


def _by_alias(client: Any, name: str, alias: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # A missing alias is INVALID_PARAMETER_VALUE, a missing name RESOURCE_DOES_NOT_EXIST.
        if _code_of(error) in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}:
            return None
        raise


_SEND: dict[str, Callable[[Any, str, Journal, list[Record]], None]] = {
    "start": _send_start,
    "params": _send_params,
    "tags": _send_tags,
    "metrics": _send_metrics,
    "artifact": _send_artifact,
    "model": _send_model,
    "end": _send_end,
    "reopen": _send_reopen,
}


def _key(name: str) -> str:
    """A name as MLflow takes it: letters, digits, `_`, `-`, `.`, space, `:` and `/`."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]


def _slices(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


# --- Which model -------------------------------------------------------------------------------


def find_model(
    reference: str | None,
    *,
    application: str,
    make_with: str,
    data: str | None = None,
    last: tuple[str, ...] = (),
    allow_simulated: bool = False,
) -> ModelFile:
    """The model that a person means.

    Args:
        reference: a `.keras` file, a run's id (MLflow's or the local one), or `name@alias`;
            None for the newest champion of the application.
        application: `digits`, `lung`, ...; of one that makes several kinds of models, the kind
            too: `deforestation-tags`. It is what their cards say, and begins their names.
        make_with: the command that makes such a model, for the message when there is none.
        data: only champions trained on these data.
        last: champions trained on these data only where there is no other, however new they are.
        allow_simulated: whether a model trained on simulated data alone will do (C-10): for
            simulated input always, for real input only if it was asked for.

    Returns:
        The file on this machine, its card, and where it is registered.

    Raises:
        CommandError: if there is no such model, or only one trained on simulated data.
    """
    if reference is not None and (reference.endswith(".keras") or Path(reference).exists()):
        path = Path(reference)
        card = read_card(path)
        found = ModelFile(path, card, card.name, run_id=card.run_id)
    else:
        found = _find(reference, application, data, last, make_with, allow_simulated)
    if found.card.application != application:
        raise CommandError(
            f"a model of the application {application} was needed. Received: {found.title}, "
            f"of {found.card.application}. {make_with} makes one."
        )
    if found.card.simulated and not allow_simulated:
        raise CommandError(
            f"a model trained on real data was needed. Received: {found.title}. "
            "Give --allow-simulated to use it all the same, or --model for another."
        )
    return found


def add_artifacts(found: ModelFile, folder: Path, at: str) -> str | None:
    """Put a folder of files into the run that made a model, where its store is within reach.

    Args:
        found: the model.
        folder: what to copy.
        at: the folder of the run's artifacts to copy it to.

    Returns:
        The run's MLflow id, or None if it isn't in this store or the store doesn't answer: the
        files are on this machine all the same.
    """
    if found.run_id is None:
        return None
    try:
        with _asking(store()) as client:
            version = _version_of_run(client, found.run_id)
            if version is None:
                return None
            client.log_artifacts(version.run_id, str(folder), at)
            return str(version.run_id)
    except StoreError:
        return None


def _find(
    reference: str | None,
    application: str,
    data: str | None,
    last: tuple[str, ...],
    make_with: str,
    simulated: bool,
) -> ModelFile:
    if reference is not None and (waiting := _waiting_model(reference, application)) is not None:
        return waiting
    there = store()
    try:
        with _asking(there) as client:
            if reference is None:
                version = _newest_champion(client, application, data, last, simulated)
            elif "@" in reference:
                version = _by_alias(client, *reference.rsplit("@", 1))
            else:
                version = _version_of_run(client, reference, application)
            if version is not None:
                return _fetched(client, there, version)
    except StoreError as error:
        raise CommandError(f"{error}. Name a model's file with --model, or start it.") from error
    kind = f" trained on {data}" if data else ""
    wanted = f"a model of {application}{kind}" if reference is None else f"the model {reference}"
    raise CommandError(
        f"{wanted} was needed. Received: none in {there.where}. {make_with} makes one."
    )


def _waiting_model(reference: str, application: str) -> ModelFile | None:
    """The last model of a run on this machine whose records still wait to be sent."""
    folder = _journal.find(reference)
    if folder is None:
        return None
    records = [item for item in _journal.read_records(folder) if item["kind"] == "model"]
    records.sort(key=lambda item: _is_of(application, item["name"]))  # a run may have several
    if not records or not (path := folder / records[-1]["file"]).exists():
        return None
    return ModelFile(path, read_card(path), records[-1]["name"], run_id=folder.name)


def _is_of(application: str, name: str) -> bool:
    """Whether a model's registered name is of an application, or of one kind of its models."""
    return name.startswith(f"fieldsight-{application}-")


def _newest_champion(
    client: Any, application: str, data: str | None, last: tuple[str, ...], simulated: bool
) -> Any:
    name = f"fieldsight-{application}-"
    names = (
        [f"{name}{data}"]
        if data
        else [item.name for item in _pages(client, f"name LIKE '{name}%'")]
    )
    champions = [
        version for item in names if (version := _by_alias(client, item, "champion")) is not None
    ]
    better = [version for version in champions if version.name.removeprefix(name) not in last]
    champions = better or champions
    real = [version for version in champions if version.tags.get("simulated") != "true"]
    # A simulated one is returned all the same where there is no other: the refusal names it.
    return max(
        (champions if simulated else real) or champions,
        key=lambda version: version.creation_timestamp,
        default=None,
    )


def _pages(client: Any, query: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_registered_models(query, max_results=100, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _version_of_run(client: Any, reference: str, application: str = "") -> Any:
    """The newest version that a run registered, of the application's if it has any."""
    if not re.fullmatch(r"[0-9a-f]{4,32}", reference):
        return None
    folder = _journal.find(reference)
    done = (_journal.read_done(folder) or {}) if folder else {}
    found = client.search_model_versions(f"run_id = '{done.get('run', reference)}'")
    if not found:
        found = client.search_model_versions(f"tags.`fieldsight.run` = '{reference}'")
    return max(
        found,
        key=lambda version: (_is_of(application, version.name), version.creation_timestamp),
        default=None,
    )


def _fetched(client: Any, there: Store, version: Any) -> ModelFile:
    """The file of a registered version: where it lies, or its copy in the user's cache."""
    model_id = _model_id(version)
    location = client.get_logged_model(model_id).artifact_location
    path = _local(location, model_id, there)
    return ModelFile(path, read_card(path), version.name, str(version.version), version.run_id)


def _local(location: str, model_id: str, there: Store) -> Path:
    inside = "artifacts/model.keras"
    if location.startswith("file:"):
        return Path(url2pathname(urlparse(location).path), inside)
    import platformdirs
    from mlflow.artifacts import download_artifacts

    cached = Path(platformdirs.user_cache_dir("fieldsight", appauthor=False), "models", model_id)
    if not (path := cached / "model.keras").exists():
        cached.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached) as scratch:
            got = download_artifacts(
                f"{location}/{inside}", dst_path=scratch, tracking_uri=there.uri
            )
            Path(got).replace(path)
    return path
