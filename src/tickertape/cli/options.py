"""The options that `tail` and `doctor` share, named as curl names them, and the request they make."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tickertape.sse.reconnect import resolve
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., Any]


def request_options(command: Command) -> Command:
    """Add URL, -X, -d and -H to a command. It gets them as ``url``, ``method``, ``body`` and ``headers``."""
    for decorate in (
        click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", callback=_headers, help=_H),
        click.option("-d", "--data", "body", metavar="TEXT", callback=_body, help=_D),
        click.option("-X", "--request", "method", metavar="METHOD", help="Method. [default: POST with -d, else GET]"),
        click.argument("url", callback=_url),
    ):
        command = decorate(command)
    return command


_H = "Header to send; may be repeated."
_D = "Body to send; @FILE reads it from a file, @- from standard input. JSON is sent as such."


def with_content_type(headers: dict[str, str], body: bytes | None) -> dict[str, str]:
    """Return the headers, with the content type that the body shows if none was given."""
    if body is None or any(name.lower() == "content-type" for name in headers):
        return headers
    try:
        msgspec.json.decode(body)
    except UNREADABLE:
        return headers | {"Content-Type": "text/plain; charset=utf-8"}
    return headers | {"Content-Type": "application/json"}


def _url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if "://" not in value:
        value = f"http://{value}"
    if resolve(value, "") is None:
        raise click.BadParameter(f"{value!r} is not an http or https URL.")
    return value


def _headers(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for value in values:
        name, colon, content = value.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{value!r} is not of the form 'Name: value'.")
        headers[name.strip()] = content.strip()
    return headers


def _body(_context: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    if value is None or not value.startswith("@"):
        return None if value is None else os.fsencode(value)  # the very bytes of the command line
    if value == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{value[1:]} cannot be read: {error.strerror}.") from error
