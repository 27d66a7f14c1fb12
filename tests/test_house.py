"""The repository as a whole: which folder imports which, what is kept, what is shipped."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("core", "datasets", "pipelines")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

# The one file that talks to MLflow, and the script that MLflow itself runs to load a model.
IMPORT_MLFLOW = {"pipelines/_tracking.py", "pipelines/_served_model.py"}
# What core may import besides keras, numpy and scipy, inside functions.
ALSO = {
    # Keras has no function for gradients: Grad-CAM asks the backend.
    "core/inspection/gradient.py": {"tensorflow", "jax"},
    # Nor for batch normalisation in one pass.
    "core/normalization.py": {"tensorflow"},
    # Published weights are HDF5; Keras itself requires h5py, so nothing more is installed for it.
    "core/weights/legacy_h5.py": {"h5py"},
    # COCO's average precision by its own authors, from the extras.
    "core/metrics/coco.py": {"pycocotools"},
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# The arrows between folders


def imported(source: str) -> set[str]:
    """The modules that a source names, those inside functions and `import_module("...")` too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called.split(".")[-1] in {"import_module", "__import__", "lazy_import"}:
                names.add(str(node.args[0].value))
    return names


def forbidden(path: str, source: str) -> set[str]:
    """The imports that the file at `path` may not have."""
    folder = path.split("/")[0]
    names = imported(source)

    def under(*packages: str) -> set[str]:
        return {n for n in names if any(n == p or n.startswith(f"{p}.") for p in packages)}

    wrong = {n for n in names if n.startswith(".")} | under(*FOLDERS, "src", "tests")
    if path not in IMPORT_MLFLOW:
        wrong |= under("mlflow")
    if folder == "core":
        allowed = under("keras", "numpy", "scipy", "fieldsight.core", *sys.stdlib_module_names)
        allowed |= under(*ALSO.get(path, ()))
        return wrong | (names - allowed)
    if folder == "datasets":
        ours = under("fieldsight") - under("fieldsight.datasets")
        return wrong | ours | under("keras", "tensorflow", "jax", "torch")
    return wrong


@pytest.mark.parametrize("path", sources(*FOLDERS), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    assert forbidden(name_of(path), path.read_text()) == set()


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("core/a.py", "def f():\n    import tensorflow as tf", "tensorflow"),
        ("core/a.py", "from fieldsight import datasets", "fieldsight.datasets"),
        ("core/a.py", "from fieldsight.pipelines import digits", "fieldsight.pipelines.digits"),
        ("core/a.py", "from ..datasets import mnist", "..datasets.mnist"),
        ("core/a.py", "import matplotlib.pyplot", "matplotlib.pyplot"),
        ("datasets/a.py", "if True:\n    from keras import ops", "keras.ops"),
        ("datasets/a.py", "from fieldsight.core import kernels", "fieldsight.core.kernels"),
        ("pipelines/a.py", "import importlib\nimportlib.import_module('mlflow')", "mlflow"),
        ("pipelines/a.py", "from core import layers", "core.layers"),
    ],
)
def test_a_wrong_arrow_is_found(path: str, source: str, found: str) -> None:
    assert forbidden(path, source) == {found}


def test_only_the_tracking_imports_mlflow() -> None:
    users = {
        name_of(path)
        for path in sources(*FOLDERS)
        if any(name.split(".")[0] == "mlflow" for name in imported(path.read_text()))
    }
    assert users <= IMPORT_MLFLOW


# Folder names that Python must not take for packages


def test_the_links_lead_to_the_top_folders() -> None:
    for name in FOLDERS:
        link = ROOT / "src" / "fieldsight" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..", "..", name)


def test_folders_called_like_packages_are_none() -> None:
    assert list((ROOT / "mlflow").glob("*.py")) == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    assert not (ROOT / "conftest.py").exists()


def test_there_is_one_lock() -> None:
    assert not (ROOT / "uv.lock").exists()


# What is public is explained


def undocumented(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    definitions = [n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    silent = [n.name for n in definitions if n.name[0] != "_" and not ast.get_docstring(n)]
    return [f"{name_of(path)}: {name}" for name in silent] + (
        [] if ast.get_docstring(tree) else [name_of(path)]
    )


def test_every_public_name_of_core_and_datasets_has_a_docstring() -> None:
    public = [path for path in sources("core", "datasets") if not re.match("_[^_]", path.name)]
    assert public
    assert [name for path in public for name in undocumented(path)] == []


# Dependencies


def direct() -> list[Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = [Requirement(line) for group in groups for line in group]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def pins() -> dict[str, list[str]]:
    """Package to versions: more than one where Pythons or systems differ."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line):
            found.setdefault(canonicalize_name(match[1]), []).append(match[2])
    return found


def test_every_dependency_says_why_it_is_there() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for stated in (text for group in groups for text in group if PROJECT["name"] not in text):
        reasons = [re.search(r"#\s*\w+", line) for line in lines if f'"{stated}"' in line]
        assert reasons, stated
        assert all(reasons), f"{stated} has no reason beside it"


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_the_lock_pins_every_direct_dependency_within_its_range(requirement: Requirement) -> None:
    versions = pins().get(canonicalize_name(requirement.name), [])
    assert versions, "run `make lock`"
    assert [v for v in versions if v not in requirement.specifier] == [], "run `make lock`"


def test_the_lock_is_pins_and_comments_alone() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pin = re.compile(r"[A-Za-z0-9._-]+==[^\s;]+( ; .+)?$")
    assert [s for s in lines if s.strip() and s.lstrip()[0] != "#" and not pin.match(s)] == []


def test_the_version_is_the_same_everywhere() -> None:
    assert (
        f'__version__ = "{PROJECT["version"]}"' in (ROOT / "src/fieldsight/__init__.py").read_text()
    )
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()


# What git keeps


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_is_over_a_mebibyte(tracked: list[Path]) -> None:
    assert [name_of(path) for path in tracked if path.stat().st_size > 2**20] == []


# In two parts, so that this file doesn't find itself.
REGISTRY = re.compile(
    r"py"
    r"pi\.org|python"
    r"hosted\.org|conda\."
    r"anaconda|(?<!no-emit-)(?:index"
    r"-url|find"
    r"-links)"
)
MACHINE = re.compile(r"(?<![\w.}/-])/(?:work|root|home|Users|tmp)/[A-Za-z]")


def test_no_tracked_file_names_a_machine_or_a_registry(tracked: list[Path]) -> None:
    found = []
    for path in tracked:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE.search(line) or REGISTRY.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")
    assert found == []


# What is shipped

BUILD = """
import os, sys
from setuptools import build_meta
built, target = sys.argv[1:]
build_meta.build_sdist(built)
wheel = os.path.join(built, build_meta.build_wheel(built))
options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", target]
os.execv(sys.executable, [sys.executable, "-m", "pip", "install", *options, wheel])
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of both distributions, and a fresh one with the wheel installed."""
    here = tmp_path_factory.mktemp("shipped")
    copy, built, target = here / "checkout", here / "built", here / "installed"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*FOLDERS, "src"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy / name)
    built.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(built), str(target)],
        cwd=copy,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return built, target


def expected() -> set[str]:
    """What belongs to the package, by its path under `fieldsight`."""
    files = {path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*")}
    return {"__init__.py", "py.typed"} | {
        path.as_posix() for path in files if path.suffix in {".py", ".html"}
    }


def test_the_wheel_installs_fieldsight_and_nothing_else(shipped: tuple[Path, Path]) -> None:
    installed = shipped[1]
    info = f"fieldsight-{PROJECT['version']}.dist-info"
    assert {path.name for path in installed.iterdir()} == {"bin", "fieldsight", info}
    package = installed / "fieldsight"
    files = {p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()}
    assert files == expected()
    assert {path.name for path in (installed / info / "licenses").iterdir()} == {
        "LICENSE",
        "NOTICE",
    }


def test_the_page_of_a_run_is_shipped(shipped: tuple[Path, Path]) -> None:
    assert list((shipped[1] / "fieldsight" / "pipelines").rglob("report.html"))


def test_the_source_distribution_holds_files_where_git_holds_links(
    shipped: tuple[Path, Path],
) -> None:
    (archive,) = shipped[0].glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        members = {m.name.split("/", 1)[-1]: m for m in tar.getmembers()}
    assert {f"src/fieldsight/{name}" for name in expected()} <= set(members)
    assert not any(member.issym() or member.islnk() for member in members.values())
    assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml"} <= set(members)


# Help is instant

HEAVY = {"geopandas", "jax", "keras", "matplotlib", "mlflow", "rasterio", "scipy", "skimage",
         "sklearn", "tensorflow"}  # fmt: skip

COMMANDS = [
    *(["digits", action] for action in ("train", "evaluate", "predict", "compare", "explain")),
    *(
        ["lung", action]
        for action in ("train", "evaluate", "predict", "simulate", "prepare", "inspect")
    ),
    *(
        ["deforestation", action]
        for action in (
            *("train", "evaluate", "predict", "map", "change", "learn", "assess"),
            *("simulate", "prepare"),
        )
    ),
    *(
        ["wildlife", action]
        for action in ("train", "evaluate", "predict", "watch", "simulate", "prepare")
    ),
    ["describe"],
    ["kernels"],
    ["sync"],
]

HELP = """
import json, sys, time
from fieldsight.pipelines.__main__ import main
report = []
for arguments in json.loads(sys.argv[1]):
    before = time.process_time() if report else 0.0
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code or 0
    loaded = {name.partition(".")[0] for name in sys.modules}
    report.append([code, sorted(loaded), time.process_time() - before])
print(json.dumps(report), file=sys.stderr)
"""


def test_help_at_every_level_takes_under_a_second_and_loads_nothing_heavy() -> None:
    calls = [["--help"], *([*command, "--help"] for command in COMMANDS)]
    calls += [["digits", "--help"], ["--version"]]
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(calls)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stderr.splitlines()[-1])
    for call, (code, loaded, seconds) in zip(calls, report, strict=True):
        assert code == 0, call
        assert not set(loaded) & HEAVY, call
        # Of the processor, the interpreter's start included: a busy machine doesn't count.
        assert seconds < 1.0, call
    assert done.stdout.splitlines()[-1] == f"fieldsight {PROJECT['version']}"
    for command in COMMANDS:
        assert command[-1] in done.stdout
