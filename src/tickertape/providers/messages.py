"""OpenAI's messages taken apart for dialects that say the same in other words. What no words are for is a 400."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import InvalidRequest
from tickertape.util.json_util import loads

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,]*)?;base64,(.*)", re.DOTALL | re.IGNORECASE)

_TEXTS = ("text", "input_text", "output_text", "refusal")


class Image(msgspec.Struct, frozen=True):
    """A picture: either ``url``, or ``data`` in base64 with its ``kind``, like ``image/png``."""

    url: str = ""
    kind: str = ""
    data: str = ""


class Call(msgspec.Struct, frozen=True):
    """A tool call that the assistant made: its id, the function and its arguments; ``extra`` is the vendor's own."""

    id: str
    name: str
    arguments: dict[str, Any]
    extra: dict[str, Any]


def parts_of(message: dict[str, Any], where: str) -> Iterator[str | Image]:
    """Yield the texts and pictures of a message, empty texts left out. Raises InvalidRequest for any other part."""
    content = message.get("content")
    if not isinstance(content, list):
        content = [{"type": "text", "text": content}] if isinstance(content, str) else []
    for number, part in enumerate(content):
        place = f"{where}.content[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXTS:
            text = part.get("refusal" if kind == "refusal" else "text")
            if not isinstance(text, str):
                raise InvalidRequest(f"{place}.text must be a string; it was {text!r}.", param=place)
            if text:
                yield text
        elif kind == "image_url":
            yield _image(part, place)
        else:
            raise InvalidRequest(
                f"{place} is of type {kind!r}; this model's service takes text and image_url here.", param=place
            )


def text_of(message: dict[str, Any], where: str) -> str:
    """Return the text of a message that can hold nothing else. Raises InvalidRequest for a picture in it."""
    parts = list(parts_of(message, where))
    for part in parts:
        if isinstance(part, Image):
            raise InvalidRequest(
                f"{where} is a {message['role']} message; pictures belong into user messages.", param=where
            )
    return "".join(part for part in parts if isinstance(part, str))


def calls_of(message: dict[str, Any], where: str) -> list[Call]:
    """Return the tool calls of an assistant message. Raises InvalidRequest if its arguments are no JSON object."""
    if message.get("function_call"):
        raise InvalidRequest(f"{where}.function_call is OpenAI's old form; send it as tool_calls.", param=where)
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise InvalidRequest(f"{where}.tool_calls must be a list; it was {calls!r:.80}.", param=f"{where}.tool_calls")
    return [_call(call, f"{where}.tool_calls[{number}]") for number, call in enumerate(calls)]


def called_names(messages: list[dict[str, Any]]) -> dict[str, str]:
    """Return the functions' names by the ids of their calls, for dialects whose results name the function."""
    names: dict[str, str] = {}
    for message in messages:
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(call.get("id"), str) and isinstance(call.get("function"), dict):
                names[call["id"]] = str(call["function"].get("name"))
    return names


def result_id(message: dict[str, Any], where: str) -> str:
    """Return the id of the call that a tool message answers. Raises InvalidRequest without one."""
    found = message.get("tool_call_id")
    if not isinstance(found, str) or not found:
        raise InvalidRequest(
            f"{where} answers a tool call and must name it in tool_call_id.", param=f"{where}.tool_call_id"
        )
    return found


def refuse_function_role(message: dict[str, Any], where: str) -> None:
    """Raise InvalidRequest for OpenAI's old way to answer a call."""
    if message["role"] == "function":
        raise InvalidRequest(
            f"{where} has OpenAI's old role function; send it as a tool message.", param=f"{where}.role"
        )


def _call(call: Any, where: str) -> Call:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest(f"{where} must be a call of a function with a name.", param=where)
    given = function.get("arguments") or "{}"
    arguments = loads(given) if isinstance(given, str) else given
    if not isinstance(arguments, dict):
        raise InvalidRequest(f"{where}.function.arguments must be a JSON object; it was {given!r:.80}.", param=where)
    extra = call.get("extra_content")
    return Call(str(call.get("id") or ""), function["name"], arguments, extra if isinstance(extra, dict) else {})


def _image(part: dict[str, Any], place: str) -> Image:
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"{place}.image_url must hold a url.", param=place)
    if url[:5].lower() != "data:":
        if url[:8].lower() != "https://" and url[:7].lower() != "http://":
            raise InvalidRequest(
                f"{place}.image_url must be an http, https or data: URL; it was {url[:40]!r}.", param=place
            )
        return Image(url=url)
    found = _DATA.fullmatch(url)
    if found is None:
        raise InvalidRequest(f"{place}.image_url must be data:image/…;base64,…; it was {url[:40]!r}.", param=place)
    return Image(kind=found[1].lower(), data=found[2].strip())
