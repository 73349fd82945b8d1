"""What an operator watches, in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tickertape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tickertape.generation import Generations
    from tickertape.providers.catalog import Catalog
    from tickertape.server.fanout import Fanout

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def exposition(generations: Generations, fanout: Fanout, catalog: Catalog) -> bytes:
    """Return this process's figures; with several workers, each scrape sees one of them."""
    tally = generations.tally
    states = [(f'{{state="{state}"}}', count) for state, count in sorted(tally.states.items())]
    retries = [(f'{{upstream="{name}"}}', count) for name, count in catalog.retried.items()]
    lines = [
        *_metric("build_info", "gauge", "The version.", [(f'{{version="{tickertape.__version__}"}}', 1)]),
        *_metric("answers_running", "gauge", "Answers in production or in line.", [("", generations.running)]),
        *_metric("answers_waiting", "gauge", "Answers in line for a busy provider.", [("", generations.waiting)]),
        *_metric("answers_total", "counter", "Answers that have ended, by state.", states),
        *_metric("readers", "gauge", "Open streams.", [("", fanout.readers)]),
        *_metric("events_sent_total", "counter", "Events handed to readers.", [("", fanout.sent)]),
        *_metric("upstream_retries_total", "counter", "Questions asked again, before the first byte.", retries),
        *_metric(
            "upstream_close_seconds",
            "summary",
            "From a stop to the closed upstream call.",
            [("_sum", round(tally.closing_seconds, 6)), ("_count", tally.closings)],
        ),
    ]
    return ("\n".join(lines) + "\n").encode()


def _metric(name: str, kind: str, says: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    name = f"tickertape_{name}"
    return [
        f"# HELP {name} {says}",
        f"# TYPE {name} {kind}",
        *(f"{name}{label} {value}" for label, value in samples),
    ]
