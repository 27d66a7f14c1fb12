"""The statistics of the benchmarks' pairs."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def pairs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_pairs", FOLDER / "_pairs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_pairs"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_ratio_is_taken_of_each_pair_before_the_median(pairs: ModuleType) -> None:
    # The machine slows down tenfold: pair by pair 0.5, 0.5, 2; the medians would give 3 / 6.
    found = pairs.ratio([1.0, 3.0, 20.0], [2.0, 6.0, 10.0])
    assert (found.median, found.pairs) == (0.5, 3)
    assert (found.low, found.high) == (0.5, 2.0)


def test_the_interval_is_scipys_percentile_bootstrap(pairs: ModuleType) -> None:
    rng = np.random.default_rng(7)
    ours, theirs = rng.lognormal(0.0, 0.2, 31), rng.lognormal(0.1, 0.2, 31)
    found = pairs.ratio(ours.tolist(), theirs.tolist())
    peer = stats.bootstrap(
        (ours / theirs,), np.median, method="percentile", n_resamples=10_000, rng=1
    ).confidence_interval
    assert found.low == pytest.approx(peer.low, abs=0.02)
    assert found.high == pytest.approx(peer.high, abs=0.02)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=40), st.floats(0.1, 10))
def test_a_constant_ratio_is_certain_however_the_machine_drifts(
    pairs: ModuleType, theirs: list[float], factor: float
) -> None:
    found = pairs.ratio([factor * seconds for seconds in theirs], theirs, resamples=200)
    assert (found.low, found.median, found.high) == pytest.approx((factor,) * 3)


def test_met_when_the_better_end_reaches_the_target(pairs: ModuleType) -> None:
    assert pairs.Ratio(1.06, 1.05, 1.07, 30).meets(1.05)
    assert not pairs.Ratio(1.06, 1.051, 1.07, 30).meets(1.05)


def test_one_pair_has_no_interval_and_meets_nothing(pairs: ModuleType) -> None:
    found = pairs.ratio([1.0], [100.0])
    assert found.median == 0.01
    assert np.isnan(found.low)
    assert not found.meets(1.05)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_times_without_a_partner_or_of_no_length_are_refused(
    pairs: ModuleType, ours: list[float], theirs: list[float]
) -> None:
    with pytest.raises(ValueError, match=r"pairs of positive seconds are needed.*Received"):
        pairs.ratio(ours, theirs)


def test_pairs_alternate_and_the_warm_up_does_not_count(pairs: ModuleType) -> None:
    seen: list[str] = []

    def run(name: str, seconds: float) -> float:
        seen.append(name)
        return seconds

    ours, theirs = pairs.interleaved(
        lambda pair: run("a", 1.0 + pair), lambda pair: run("b", 2.0 + pair), 3, warm_ups=1
    )
    assert "".join(seen) == "ba" + "ab" + "ba" + "ab"
    assert (ours, theirs) == ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])


def test_the_machine_is_known_by_its_cores_and_not_by_its_name(pairs: ModuleType) -> None:
    import platform

    assert "core" in pairs.machine()
    assert platform.node() not in pairs.machine()
