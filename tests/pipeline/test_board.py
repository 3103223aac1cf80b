"""What workers post is shown at the driver, and a board that is gone harms nobody."""

import threading

import pytest
import ray

from pipeline.board import Facts, open_board


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


def test_facts_are_shown_once_each_time_they_change() -> None:
    shown: list[Facts] = []
    news = threading.Semaphore(0)

    def show(facts: Facts) -> None:
        shown.append(facts)
        news.release()

    with open_board(show) as board:
        for step in (1.0, 2.0):
            ray.get(board.post.remote({"step": step}))
            assert news.acquire(timeout=60)
    assert shown == [{"step": 1.0}, {"step": 2.0}]


def test_a_board_whose_actor_died_lets_the_run_go_on() -> None:
    with open_board(lambda facts: None) as board:
        ray.kill(board)
    assert not [t for t in threading.enumerate() if t.name == "board"]
