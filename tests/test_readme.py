"""The README's example runs as it stands there, and its commands exist."""

import re
from pathlib import Path

from fieldsight.pipelines.__main__ import applications, common_actions

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    scope: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), scope)  # our own file
    assert type(scope["model"]).__name__ == "Functional"


def test_every_command_it_names_exists() -> None:
    named = set(re.findall(r"`fieldsight ([a-z]+)", README))
    assert named
    assert named <= {*applications(), *common_actions()}


def test_every_make_target_it_names_exists() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", README)) - {"and"}:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
