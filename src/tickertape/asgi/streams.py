"""Streams that survive, in an app of your own: answers of its generators, kept in a log, read again from any cursor.

::

    streams = Streams("sqlite:///tape.db", owner=current_user_id)
    app = FastAPI(lifespan=streams.lifespan)
    app.mount("/streams", streams.app)        # GET {id}: resume, or the snapshot as JSON · POST {id}/stop · DELETE {id}

    @app.post("/chat")
    async def chat(question: Question):
        return streams.response(generate(question))

A response is sent as the server's own answers are (`answers`, `replay`, `subscriber`). What it does is decided when it
is sent, for only then the request is known: it resumes for a Last-Event-ID, attaches for a key that was used before,
and begins else. The request goes on until its generator has ended, whether somebody reads or not: so what belongs to
the request, a database session of a dependency for example, is there for the generator.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import logging
import secrets
from collections.abc import Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router

from tickertape.asgi.answers import stop, stream_answer
from tickertape.asgi.connection import abort
from tickertape.asgi.endpoint import OWNER, Endpoint, not_found
from tickertape.asgi.host import StreamHost, dispatch
from tickertape.asgi.replay import cursor_of, replay
from tickertape.asgi.requests import DIALECT, dialect_of, header, parse_key
from tickertape.asgi.responses import reply_json
from tickertape.asgi.sources import SourceProvider, SourceRequest, StreamLimits, discard
from tickertape.asgi.subscriber import Cut
from tickertape.asgi.waiting import reading
from tickertape.deltas import End, State, decode_delta, encode_delta
from tickertape.dialects import DIALECTS
from tickertape.generation import DAMAGED, LOST, GenerationSpec
from tickertape.sse import Decoder
from tickertape.stream_core import CoreOptions, StreamCore
from tickertape.streams.contract import Key, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from tickertape.asgi.endpoint import Owner
    from tickertape.asgi.responses import Headers
    from tickertape.asgi.sources import Source
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.dialects import Dialect
    from tickertape.sse import Event
    from tickertape.streams.contract import Engine, Stream

logger = logging.getLogger("tickertape")

ANYONE = "*"
"""The owner of all streams where nobody has to sign in: who knows the id of a stream, which nobody can guess, reads
it."""

Disconnect = Literal["continue", "cancel"] | float
"""What becomes of a generator that nobody reads: it goes on, or is cancelled, at once or after so many seconds."""

Snapshot = dict[str, Any]
"""What a stream has said: ``id``, ``state``, ``text``, ``events``, ``error``, ``usage``, ``last_event_id`` and more."""

OnEnd = Callable[[Snapshot], object]

MODEL = "stream"
"""What stands where an answer of a model has the model's name."""

_EVENTS = DIALECTS["events"]


class StreamHandle:
    """One stream, by `Streams.start` or `Streams.get`: read it, wait for its end, stop it."""

    def __init__(self, host: StreamHost, stream: Stream) -> None:
        self._host = host
        self._stream = stream

    @property
    def id(self) -> str:
        """Its name, which nobody can guess."""
        return self._stream.header.id

    @property
    def state(self) -> State:
        """How far it is: running, completed, cancelled, failed, incomplete or lost."""
        if not self._stream.ended:
            return State.RUNNING
        end = decode_delta(self._stream.entries[-1])
        return end.state if isinstance(end, End) else State.RUNNING

    def snapshot(self) -> Snapshot:
        """Return what it has said so far."""
        return _EVENTS.answer(self._stream)

    async def wait(self) -> Snapshot:
        """Wait for its end and return all that it has said."""
        with reading(self._stream):
            async for _entries in follow(self._stream, len(self._stream.entries)):
                pass
        return self.snapshot()

    async def stop(self) -> Snapshot:
        """Stop it, wait a moment for its end, and return what it has said; once it has ended, that is all."""
        await stop(self._host, self._stream)
        return self.snapshot()

    async def events(self, after: int = 0) -> AsyncIterator[Event]:
        """Yield its events after the one with this number, as a reader of the dialect ``events`` gets them."""
        view, decoder = _EVENTS.view(self._stream.header), Decoder()
        with reading(self._stream):
            async for entries in follow(self._stream, after):
                for event in decoder.feed(view.feed(entries, after + 1)):
                    yield event
                after += len(entries)

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield all its events."""
        return self.events()


class _Begun(msgspec.Struct, frozen=True):
    """A stream, and whether it was begun just now; ``over`` is set once its source has ended then."""

    stream: Stream
    new: bool
    over: asyncio.Event


class _Source(msgspec.Struct, frozen=True):
    """What is to be streamed, as the developer said it."""

    source: Source
    frames: bool
    on_disconnect: Disconnect
    on_end: OnEnd | None
    context: contextvars.Context


class _Host(StreamHost):
    """Streams from one start to the stop after it."""

    def __init__(
        self, core: StreamCore, patience: float, prefix: Callable[[Message], str | None], dialect: str
    ) -> None:
        super().__init__(core)
        self._patience, self._prefix, self._dialect = patience, prefix, dialect

    @property
    def patience(self) -> float:
        return self._patience

    def stream_url(self, scope: Message, stream_id: str, dialect: Dialect) -> str | None:
        prefix = self._prefix(scope)
        query = "" if dialect.name == self._dialect else f"?dialect={dialect.name}"
        return None if prefix is None else f"{prefix}/{stream_id}{query}"


class Streams:
    """All streams of an app. Make it at import, and give `lifespan` to the app; nothing is opened before that.

    ``url`` says where they are kept: ``memory:``, or ``sqlite:///PATH`` for a file that outlives the process and that
    several of them may share. ``owner`` says whose a request's streams are: a function of Starlette's ``Request`` that
    returns a name, or an awaitable of one, and None to refuse; or `ANYONE`. ``dialect`` is what readers get unless a
    response or its reader says otherwise. ``on_disconnect`` is what becomes of a generator that nobody reads.

    Times are in seconds. ``retention`` is how long a stream is kept after its end, ``heartbeat`` the longest silence,
    ``send_timeout`` how long a reader may take nothing, ``grace`` what running generators get when the process ends,
    ``patience`` how long the status line waits for a first event or error.
    """

    def __init__(
        self,
        url: str,
        *,
        owner: Owner | str,
        dialect: str = "events",
        on_disconnect: Disconnect = "continue",
        retention: float = 24 * 3600.0,
        heartbeat: float = 15.0,
        send_timeout: float = 60.0,
        grace: float = 8.0,
        patience: float = 1.0,
        limits: StreamLimits | None = None,
    ) -> None:
        if not callable(owner) and owner != ANYONE:
            raise TypeError(f"owner is a function of the request, or ANYONE; it was {owner!r:.80}.")
        self._owner: Owner = owner if callable(owner) else _anyone
        self._engine = _engine_of(url)
        self._dialect = _dialect_of(dialect)
        self._abandon_after = _abandon_after(on_disconnect)
        limits = limits or StreamLimits()
        self._options = CoreOptions(
            heartbeat=heartbeat, send_timeout=send_timeout, retention=retention, grace=grace, limits=limits
        )
        self._patience = patience
        self._on_disconnect = on_disconnect
        self._provider = SourceProvider(limits.event_size, self._step_patience)
        self._host: _Host | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._router = Router(
            [
                Route("/{id}", Endpoint({"GET": self._get, "HEAD": self._get, "DELETE": self._stop}, self._owner)),
                Route("/{id}/stop", Endpoint({"POST": self._stop}, self._owner)),
            ],
            default=not_found,
            redirect_slashes=False,
        )
        self.app = self._route
        """The routes by which streams are read again and stopped, to be mounted."""

    # --- life

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Open the streams for as long as the context lasts: the lifespan of an app, or entered in its own."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        """Open. Raises EngineUnavailable with the reason."""
        if self._host is not None and self._host.core.started:
            raise RuntimeError("These streams are open already; one lifespan opens them.")
        core = StreamCore(self._engine(), self._options)
        host = _Host(core, self._patience, self._prefix, self._dialect.name)
        await host.start()
        self._host = host
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut the readers, let the generators end within the grace period, and close."""
        if self._host is not None:
            await self._host.stop()
        if self._ending:
            _done, late = await asyncio.wait(self._ending, timeout=self._options.grace)
            for task in late:
                task.cancel()

    async def _open_host(self) -> _Host:
        host = self._host
        if host is None:
            raise RuntimeError(
                "These streams are not open: make the app with FastAPI(lifespan=streams.lifespan), or enter "
                "`async with streams:` in its own lifespan. In tests, `with TestClient(app)` runs it."
            )
        await host.ready()
        return host

    def _step_patience(self) -> float:
        """Return for how long a stop waits for the step of a thread: not at all once the process ends."""
        host = self._host
        return 0.0 if host is None or host.core.generations.closed else self._options.grace

    # --- in a request

    def response(
        self,
        source: Source,
        *,
        key: str | None = None,
        asked: object = None,
        owner: str | None = None,
        dialect: str | None = None,
        on_disconnect: Disconnect | None = None,
        frames: bool = False,
        on_end: OnEnd | None = None,
        release: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the response that streams what a source yields (`tickertape.asgi.sources` says what may be yielded).

        With ``Last-Event-ID`` it goes on from there, and the source is not started. ``key``, by default the request's
        ``Idempotency-Key``, attaches to the stream that it began before; ``asked`` is what must be the same then, such
        as the body, else the client is told (422). ``frames`` says that the source yields SSE. ``on_end``, a function
        or coroutine function, is called with the snapshot when the stream has ended, however it did. With ``release``
        the request ends when its reader leaves, and not with the source.
        """
        policy = on_disconnect if on_disconnect is not None else self._on_disconnect
        _abandon_after(policy)
        said = _Source(source, frames, policy, on_end, contextvars.copy_context())
        return _StreamResponse(self, said, key, asked, owner, self._chosen(dialect), release, headers)

    def resume(self, stream_id: str, *, owner: str | None = None, dialect: str | None = None) -> Response:
        """Return the response that streams what comes after the request's Last-Event-ID, or all there is."""
        return _ResumeResponse(self, stream_id, owner, self._chosen(dialect))

    def _chosen(self, dialect: str | None) -> Dialect | None:
        return None if dialect is None else _dialect_of(dialect)

    # --- without a request

    async def start(
        self,
        source: Source,
        *,
        owner: str,
        key: str | None = None,
        asked: object = None,
        on_disconnect: Disconnect | None = None,
        frames: bool = False,
        on_end: OnEnd | None = None,
    ) -> StreamHandle:
        """Begin a stream, or return the one that this key has begun, in a worker, a job or a test."""
        policy = on_disconnect if on_disconnect is not None else self._on_disconnect
        said = _Source(source, frames, policy, on_end, contextvars.copy_context())
        host = await self._open_host()
        begun = await self._begin(host, said, owner, None if key is None else Key(key, _digest(asked)))
        return StreamHandle(host, begun.stream)

    async def get(self, stream_id: str, *, owner: str) -> StreamHandle:
        """Return a stream. Raises UnknownStream."""
        host = await self._open_host()
        return StreamHandle(host, await host.core.find(stream_id, owner))

    async def stop(self, stream_id: str, *, owner: str) -> Snapshot:
        """Stop a stream, whichever process produces it, and return what it has said. Raises UnknownStream."""
        return await (await self.get(stream_id, owner=owner)).stop()

    # --- inside

    async def _begin(self, host: _Host, said: _Source, owner: str, key: Key | None) -> _Begun:
        over = asyncio.Event()

        def end(stream: Stream) -> None:
            over.set()
            if said.on_end is not None:
                task = asyncio.create_task(_call(said.on_end, stream))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

        stream_id = secrets.token_hex(16)
        spec = GenerationSpec(
            self._provider,
            SourceRequest(model=MODEL, messages=[], source=said.source, frames=said.frames),
            show_usage=True,
            abandon_after=_abandon_after(said.on_disconnect),
            stream=stream_id,
            ended=end,
        )
        try:
            # In the context of the one who asked, of which the task of the generation has a copy.
            beginning = host.core.generations.begin(spec, owner=owner, key=key)
            stream = await asyncio.create_task(beginning, context=said.context)
        except Exception:
            discard(said.source)
            raise
        new = stream.header.id == stream_id
        if not new:
            discard(said.source)
        return _Begun(stream, new, over)

    async def _route(self, scope: Message, receive: Receive, send: Send) -> None:
        await dispatch(self._router, scope, receive, send)

    async def _get(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer with the stream from a cursor on; as JSON with its snapshot, or the dialect's whole answer."""
        host = await self._open_host()
        dialect = dialect_of(scope, self._dialect)
        stream_id = scope["path_params"]["id"]
        accept = header(scope, b"accept") or ""
        if "application/json" not in accept or "text/event-stream" in accept:
            await replay(host, stream_id, cursor_of(scope), scope, receive, send, dialect)
            return
        stream = await host.core.find(stream_id, scope[OWNER])
        await reply_json(send, _EVENTS.answer(stream))

    async def _stop(self, scope: Message, _receive: Receive, send: Send) -> None:
        """Stop a stream; again and after its end that does nothing."""
        dialect_of(scope, self._dialect)
        await reply_json(send, await self.stop(scope["path_params"]["id"], owner=scope[OWNER]))

    def _prefix(self, scope: Message) -> str | None:
        """Return the path under which `app` is mounted, for who sent the request; None if it is not."""
        router = scope.get("router")
        root = quote(str(scope.get("app_root_path", scope.get("root_path", ""))))
        path = "" if router is self._router else self._mounted(getattr(router, "routes", ()))
        return None if path is None else root + quote(path)

    def _mounted(self, routes: Iterable[BaseRoute]) -> str | None:
        for route in routes:
            if isinstance(route, Mount):
                below = "" if route.app == self.app else self._mounted(route.routes)
                if below is not None:
                    return route.path + below
        return None


class _StreamResponse(Response):
    """Decides in ``__call__`` what it is: there the request is known."""

    media_type = "text/event-stream"

    def __init__(
        self,
        streams: Streams,
        said: _Source,
        key: str | None,
        asked: object,
        owner: str | None,
        dialect: Dialect | None,
        release: bool,
        headers: Mapping[str, str] | None,
    ) -> None:
        super().__init__(headers=headers)
        self._streams, self._said, self._key, self._asked = streams, said, key, asked
        self._dialect, self._release, self._taken = dialect, release, False
        self._owner: Owner = streams._owner if owner is None else lambda _request: owner

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Stream, or answer with an error."""
        try:
            await Endpoint({scope["method"]: self._serve}, self._owner)(scope, receive, send)
        finally:
            if not self._taken:
                discard(self._said.source)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        dialect = _asked_dialect(scope, self._dialect, self._streams._dialect)
        host = await self._streams._open_host()
        if cursor := cursor_of(scope):
            await replay(host, cursor.rpartition(".")[0], cursor, scope, receive, send, dialect, self._more())
            return
        key = self._key_of(scope)
        self._taken = True
        begun = await self._streams._begin(host, self._said, scope[OWNER], key)
        headers = [*self._more(), (b"tickertape-stream", begun.stream.header.id.encode())]
        reader_cut: Cut | None = None
        try:
            await stream_answer(host, begun.stream, 1, scope, receive, send, dialect, more_headers=headers)
        except Cut as error:
            reader_cut = error
        if begun.new and not self._release:
            if reader_cut is not None:
                abort(send, blocked=True)  # at once, for the request goes on
            await begun.over.wait()
        if self.background is not None:
            await self.background()
        if reader_cut is not None:
            raise reader_cut

    def _more(self) -> Headers:
        return [one for one in self.raw_headers if one[0] not in (b"content-type", b"content-length")]

    def _key_of(self, scope: Message) -> Key | None:
        """Return the key. A client's own is bound to the request that it came with, one of the app to nothing else."""
        if self._key is not None:
            return Key(self._key, _digest(self._asked))
        return parse_key(scope, scope["path"].encode("utf-8", "replace") + _digest(self._asked))


class _ResumeResponse(Response):
    """Goes on with a stream."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, stream_id: str, owner: str | None, dialect: Dialect | None) -> None:
        super().__init__()
        self._streams, self._stream_id, self._dialect = streams, stream_id, dialect
        self._owner: Owner = streams._owner if owner is None else lambda _request: owner

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Stream, or answer with an error."""
        await Endpoint({scope["method"]: self._serve}, self._owner)(scope, receive, send)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        dialect = _asked_dialect(scope, self._dialect, self._streams._dialect)
        host = await self._streams._open_host()
        await replay(host, self._stream_id, cursor_of(scope), scope, receive, send, dialect)
        if self.background is not None:
            await self.background()


def _anyone(_request: object) -> str:
    return ANYONE


def _engine_of(url: str) -> Callable[[], Engine]:
    """Return what makes the engine. Raises ValueError for a URL of no engine."""
    if url == "memory:":
        from tickertape.streams.memory import MemoryEngine

        return lambda: MemoryEngine(lost=encode_delta(LOST))
    path = url.removeprefix("sqlite:///")
    if path in ("", url):
        raise ValueError(f"Streams are kept in memory: or in sqlite:///PATH; it was {url!r:.80}.")
    from tickertape.streams.sqlite.engine import SqliteEngine

    return lambda: SqliteEngine(path, lost=encode_delta(LOST), damaged=encode_delta(DAMAGED))


def _dialect_of(name: str) -> Dialect:
    if name not in DIALECTS:
        raise ValueError(f"dialect is one of {', '.join(DIALECTS)}; it was {name!r:.80}.")
    return DIALECTS[name]


def _asked_dialect(scope: Message, chosen: Dialect | None, default: Dialect) -> Dialect:
    """Return the response's own dialect, else the reader's choice. From then on its errors are in it."""
    if chosen is None:
        return dialect_of(scope, default)
    scope[DIALECT] = chosen
    return chosen


def _abandon_after(policy: Disconnect) -> float | None:
    match policy:
        case "continue":
            return None
        case "cancel":
            return 0.0
        case int() | float() if policy >= 0:
            return float(policy)
    raise ValueError(f"on_disconnect is 'continue', 'cancel' or seconds; it was {policy!r:.80}.")


def _digest(asked: object) -> bytes:
    """Return the digest of what must be the same when a key comes again."""
    dump = getattr(asked, "model_dump", None)
    return hashlib.sha256(msgspec.json.encode(dump(mode="json") if dump else asked, order="deterministic")).digest()


async def _call(on_end: OnEnd, stream: Stream) -> None:
    try:
        result = on_end(_EVENTS.answer(stream))
        if isawaitable(result):
            await result
    except Exception:
        logger.exception("on_end of stream %s failed", stream.header.id)
