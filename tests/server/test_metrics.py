"""The figures of all workers, whichever of them is asked, and whichever has died."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support.http import ask, request
from tickertape.server.metrics import COPY, FRESH, Figures, SharedFigures, exposition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Serve
    from support.server import Server

ONE = Figures(running=1, waiting=2, readers=3, sent=40, states={"completed": 5}, retries={"a": 1}, closings=2)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker(clock: Clock) -> Iterator[Callable[[int], SharedFigures]]:
    made: list[SharedFigures] = []
    with tempfile.TemporaryFile() as file:
        file.truncate(SharedFigures.size(2))

        def make(slot: int) -> SharedFigures:
            made.append(SharedFigures(file.fileno(), 2, slot, clock))
            return made[-1]

        yield make
        for one in made:
            one.close()


def test_every_worker_says_the_sum_of_all(worker: Callable[[int], SharedFigures]) -> None:
    first, second = worker(0), worker(1)
    first.publish(ONE)
    second.publish(Figures(running=10, sent=2, states={"completed": 1, "lost": 1}, retries={"b": 1}))
    total = first.total()
    assert total == second.total()
    assert (total.running, total.waiting, total.readers, total.sent) == (11, 2, 3, 42)
    assert (total.states, total.retries) == ({"completed": 6, "lost": 1}, {"a": 1, "b": 1})
    assert b'\ntickertape_answers_total{state="completed"} 6\n' in exposition(total)


def test_the_counters_of_a_dead_worker_stay_and_its_gauges_go(
    worker: Callable[[int], SharedFigures], clock: Clock
) -> None:
    worker(0).publish(ONE)
    second = worker(1)
    clock.now += FRESH
    second.publish(Figures(running=1))
    assert second.total() == ONE.counters + Figures(running=1)


def test_a_worker_that_takes_the_place_of_a_dead_one_counts_on(worker: Callable[[int], SharedFigures]) -> None:
    worker(0).publish(ONE)
    again = worker(0)
    again.publish(Figures(running=1, sent=1))
    assert again.total() == ONE.counters + Figures(running=1, sent=1)
    once_more = worker(0)
    once_more.publish(Figures(sent=1))
    assert once_more.total().sent == 42


def test_a_worker_that_dies_while_it_writes_leaves_what_it_wrote_before(worker: Callable[[int], SharedFigures]) -> None:
    dying, other = worker(0), worker(1)
    for sent in (1, 2, 3):
        dying.publish(Figures(sent=sent))
    start = (dying._number % 2) * COPY
    dying._memory[start + 30 : start + 60] = b"?" * 30
    assert other.total().sent == 2


def figure(server: Server, name: str) -> int:
    body = request(server.url, "GET", "/metrics").body.decode()
    found = re.search(rf"^tickertape_{re.escape(name)} (\d+)$", body, re.MULTILINE)
    return int(found[1]) if found else 0


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


def test_no_total_goes_back_whichever_worker_is_asked_and_however_it_dies(serve: Serve) -> None:
    server = serve("--workers=2")
    answers = 'answers_total{state="completed"}'
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _n: request(server.url, "POST", "/api/openai/stream", ask("hi")), range(24)))
    until(lambda: figure(server, answers) == 24)  # the other worker publishes once a second
    seen = [(figure(server, answers), figure(server, "events_sent_total")) for _ in range(20)]
    assert seen == sorted(seen)
    dead = server.workers[0]
    os.kill(dead, signal.SIGKILL)
    until(lambda: dead not in server.workers and len(server.workers) == 2)
    assert figure(server, answers) == 24
    assert figure(server, "events_sent_total") >= seen[-1][1]
    assert figure(server, "readers") == 0
