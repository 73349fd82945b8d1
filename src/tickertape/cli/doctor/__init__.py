"""``tickertape doctor``: what is wrong with somebody's stream, and how to fix it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tickertape.cli.doctor.report import Finding, Level, print_findings
from tickertape.cli.options import request_options, with_content_type
from tickertape.errors import ConnectionFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.cli.doctor.observer import Observation, Observer


@click.command(short_help="Report what is wrong with the stream at URL.")
@request_options
@click.option(
    "--seconds",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="How long to look. Heartbeats are wanted every 15 s.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(
    url: str,
    method: str | None,
    body: bytes | None,
    headers: dict[str, str],
    *,
    seconds: float,
    as_json: bool,
) -> None:
    """Report what is wrong with the stream at URL, why it matters and how to fix it.

    Looks at the head, at the arrival of events, heartbeats, the lines themselves, ids and the end; then reconnects to
    see whether resuming works and what a finished stream answers. A POST is sent once: it is resumed only from the
    Location that its answer names.

    Exit code: 0 without a problem (there may be warnings), 1 with one or when nothing answers, 2 when the command line
    is wrong, 130 after Ctrl-C.
    """
    from tickertape.cli.doctor.observer import Observer  # only here: `tickertape --help` need not wait for urllib3
    from tickertape.client.request import RequestTemplate

    # What browsers offer: whether something on the way compresses shows only when it is offered.
    headers = {"Accept-Encoding": "gzip, deflate"} | with_content_type(headers, body)
    observer = Observer(url, RequestTemplate(method=method, body=body, headers=headers), seconds)
    try:
        findings = list(_examine(observer))
    finally:
        observer.close()
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(findings), indent=2))
    else:
        print_findings(findings)
    sys.exit(any(finding.level is Level.PROBLEM for finding in findings))


def _examine(observer: Observer) -> Iterator[Finding]:
    """Read the stream once, then reconnect as a reader would."""
    from tickertape.cli.doctor import checks
    from tickertape.cli.doctor.syntax import check_syntax

    seen = observer.observe()
    yield from checks.head(seen)
    if not seen.readable:
        return
    yield from checks.flow(seen)
    yield from check_syntax(seen)
    yield from checks.identity(seen)
    yield from checks.ending(seen)
    try:
        yield from _come_back(observer, seen)
    except ConnectionFailed as error:
        fix = "Answer every reconnect: readers come back, and name the last event they had."
        yield Finding(Level.PROBLEM, "reconnect", str(error), fix, "HTML 9.2.3")


def _come_back(observer: Observer, seen: Observation) -> Iterator[Finding]:
    """Reconnect as a reader would that was cut off in the middle, and as one would that had everything."""
    from tickertape.cli.doctor import checks

    events = seen.events()
    if seen.method != "GET" and seen.location is None:
        fix = "Name the stream in the answer's Location, so that a reader that was cut off can go on with GET."
        found = f"not tried: a second {seen.method} might do its work twice, and there is no Location"
        yield Finding(Level.WARNING, "resume", found, fix, "fetch-event-source POSTs again when a tab is shown")
        return
    url = seen.location or seen.url
    if len(events) > 1 and events[0].id:
        cursor = (len(events) - 1) // 2
        again = observer.observe(url=url, last_event_id=events[cursor].id, stop_after=len(events) - cursor - 1)
        yield checks.resuming(events, cursor, again)
    if seen.ended and events and events[-1].id:
        yield checks.after_the_end(observer.observe(url=url, last_event_id=events[-1].id, stop_after=1))
