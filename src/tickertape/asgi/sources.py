"""What an application's own generator yields, as the deltas of one answer.

==================================================  ===================  ==============================================
yielded                                             delta                in the dialect ``events``
==================================================  ===================  ==============================================
``str``                                             `Text`               ``data: "Hel"``
`StreamEvent`                                       `Typed`              ``event: progress``, ``data: {"percent":3}``
dict, list, dataclass, msgspec, attrs, pydantic     `Typed` (message)    ``data: {…}``
a chunk of OpenAI's or LiteLLM's client             as from an upstream  as from an upstream
`tickertape.Event`, as a decoder returns it         `Frame`              its type, and its data as they are
with ``frames``: str or bytes that are SSE already  `Frame`              the same events, with ids of this stream
==================================================  ===================  ==============================================

A source that returns has said all: the answer is completed. Only where it yielded chunks of a model, these must say
that the answer is whole; a client library ends its iteration quietly when its connection is cut.

One task steps an asynchronous source from first to last; a synchronous one is stepped in one thread and one context.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tickertape.deltas import Delta, Finish, Frame, Text, Typed, encode_delta
from tickertape.dialects.events import TYPES
from tickertape.errors import ApiError
from tickertape.generation import Limits
from tickertape.providers.base import ChatRequest, Model, Provider
from tickertape.providers.thread_bridge import ThreadBridge
from tickertape.sse import Decoder, Event

if TYPE_CHECKING:
    from tickertape.providers.base import Sink
    from tickertape.providers.openai_reader import ChunkReader

logger = logging.getLogger("tickertape")

Items = AsyncIterable[Any] | Iterable[Any]
Source = Items | Awaitable[Items] | Callable[[], Items | Awaitable[Items]]
"""An (async) generator or iterable, something that is awaited for one, or a function that makes one."""

_CHUNKS = frozenset(("ChatCompletionChunk", "ModelResponseStream"))
"""Classes of OpenAI's and LiteLLM's chunks, by name: neither library is imported."""


class StreamEvent(msgspec.Struct, frozen=True):
    """An event with a type of your own, and anything that has a JSON form: dict, list, dataclass, pydantic, msgspec.

    The type is a word; those that a stream has itself (``open``, ``end``, ``usage``, …) and ``error``, which a browser
    says of its connection, are refused.
    """

    data: Any
    type: str = "message"


class Failure(ApiError):
    """Raise it in a generator to end the stream as failed with a sentence that its readers are shown.

    ``code`` is a word for programs. ``status`` is the HTTP status, if nothing was sent yet. Of any other exception
    readers are shown nothing; your log has it.
    """

    def __init__(self, message: str, *, code: str = "failed", status: int = 500) -> None:
        super().__init__(message, status=status, code=code)


class StreamLimits(Limits, frozen=True, kw_only=True):
    """The limits on streams of an application. Beyond one there is a clear error, never silence."""

    event_size: int = 1024 * 1024
    """Bytes of one event: a reader has to hold it whole."""


class SourceRequest(ChatRequest, frozen=True, kw_only=True):
    """A source in place of a question."""

    source: Source
    frames: bool = False


class SourceProvider(Provider):
    """Has sources answer. ``step`` returns for how many seconds a stop waits for the step of a thread."""

    name = "source"

    def __init__(self, event_size: int, step: Callable[[], float]) -> None:
        self._event_size = event_size
        self._step = step

    async def models(self) -> list[Model]:
        """Return none: there is nothing to choose."""
        return []

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        """Push what the source yields. Raises what it raises; Failure for what readers may know of that."""
        assert isinstance(request, SourceRequest)  # noqa: S101 - Streams makes no other
        reader = ItemReader(self._event_size, frames=request.frames)
        source = request.source
        try:
            if callable(source) and not isinstance(source, (AsyncIterable, Iterable)):
                source = source()
            items = await source if isinstance(source, Awaitable) else source
            if isinstance(items, AsyncIterable):
                await _push(items, reader, sink)
            elif isinstance(items, Iterable) and not isinstance(items, (str, bytes, Mapping)):
                await self._push_from_thread(items, reader, sink)
            else:
                raise TypeError(f"A stream comes from a generator or an iterable; this was {items!r:.80}.")
            sink.push(reader.close())
        except ApiError:
            raise
        except Exception as error:
            raise _shown(error) from error

    async def _push_from_thread(self, items: Iterable[Any], reader: ItemReader, sink: Sink) -> None:
        loop, context, ended = asyncio.get_running_loop(), contextvars.copy_context(), asyncio.Event()

        def work(bridge: ThreadBridge) -> None:
            try:
                for item in items:
                    if bridge.give(reader.read(item)):
                        return
            finally:
                if (close := getattr(items, "close", None)) is not None:
                    close()

        bridge = ThreadBridge(loop, lambda bridge: context.run(work, bridge), ended.set)
        try:
            while deltas := await bridge.take():
                sink.push(deltas)
                if sink.behind:
                    await sink.drained()
        finally:
            bridge.cancel()
            with contextlib.suppress(TimeoutError):  # its thread ends with its step, whenever that is
                async with asyncio.timeout(self._step()):
                    await ended.wait()


async def _push(items: AsyncIterable[Any], reader: ItemReader, sink: Sink) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - that of the generation
    iterator = aiter(items)
    try:
        async for item in iterator:
            if deltas := reader.read(item):
                sink.push(deltas)
            if sink.behind:
                await sink.drained()
            if task.cancelling():  # it has caught its cancellation and goes on
                raise asyncio.CancelledError
    finally:
        await _close(iterator)
        if items is not iterator:
            await _close(items)


async def _close(thing: object) -> None:
    close = getattr(thing, "aclose", None) or getattr(thing, "close", None)
    if close is not None and inspect.isawaitable(closing := close()):
        await closing


def discard(source: object) -> None:
    """Close a source that is not needed: a coroutine that nobody awaits is warned of."""
    if inspect.iscoroutine(source) or inspect.isgenerator(source):
        source.close()


def _shown(error: Exception) -> Exception:
    """Return what an exception is to its readers: an HTTPException's own words, a client's status, or nothing."""
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if not isinstance(status, int) or not 400 <= status < 600:
        return error
    if isinstance(detail := getattr(error, "detail", None), str):  # Starlette's and FastAPI's: meant for the client
        return Failure(detail, code="refused", status=status)
    logger.error("A model's server refused", exc_info=error)  # its words may hold a key
    message = f"The model's server answered with status {status}; the log of this app says more."
    return Failure(message, code="upstream_error", status=429 if status == 429 else 502)


class ItemReader:
    """Returns what each item says; `close` says how it ends. Raises TypeError, ValueError and ApiError."""

    def __init__(self, event_size: int, *, frames: bool = False) -> None:
        self._limit = event_size
        self._frames = frames
        self._decoder = Decoder(event_size)
        self._chunks: ChunkReader | None = None

    def read(self, item: Any) -> list[Delta]:
        """Return the deltas of one item."""
        if self._frames:
            return self._read_frames(item)
        if type(item) is str:
            return [Text(item)] if self._fits(item) else []
        if _is_chunk(type(item)):
            return self._read_chunk(item)
        if isinstance(item, str):
            return self.read(str(item))
        if isinstance(item, StreamEvent):
            if item.type in RESERVED:
                raise ValueError(f"An event cannot have the type {item.type!r}: a stream has its own events of it.")
            encode_delta(Typed(item.type, None))  # raises for what is no type, before others come along with it
            return [self._typed(item.type, item.data)]
        if isinstance(item, Event):
            return [self._frame(item)]
        if _has_json(type(item)):
            return [self._typed("message", item)]
        hint = "; with frames=True it may yield SSE as bytes" if isinstance(item, bytes) else ""
        raise TypeError(
            f"A stream's source yields str, StreamEvent or an object with a JSON form; it was {item!r:.80}{hint}."
        )

    def close(self) -> list[Delta]:
        """Return what is said at the end. Raises the error that chunks ended with."""
        if self._frames and self._decoder.feed(b"\n\n"):
            raise ValueError("The last frame has no blank line after it: it is not whole.")
        if self._chunks is None:
            return [Finish("stop")]
        deltas = self._chunks.feed(b"")
        self._check_chunks(self._chunks)
        return deltas

    def _read_frames(self, item: Any) -> list[Delta]:
        data = item.encode() if isinstance(item, str) else item
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"With frames=True a source yields SSE as str or bytes; it was {item!r:.80}.")
        return [self._frame(event) for event in self._decoder.feed(bytes(data))]

    def _frame(self, event: Event) -> Delta:
        if "\r" in event.data:
            raise ValueError("The data of an event cannot hold CR: its reader would get LF in its place.")
        frame = Frame(event.type, event.data)
        self._check_size(len(encode_delta(frame)))
        return frame

    def _read_chunk(self, item: Any) -> list[Delta]:
        if self._chunks is None:
            from tickertape.providers.openai_reader import ChunkReader  # only who needs it loads it
            from tickertape.providers.upstream_errors import UpstreamErrors

            self._chunks = ChunkReader(UpstreamErrors("The model's server"))
        data = item.model_dump_json(exclude_none=True, warnings=False).encode()
        self._check_size(len(data))
        deltas = self._chunks.take(data)
        self._check_chunks(self._chunks)
        return deltas

    @staticmethod
    def _check_chunks(chunks: ChunkReader) -> None:
        if chunks.error is not None:
            raise chunks.error

    def _typed(self, type_: str, data: Any) -> Delta:
        try:
            encoded = _json(data)
        except UnicodeEncodeError:  # lone surrogates: the entry mends them
            return Typed(type_, msgspec.to_builtins(data, enc_hook=_plain))
        self._check_size(len(encoded))
        return Typed(type_, msgspec.Raw(encoded))

    def _fits(self, text: str) -> bool:
        """Return whether there is text. Raises Failure if it is too much for one event."""
        if len(text) * 6 > self._limit:  # six bytes is the most that JSON makes of a character
            self._check_size(len(encode_delta(Text(text))))
        return text != ""

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise Failure(
                f"An event of {size:,} bytes was to be sent; the limit of this app is {self._limit:,}.",
                code="event_too_large",
            )


RESERVED = TYPES | {"error"}
"""Types that no event of an application may have."""


def _is_chunk(kind: type) -> bool:
    return any(base.__name__ in _CHUNKS for base in kind.__mro__) and hasattr(kind, "model_dump_json")


def _has_json(kind: type) -> bool:
    known = issubclass(kind, dict | list | tuple | msgspec.Struct) or hasattr(kind, "model_dump")
    return known or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__attrs_attrs__")


def _plain(thing: Any) -> Any:
    """Return a pydantic model as what JSON knows."""
    dump = getattr(thing, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(thing).__name__} has no JSON form.")
    return cast("Callable[..., Any]", dump)(mode="json")


_json = msgspec.json.Encoder(enc_hook=_plain).encode
