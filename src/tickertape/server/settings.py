"""Every setting of the server: name, default, reason, in one place."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - msgspec reads the annotations
from typing import Any, Literal

import msgspec
from platformdirs import user_data_path

from tickertape.asgi.requests import parse_disconnect
from tickertape.conversations.models import ConversationLimits
from tickertape.errors import SettingsError
from tickertape.generation.limits import Limits

TUNABLE = (
    "heartbeat",
    "send_timeout",
    "head_timeout",
    "body_timeout",
    "keep_alive",
    "max_head",
    "max_headers",
    "connections",
    "session_lifetime",
    "login_attempts",
    "patience",
    "grace",
    "retention",
    "synchronous",
    "access_log",
    "min_free",
    "network_data",
    "max_body",
    "max_messages",
    "connect_timeout",
    "first_token_timeout",
    "idle_timeout",
    "retries",
    "page_disconnect",
    *(f"limits.{name}" for name in Limits.__struct_fields__),
    *(f"conversations.{name}" for name in ConversationLimits.__struct_fields__),
)
"""What ``--set NAME=VALUE`` takes: settings that few need, without an option of their own."""

_FROM_0 = ("retries", "connections")
"""Those that may be 0."""

_SYNCHRONOUS = Literal["NORMAL", "FULL"]
_NETWORK_DATA = Literal["refuse", "allow"]
_ACCESS_LOG = Literal["errors", "all"]
_CHOICES: dict[str, tuple[Any, str]] = {
    "access_log": (_ACCESS_LOG, "errors or all"),
    "synchronous": (_SYNCHRONOUS, "NORMAL or FULL"),
    "network_data": (_NETWORK_DATA, "refuse or allow"),
}

SHARED = ("retention", "synchronous")
"""Settings that all servers of one data folder must share."""


def default_data() -> Path:
    """Return the folder for the stream log and the conversations: the user's own data folder."""
    return user_data_path("tickertape", appauthor=False)


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[upstream]]`` of tickertape.toml; docs/upstreams.md describes the fields."""

    name: str
    """What it is called in ``name/model`` and in the metrics."""
    dialect: str = "openai"
    base_url: str = ""
    """Where it is; the dialect's own service if empty."""
    provider: str = ""
    """With the dialect ``any``: which of any-llm's providers."""
    key_env: str = ""
    """The environment variable that holds the key."""
    key_file: Path | None = None
    """A file that holds the key, and nothing else."""
    key_header: str = ""
    """The header that carries the key as it is; Azure's is ``api-key``."""
    headers: dict[str, str] = {}
    """Sent along with every request. For what is no secret."""
    model: str | None = None
    """The upstream's default model."""
    models: tuple[str, ...] = ()
    """What it serves, in place of what it lists."""
    parameters: tuple[str, ...] = ()
    """Further fields of a request that are handed on to it."""
    thinking_opened: bool = False
    """Whether its answers begin inside the thinking, which the prompt's template has opened."""
    connect_timeout: float | None = None
    first_token_timeout: float | None = None
    idle_timeout: float | None = None
    retries: int | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What ``tickertape serve`` was asked to do; a worker process gets it as JSON."""

    host: str = "127.0.0.1"
    """Loopback: nobody else on the network reaches it."""
    port: int = 8000
    data: Path = msgspec.field(default_factory=default_data)
    """The folder of the stream log and the conversations."""
    provider: str | None = None
    """echo, local or a dialect; by default what the configuration and the environment lead to, else local."""
    upstream: str | None = None
    """Base URL of one upstream; it speaks the provider's dialect, else OpenAI's."""
    upstreams: tuple[UpstreamSettings, ...] = ()
    """The upstreams that are served, side by side; `configuration` finds them."""
    model: str | None = None
    """The default model, if not the first that is served."""
    model_path: Path | None = None
    """Any GGUF file in place of the built-in model."""
    echo_rate: float = 20.0
    """Tokens a second: about what a large model writes. 0 is unpaced."""
    api_keys: tuple[str, ...] = ()
    """Who may use the server. None: everybody who can reach it."""
    allow_hosts: tuple[str, ...] = ()
    """Names under which the server is reached, beside those of this machine: a proxy's, host.docker.internal."""
    allow_origins: tuple[str, ...] = ()
    """Origins of other pages that may use it."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose ``X-Forwarded-*`` counts. None: not even loopback, where browsers are too."""
    root_path: str = ""
    """The path below which a proxy has it."""
    disconnect: str = "abandon_after=15"
    """What becomes of an answer that nobody reads: continue, cancel or abandon_after=SECONDS; a request may differ.

    ``/v1/chat/completions`` without an Idempotency-Key cancels at once: nobody can come back for such an answer."""
    page_disconnect: str = "continue"
    """The same for the answers of conversations: who comes back to the page expects to find them."""
    log_level: str = "info"
    access_log: _ACCESS_LOG = "errors"
    """Requests that are logged at level info: errors, logins included, or all."""
    heartbeat: float = 15.0
    """Seconds of silence before a comment: proxies commonly close after 30 to 60."""
    send_timeout: float = 60.0
    """Seconds after which a reader that takes nothing is dropped."""
    head_timeout: float = 15.0
    """Seconds for a request's head: one packet is enough for most, and a phone in a tunnel needs a few."""
    body_timeout: float = 30.0
    """Seconds without a byte of a request's body."""
    keep_alive: float = 5.0
    """Seconds that a connection is kept for the next request. Proxies that keep theirs longer want more than theirs."""
    max_head: int = 64 * 1024
    """Bytes of a request's first line and headers: cookies of other programs on localhost come along."""
    max_headers: int = 100
    """Headers of a request; Apache's number."""
    connections: int = 0
    """Connections to a process. 0: half of its descriptors, for each may need one to an upstream."""
    session_lifetime: float = 30 * 24 * 3600.0
    """Seconds that somebody stays signed in on the page."""
    login_attempts: int = 10
    """Wrong keys that one address may try within a minute, on the page."""
    patience: float = 1.0
    """Seconds that the status line waits for a fast error of the upstream."""
    grace: float = 8.0
    """Seconds that running answers get on SIGTERM before they end as lost; supervisors commonly give 10 in all."""
    max_body: int = 32 * 1024 * 1024
    """Bytes of a request: images come as base64."""
    max_messages: int = 2000
    """Messages in a request."""
    connect_timeout: float = 10.0
    """Seconds for an upstream's name, TCP and TLS."""
    first_token_timeout: float = 300.0
    """Seconds from the question to the upstream's first token: large models think for minutes."""
    idle_timeout: float = 120.0
    """Seconds that an upstream may be silent in the middle of an answer; comments do not count."""
    retries: int = 2
    """How often a question is asked again that met a transient failure before the first byte of an answer."""
    limits: Limits = Limits()
    """How many answers, and how long."""
    conversations: ConversationLimits = ConversationLimits()
    """How large conversations may be, and for how long a deletion can be undone."""
    retention: float = 24 * 3600.0
    """Seconds that a stream is kept after its end."""
    min_free: int = 64 * 1024 * 1024
    """Bytes free on the data folder's disk below which the server says that it is not ready: before it is full."""
    network_data: _NETWORK_DATA = "refuse"
    """Whether the data folder may lie on a network file system: allow or refuse. SQLite cannot rely on its locks."""
    synchronous: _SYNCHRONOUS = "NORMAL"
    """SQLite's: what is committed survives a killed process with NORMAL, and only with FULL a power cut as well."""


def shared(settings: Settings) -> dict[str, Any]:
    """Return the settings that all servers of one data folder must share."""
    return {name: getattr(settings, name) for name in SHARED}


def tuned(settings: Settings, pairs: tuple[str, ...]) -> Settings:
    """Return the settings with each ``NAME=VALUE`` applied. Raises SettingsError that says what is allowed."""
    changed = msgspec.to_builtins(settings, enc_hook=str)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if name not in TUNABLE or not equals:
            raise SettingsError(f"--set takes NAME=VALUE, it was {pair!r}. The names are {', '.join(TUNABLE)}.")
        group, _dot, field = name.rpartition(".")
        (changed[group] if group else changed)[field] = _read(name, value)
    made = msgspec.convert(changed, Settings, strict=False, dec_hook=_path)
    for name in TUNABLE:
        value = _value(made, name)
        if isinstance(value, (int, float)) and not 0 < value < float("inf") and not (name in _FROM_0 and value == 0):
            least = "0 or more" if name in _FROM_0 else "more than 0"
            raise SettingsError(f"{name} must be {least}; it was {value:g}.")
    try:
        parse_disconnect(made.page_disconnect)
    except ValueError:
        raise SettingsError(
            f"page_disconnect is continue, cancel or abandon_after=SECONDS; it was {made.page_disconnect!r}."
        ) from None
    return made


def _read(name: str, text: str) -> object:
    """Return what a setting is set to. Raises SettingsError, in one sentence, for what it cannot be."""
    kind: Any
    kind, choices = _CHOICES.get(name, (type(_value(Settings(), name)), ""))
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        allowed = {int: "a whole number", float: "a number"}.get(kind, choices)
        raise SettingsError(f"{name} must be {allowed}; it was {text!r}.") from None


def _value(settings: Settings, name: str) -> Any:
    group, _dot, field = name.rpartition(".")
    return getattr(getattr(settings, group) if group else settings, field)


def _path(kind: type, value: Any) -> Any:
    return kind(value)
