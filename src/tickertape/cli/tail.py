"""``tickertape tail``: what `curl -N` shows, understood."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from tickertape.cli.options import request_options, with_content_type
from tickertape.cli.terminal import escape
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tickertape.sse.actions import Wait
    from tickertape.sse.event import Event

SLOW = 1.0
"""Seconds between two events from which on a gap is shown in red: a person notices."""


@click.command()
@request_options
@click.option("--last-event-id", default="", metavar="ID", help="Start after this event.")
@click.option("--json", "pretty", is_flag=True, help="Show data that is JSON spread over lines.")
@click.option("--timing", is_flag=True, help="Show how long after the one before each event arrived.")
@click.option("--data-only", is_flag=True, help="Print each event's data and nothing else, as for a pipe into jq.")
@click.option("-n", "--count", type=click.IntRange(1), metavar="N", help="End after N events.")
@click.option(
    "--retries",
    type=click.IntRange(0),
    metavar="N",
    help="Connections in a row without an event before giving up; 0 connects once. [default: never]",
)
@click.option(
    "--read-timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Silence that counts as a cut."
)
@click.option(
    "--repost", is_flag=True, help="Send a POST again on a reconnect, even without a Location to read on from."
)
def tail(
    url: str,
    method: str | None,
    body: bytes | None,
    headers: dict[str, str],
    last_event_id: str,
    *,
    pretty: bool,
    timing: bool,
    data_only: bool,
    count: int | None,
    retries: int | None,
    read_timeout: float | None,
    repost: bool,
) -> None:
    """Show the events of the stream at URL as they come.

    After a cut it connects again and goes on after the last event. Events go to standard output, everything about the
    connection to standard error. Control characters are shown escaped.

    Exit code: 0 when the stream ended as it may (204, a POST's end, or -n events); 1 when it failed; 2 when the command
    line is wrong; 130 after Ctrl-C.
    """
    from tickertape.client.sync import EventSource  # only here: `tickertape --help` need not wait for urllib3
    from tickertape.sse.actions import Policy

    shown = Shown(pretty=pretty, timing=timing, data_only=data_only)
    source = EventSource(
        url,
        method=method,
        body=body,
        headers=with_content_type(headers, body),
        last_event_id=last_event_id,
        policy=Policy(max_retries=retries, read_timeout=read_timeout, recover=True, repost=repost, await_server=False),
        on_open=shown.opened,
        on_comment=shown.comment,
        on_reconnect=shown.waiting,
    )
    with source:
        for number, event in enumerate(source, 1):
            shown.event(event)
            if number == count:
                break
        else:
            shown.ended()


class Shown:
    """What a stream looks like on a terminal: one line an event, more if its data has more."""

    def __init__(self, *, pretty: bool, timing: bool, data_only: bool) -> None:
        from rich.console import Console

        self._out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._err = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)
        self._pretty = pretty
        self._timing = timing
        self._data_only = data_only
        self._last = time.monotonic()

    def opened(self, headers: Mapping[str, str]) -> None:
        """Say that a connection is open."""
        self._last = time.monotonic()
        if not self._data_only:
            self._err.print(f"open: {escape(headers.get('content-type', ''))}", style="dim")

    def waiting(self, wait: Wait) -> None:
        """Say why a connection is gone and when the next is made."""
        self._err.print(escape(f"{wait.reason}; connecting again in {wait.seconds:.1f} s"), style="yellow")

    def ended(self) -> None:
        """Say that the stream is over."""
        if not self._data_only:
            self._err.print("the stream has ended", style="dim")

    def comment(self, text: str) -> None:
        """Show a comment: most are heartbeats, and their gaps matter as much as those of events."""
        if not self._data_only:
            self._out.print(self._gap() + escape(f":{text}"), style="dim")

    def event(self, event: Event) -> None:
        """Show an event."""
        from rich.text import Text

        data = self._data(event.data)
        if self._data_only:
            click.echo(data, color=True)  # as it is: rich takes control characters out, and click else would too
            return
        gap = self._gap()
        line = Text(gap, style="bold red" if gap and float(gap.split()[0]) >= SLOW else "green")
        line.append(escape(event.type), style="bold cyan")
        if event.id:
            line.append(f"  {escape(event.id)}", style="dim")
        if event.retry is not None:
            line.append(f"  retry {event.retry}", style="dim")
        first, *more = data.split("\n")
        line.append("\n    " if more else "  ").append(first)
        for other in more:
            line.append(f"\n    {other}")
        self._out.print(line)

    def _data(self, data: str) -> str:
        if self._pretty:
            import msgspec

            with suppress(*UNREADABLE):  # [DONE], or not JSON at all
                data = msgspec.json.format(data, indent=2)
        # What goes into a pipe stays as it is: jq, not a terminal, will read it.
        return data if self._data_only and not self._out.is_terminal else escape(data)

    def _gap(self) -> str:
        now = time.monotonic()
        gap, self._last = now - self._last, now
        return f"{gap:8.3f} s  " if self._timing else ""
