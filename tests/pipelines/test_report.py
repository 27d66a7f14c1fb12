import base64
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fieldsight.pipelines import _figures, _report

HOSTILE = "<script>alert('x')</script>\"' onerror=alert(1) {{ 7*7 }} &amp; --> </style>"
FIGURE = _figures.png(_figures.learning_curves({"loss": [1.0, 0.5]}))


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def whole(path: Path, text: str = "plain") -> Path:
    return _report.write_report(
        path,
        title=f"Digits {text}",
        summary={
            "test_accuracy": 0.9912, "test_accuracy_low": 0.9892, "test_accuracy_high": 0.9929,
            "baseline_test_accuracy": 0.978, "test_loss": 0.03, "val_loss": 0.5,
        },
        baseline=f"dense {text}",
        settings={f"name {text}": text, "recipe": {"schedule": {"warmup_epochs": 2}}},
        environment={"packages": [text, "b"], "dirty": False},
        card={"data": text, "simulated": True, "run_id": "12ab", "limits": None},
        figures=[
            (f"Curves {text}", text, FIGURE),
            ("Other", "", _figures.filters(np.ones((2, 3, 3, 1)))),
        ],
        tables=[(f"Table {text}", ["class", text], [[text, 1.5], ["b" * 300, 20_000]])],
        history={"loss": [1.0, 0.5], "val_loss": [0.7]},
        notes=[f"Note {text}"],
    )  # fmt: skip


def test_hostile_text_is_shown_not_run(tmp_path: Path) -> None:
    path = whole(tmp_path / "new" / "report.html", HOSTILE)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.all("script") == []
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    for part in ("Digits ", "dense ", "name ", "Table ", "Note ", "Curves "):
        assert part + HOSTILE in page.words, part
    assert page.all("img")[0]["alt"] == f"Curves {HOSTILE}"
    assert len(page.all("style")) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_the_page_asks_for_nothing_outside_itself(tmp_path: Path) -> None:
    content = whole(tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(content)
    for _, found in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (found.get(name) or "data:").startswith("data:")
    assert "url(" not in content
    assert "@import" not in content
    assert base64.b64decode(str(page.all("img")[0]["src"]).partition(",")[2]) == FIGURE


def test_the_policy_allows_the_one_style_sheet_by_its_hash(tmp_path: Path) -> None:
    content = whole(tmp_path / "report.html").read_text(encoding="utf-8")
    policy = next(
        str(found["content"])
        for found in Page(content).all("meta")
        if found.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.findall(r"<style>(.*?)</style>", content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_everything_that_was_given_is_there(tmp_path: Path) -> None:
    page = Page(whole(tmp_path / "report.html").read_text(encoding="utf-8"))
    for words in (
        "99.12\u202f%", "98.92 to 99.29\u202f%", "97.80\u202f%", "0.03",
        "recipe.schedule.warmup_epochs",
        "20,000", "12ab", "Simulated data.", "Every epoch", "val_loss",
    ):  # fmt: skip
        assert words in page.words, words
    assert all(found.get("alt") for found in page.all("img"))
    assert all(found.get("scope") in {"row", "col"} for found in page.all("th"))
    assert len(page.all("figure")) == len(page.all("figcaption")) == 2
    assert len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table"))


def test_a_bare_report_is_a_report(tmp_path: Path) -> None:
    path = _report.write_report(tmp_path / "report.html", title="Nothing yet")
    assert "Nothing yet" in Page(path.read_text(encoding="utf-8")).words


def test_scores_follow_the_names_of_tracked_metrics() -> None:
    found = _report.scores(
        {"test_f2": 0.9, "test_f2_low": 0.8, "test_f2_high": 0.95, "baseline_test_f2": 0.7,
         "loss": 1.0, "val_f2": 0.9, "test_error_metres": 3.0, "test_loss": 0.1}
    )  # fmt: skip
    assert found[0] == _report.Score(
        name="f2, test split", value=0.9, low=0.8, high=0.95, baseline=0.7
    )
    assert [score.name for score in found[1:]] == ["error metres, test split", "loss, test split"]
    assert [score.percentage for score in found] == [True, False, False]


def test_odd_figures_are_written_as_they_are(tmp_path: Path) -> None:
    summary = [
        _report.Score(name="same", value=0.5, baseline=0.5),
        _report.Score(name="nan", value=float("nan"), low=0.1, high=0.2),
        _report.Score(name="zero", value=0.0, low=0.0, high=0.0),
    ]
    for first in range(3):
        order = summary[first:] + summary[:first]
        path = _report.write_report(tmp_path / f"{first}.html", title="Odd", summary=order)
        assert "nan" in path.read_text(encoding="utf-8")


def test_a_figure_that_is_no_png_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"are PNG. Received: 'Curves', which starts with b'GIF"):
        _report.write_report(
            tmp_path / "report.html", title="x", figures=[("Curves", "", b"GIF89a, no png at all")]
        )
    assert list(tmp_path.iterdir()) == []


# Measures the report in frames of a phone's and a desk's width, from outside: it has no script.
WATCH = """<!doctype html><body><iframe src="report.html" width="360" height="700"></iframe>
<iframe src="report.html" width="1200" height="700"></iframe><pre id="found"></pre><script>
window.onload = () => {
  const found = [...document.querySelectorAll('iframe')].map((frame) => {
    const page = frame.contentDocument, root = page.documentElement;
    page.querySelectorAll('details').forEach((part) => { part.open = true; });
    const wide = [...page.querySelectorAll('body *')].filter((part) =>
      !part.closest('table, svg') && part.getBoundingClientRect().right > root.clientWidth + 1);
    return {
      images: [...page.images].map((image) => image.complete && image.naturalWidth),
      overflow: root.scrollWidth - root.clientWidth,
      wide: wide.map((part) => part.tagName + '.' + part.getAttribute('class')),
      family: frame.contentWindow.getComputedStyle(page.body).fontFamily,
      cards: [...page.querySelectorAll('.plate')].map((p) => p.scrollWidth - p.clientWidth),
      requests: frame.contentWindow.performance.getEntriesByType('resource')
        .map((entry) => entry.name).filter((name) => !name.startsWith('data:')),
    };
  });
  document.querySelector('#found').textContent = JSON.stringify(found);
};
</script>"""


def test_a_browser_loads_every_picture_and_nothing_overflows(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        missing = "Chromium is needed to look at the report: install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    whole(tmp_path / "report.html", HOSTILE + " " + "long" * 60)
    (tmp_path / "watch.html").write_text(WATCH, encoding="utf-8")
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-quic",
        "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1700,900", "--virtual-time-budget=5000", "--dump-dom",
    ]  # fmt: skip
    out = subprocess.run(
        [browser, *arguments, (tmp_path / "watch.html").as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    match = re.search(r'<pre id="found">(.*?)</pre>', out, re.DOTALL)
    assert match is not None, out[:500]
    frames = json.loads(html.unescape(match[1]))
    assert len(frames) == 2
    for frame in frames:
        assert frame["images"] == [1440, 1440]
        assert frame["wide"] == []
        assert frame["overflow"] == 0
        assert set(frame["cards"]) == {0}
        assert "system-ui" in frame["family"]  # the policy let the style sheet in
        assert frame["requests"] == []
