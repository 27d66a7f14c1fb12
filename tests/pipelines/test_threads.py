"""Work in threads: in order, and no more of it than is asked for."""

import threading

import pytest

from fieldsight.pipelines._threads import MOST, in_threads


def test_each_item_comes_with_its_answer_in_order() -> None:
    assert list(in_threads(len, ["a", "", "abc"])) == [("a", 1), ("", 0), ("abc", 3)]
    assert list(in_threads(len, [])) == []


def test_left_early_what_hasnt_begun_isnt_begun() -> None:
    begun: list[int] = []
    free = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if item:
            free.wait(10)
        return item

    answers = in_threads(work, range(100))
    assert next(answers) == (0, 0)
    threading.Timer(0.2, free.set).start()
    answers.close()
    assert len(begun) <= 1 + MOST


def test_what_work_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda item: 1 // item, [1, 0, 2]))
