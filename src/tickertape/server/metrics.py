"""What an operator watches, in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import mmap
import struct
import time
import zlib
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

import tickertape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tickertape.delivery.fanout import Fanout
    from tickertape.generation import Generations
    from tickertape.providers.catalog import Catalog

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

PUBLISH = 1.0
"""Seconds after which a worker's figures are known to the others."""

FRESH = 5.0
"""Seconds after which a worker that has published nothing counts as dead: its counters stay, its gauges do not."""

COPY = 32768
"""Bytes for one copy of a worker's figures; some 100 are used, and 30 for each upstream."""


class Figures(msgspec.Struct, frozen=True):
    """The figures of one process, or of several: gauges, then counters."""

    running: int = 0
    waiting: int = 0
    readers: int = 0
    sent: int = 0
    states: dict[str, int] = {}
    retries: dict[str, int] = {}
    closings: int = 0
    closing_seconds: float = 0.0

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            running=self.running + other.running,
            waiting=self.waiting + other.waiting,
            readers=self.readers + other.readers,
            sent=self.sent + other.sent,
            states=_sum(self.states, other.states),
            retries=_sum(self.retries, other.retries),
            closings=self.closings + other.closings,
            closing_seconds=self.closing_seconds + other.closing_seconds,
        )

    @property
    def counters(self) -> Figures:
        """The figures without the gauges: what stays when a process is dead."""
        return msgspec.structs.replace(self, running=0, waiting=0, readers=0)


class SharedFigures:
    """The figures of all workers of a server, in a file that they have in common and map into memory.

    Each worker has a slot with two copies and writes them in turn, so that one is whole whenever it dies. The next
    worker in that slot goes on counting from there: no counter ever goes back.
    """

    _HEAD = struct.Struct("<QdII")  # number, monotonic time, length and checksum of the copy

    def __init__(self, file: int, count: int, slot: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory = mmap.mmap(file, self.size(count))
        self._count, self._slot, self._clock = count, slot, clock
        self._number, _moment, found = self._newest(slot)
        self._before = found.counters

    @staticmethod
    def size(count: int) -> int:
        """Return the bytes of the file for so many workers."""
        return count * 2 * COPY

    def publish(self, figures: Figures) -> None:
        """Let the others know this worker's figures."""
        self._number += 1
        data = msgspec.json.encode(self._before + figures)[: COPY - self._HEAD.size]
        start = (self._slot * 2 + self._number % 2) * COPY
        head = self._HEAD.pack(self._number, self._clock(), len(data), zlib.crc32(data))
        self._memory[start : start + len(head) + len(data)] = head + data

    def total(self) -> Figures:
        """Return the sum over all workers, those that died included."""
        total, now = Figures(), self._clock()
        for slot in range(self._count):
            _number, moment, figures = self._newest(slot)
            total += figures if now - moment < FRESH else figures.counters
        return total

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()

    def _newest(self, slot: int) -> tuple[int, float, Figures]:
        """Return the newest whole copy in a slot, with its number and its time."""
        newest = (0, 0.0, Figures())
        for start in (slot * 2 * COPY, (slot * 2 + 1) * COPY):
            number, moment, length, checksum = self._HEAD.unpack_from(self._memory, start)
            data = self._memory[start + self._HEAD.size : start + self._HEAD.size + min(length, COPY)]
            if number > newest[0] and zlib.crc32(data) == checksum:
                newest = (number, moment, msgspec.json.decode(data, type=Figures))
        return newest


def collect(generations: Generations, fanout: Fanout, catalog: Catalog) -> Figures:
    """Return the figures of this process."""
    tally = generations.tally
    return Figures(
        running=generations.running,
        waiting=generations.waiting,
        readers=fanout.subscribers,
        sent=fanout.sent,
        states=dict(tally.states),
        retries=dict(catalog.retried),
        closings=tally.closings,
        closing_seconds=tally.closing_seconds,
    )


def exposition(figures: Figures) -> bytes:
    """Return the figures in Prometheus' format."""
    states = [(f'{{state="{state}"}}', count) for state, count in sorted(figures.states.items())]
    retries = [(f'{{upstream="{name}"}}', count) for name, count in figures.retries.items()]
    lines = [
        *_metric("build_info", "gauge", "The version.", [(f'{{version="{tickertape.__version__}"}}', 1)]),
        *_metric("answers_running", "gauge", "Answers in production or in line.", [("", figures.running)]),
        *_metric("answers_waiting", "gauge", "Answers in line for a busy provider.", [("", figures.waiting)]),
        *_metric("answers_total", "counter", "Answers that have ended, by state.", states),
        *_metric("readers", "gauge", "Open streams.", [("", figures.readers)]),
        *_metric("events_sent_total", "counter", "Events handed to readers.", [("", figures.sent)]),
        *_metric("upstream_retries_total", "counter", "Questions asked again, before the first byte.", retries),
        *_metric(
            "upstream_close_seconds",
            "summary",
            "From a stop to the closed upstream call.",
            [("_sum", round(figures.closing_seconds, 6)), ("_count", figures.closings)],
        ),
    ]
    return ("\n".join(lines) + "\n").encode()


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    total = Counter(one)
    total.update(other)
    return dict(total)


def _metric(name: str, kind: str, says: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    name = f"tickertape_{name}"
    return [
        f"# HELP {name} {says}",
        f"# TYPE {name} {kind}",
        *(f"{name}{label} {value}" for label, value in samples),
    ]
