# fieldsight: `make help` lists what there is. Everything runs in .venv, which the first target makes.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.fieldsight-installed

PYTHON ?=
DATA ?=
ARGS ?=
PORT ?= 5000

# One line an application: its target, and its place in `make demo`.
APPLICATIONS := digits lung deforestation wildlife

# The folders mlflow/ and datasets/ stand in the working directory: Python mustn't import from there.
export PYTHONSAFEPATH = 1
export TF_CPP_MIN_LOG_LEVEL ?= 3
# As the pipelines set it: on some processors TensorFlow leaves its fast convolutions off by itself.
export TF_ENABLE_ONEDNN_OPTS ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup links demo ui test test-all lint format bench lock clean $(APPLICATIONS)

help: ## this list
	@echo 'make TARGET [ARGS="..."] [DATA=...] [PYTHON=...]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv and install into it what pyproject.toml and the lock say
	@echo "$(VENV): $$($(BIN)/python -V), up to date$(if $(PYTHON), (make clean first to change its Python))"

digits: $(STAMP) ## handwritten digits: train, score and register; DATA=mnist, ARGS="--epochs 3"
	$(BIN)/fieldsight digits train $(if $(DATA),--data $(DATA)) $(ARGS)

lung: $(STAMP) ## nodules in chest CT, simulated or DATA=folder: train, score; ARGS=--full for an hour
	$(BIN)/fieldsight lung train $(if $(DATA),--data $(DATA)) $(ARGS)

deforestation: $(STAMP) ## forest from above, simulated or DATA=folder: tags, maps, hectares; ARGS=--full for an hour
	$(BIN)/fieldsight deforestation train $(if $(DATA),--data $(DATA)) $(ARGS)

wildlife: $(STAMP) ## animals and people from above, simulated or DATA=folder: find, count; ARGS=--full for longer
	$(BIN)/fieldsight wildlife train $(if $(DATA),--data $(DATA)) $(ARGS)

demo: $(STAMP) ## every application on data that is here already, and one table at the end
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	for application in $(APPLICATIONS); do \
	  $(BIN)/fieldsight $$application train --json $(ARGS) > "$$folder/$$application.json"; \
	done; \
	$(BIN)/python -m fieldsight.pipelines._demo "$$folder"/*.json

# Without MLflow's job runner, which these pages don't need: fewer processes, and Ctrl-C is quiet.
ui: $(STAMP) ## MLflow's pages on the runs, for this machine alone; PORT=5000
	@case "$$MLFLOW_TRACKING_URI" in \
	  http*) echo 'The runs are on the server that MLFLOW_TRACKING_URI names: open it in a browser.'; exit 0 ;; \
	esac; \
	runs="$${FIELDSIGHT_HOME:-mlflow}"; mkdir -p "$$runs" && \
	echo 'Open http://127.0.0.1:$(PORT) in a browser once it says "running"; Ctrl-C ends it.' && \
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false exec $(BIN)/mlflow ui \
	  --host 127.0.0.1 --port $(PORT) --workers 1 \
	  --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$$runs/mlflow.db}" \
	  --default-artifact-root "$$runs/artifacts"

# A process a core, each with its own files of tests: TensorFlow's own threads gain little on them.
PYTEST = $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile
# Doctests are found through src: by way of core/ each Keras class would be registered twice.
# _served_model.py is a script for MLflow, which does its work when it is imported.
EXAMPLES = --doctest-modules src/fieldsight --ignore=src/fieldsight/pipelines/_served_model.py

test: $(STAMP) ## the tests: everything on TensorFlow, core again on JAX; a few minutes
	KERAS_BACKEND=tensorflow $(PYTEST) -m "not slow" tests $(EXAMPLES) $(ARGS)
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(PYTEST) -m "not slow" tests/core $(ARGS)

test-all: $(STAMP) ## the same with the slow ones, which learn for minutes
	KERAS_BACKEND=tensorflow $(PYTEST) tests $(EXAMPLES) $(ARGS)
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(PYTEST) tests/core $(ARGS)

lint: $(STAMP) ## style, format and types, changing nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP) ## mend style and format where that can be done without asking
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## every benchmark, one after the other; the figures go to docs/measurements.md
	@set -e; for benchmark in benchmarks/[a-z]*.py; do \
	  echo "$$benchmark"; $(BIN)/python "$$benchmark" $(ARGS); \
	done

lock: $(STAMP) ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
	  --extra all --extra gpu --extra dev \
	  --no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements.lock

clean: ## remove .venv and whatever was built or cached; the runs in mlflow/ stay
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find core datasets pipelines tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Below: how .venv comes to be.

links:
	@for name in core datasets pipelines; do \
	  if [ ! -d "src/fieldsight/$$name" ]; then \
	    echo "src/fieldsight/$$name must be a link to ../../$$name; here it is a text file or missing." >&2; \
	    echo "Git on Windows writes links as text unless told otherwise. Turn on Windows' Developer Mode (or use WSL), then:" >&2; \
	    echo "  git config core.symlinks true" >&2; \
	    echo "  git checkout -- src/fieldsight" >&2; \
	    exit 2; \
	  fi; \
	done

CANDIDATES = $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3)

# Says what it finds and leaves in $$python the first that runs (a pyenv shim may be there and not run),
# is 3.11 to 3.13 and can make environments (Debian and Ubuntu keep that part in a package of its own).
define FIND_PYTHON
python=; bare=; \
for candidate in $(CANDIDATES); do \
  version=$$("$$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || version=; \
  case "$$version" in \
    3.11.*|3.12.*|3.13.*) \
      if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then \
        echo "$$candidate: $$version, taken"; python=$$candidate; break; \
      fi; \
      echo "$$candidate: $$version, without its venv module"; bare=$${bare:-$${version%.*}} ;; \
    '') echo "$$candidate: not here" ;; \
    *) echo "$$candidate: $$version, and 3.11, 3.12 or 3.13 is needed" ;; \
  esac; \
done; \
if [ -z "$$python" ] && [ -n "$$bare" ]; then \
  echo "Python $$bare is here, but can't make an environment. Install what is missing, then try again:" >&2; \
  echo "  Debian, Ubuntu:  sudo apt-get install python$$bare-venv" >&2; \
  echo "  Fedora, RHEL:    sudo dnf install python$$bare" >&2; \
  exit 2; \
elif [ -z "$$python" ]; then \
  echo "No Python that fits was found. Install one, or name it with PYTHON=/path/to/python3.12:" >&2; \
  echo "  Debian, Ubuntu:  sudo apt-get install python3 python3-venv" >&2; \
  echo "  Fedora, RHEL:    sudo dnf install python3.12" >&2; \
  echo "  macOS:           brew install python@3.12" >&2; \
  exit 2; \
fi
endef

# The stamp holds what was installed, so that a checkout of the same files installs nothing again,
# and it goes before pip starts, so that an interrupted install is no install.
$(STAMP): pyproject.toml requirements.lock | links
	@if cat $^ | cmp -s - $@; then touch $@; exit 0; fi; \
	if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	  $(FIND_PYTHON); \
	  "$$python" -m venv --clear $(VENV) || exit 2; \
	fi; \
	rm -f $@; \
	echo "Installing into $(VENV): about 3 GB, some minutes the first time."; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c requirements.lock -e ".[all,dev]" || \
	  { echo "The install did not finish. What pip says is above; the same command goes on from there." >&2; exit 2; }; \
	cat $^ > $@.part && mv $@.part $@
