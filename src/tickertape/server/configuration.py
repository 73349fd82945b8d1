"""Which upstreams there are: from the command line, else tickertape.toml, else the environment."""

from __future__ import annotations

import os
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from platformdirs import user_config_path

from tickertape.errors import SettingsError
from tickertape.providers.dialects import DIALECTS
from tickertape.server.settings import UpstreamSettings
from tickertape.server.upstreams import KEY_NAMES, check
from tickertape.util.json_util import loads

if TYPE_CHECKING:
    from tickertape.server.settings import Settings

FILE = "tickertape.toml"

_URL_NAMES = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL"}
"""Where the services' own clients look for another address."""

_PROBE = 0.5
"""Seconds that an Ollama on this machine gets to say that it is there."""


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: its default model, the upstreams in the order in which their models are listed, how it is reached."""

    upstream: tuple[UpstreamSettings, ...]
    model: str | None = None
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    root_path: str = ""


def with_upstreams(settings: Settings, file: Path | None = None) -> Settings:
    """Return the settings with the upstreams that they, the file and the environment lead to.

    Empty when nothing says anything, or a local model was asked for. Raises SettingsError for what cannot be used.
    """
    if settings.upstream and settings.provider not in (None, *DIALECTS):
        raise SettingsError(
            f"--upstream needs a --provider that has one ({', '.join(DIALECTS)}) or none; it was {settings.provider}."
        )
    if settings.upstream or settings.provider in DIALECTS:
        if file is not None:
            raise SettingsError(
                "--config is for several upstreams, --upstream and --provider for one; give one of them."
            )
        if settings.model_path is not None:
            raise SettingsError(
                "--model-path is for a model on this machine, and --upstream or --provider for another."
            )
        return msgspec.structs.replace(settings, upstreams=(_named(settings),))
    if settings.provider is not None or settings.model_path is not None:
        _check_local(settings, file)
        return settings
    found = file or find_file()
    if found is not None:
        configuration = read_file(found)
        model = settings.model or configuration.model
        return msgspec.structs.replace(
            settings,
            upstreams=configuration.upstream,
            model=model,
            allow_hosts=settings.allow_hosts + configuration.allow_hosts,
            allow_origins=settings.allow_origins + configuration.allow_origins,
            trusted_proxies=settings.trusted_proxies + configuration.trusted_proxies,
            root_path=settings.root_path or configuration.root_path,
        )
    return msgspec.structs.replace(settings, upstreams=from_environment())


def _check_local(settings: Settings, file: Path | None) -> None:
    """Raise SettingsError for an option that nothing reads where a model on this machine answers, or echo."""
    if file is not None:
        chosen = "--model-path" if settings.provider is None else f"--provider {settings.provider}"
        raise SettingsError(f"--config is for upstreams, and {chosen} is none; give one of them.")
    if settings.provider == "echo" and settings.model_path is not None:
        raise SettingsError("--model-path is for --provider local; the echo model needs none.")


def find_file() -> Path | None:
    """Return the file in the current folder, else in the user's configuration folder, if there is one."""
    places = (Path(FILE), user_config_path("tickertape", appauthor=False) / FILE)
    return next((place for place in places if place.is_file()), None)


def read_file(path: Path) -> Configuration:
    """Return what a file says. Raises SettingsError, in one sentence, for a file that cannot be used."""
    try:
        configuration = msgspec.toml.decode(path.read_bytes(), type=Configuration, dec_hook=_path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is one
        raise SettingsError(f"{path} cannot be used: {error}. docs/upstreams.md says what it may hold.") from error
    if not configuration.upstream:
        raise SettingsError(f"{path} names no upstream; it needs at least one [[upstream]].")
    check(configuration.upstream)
    return configuration


def from_environment() -> tuple[UpstreamSettings, ...]:
    """Return an upstream for every service whose key is set, and for an Ollama that runs on this machine."""
    found = [
        UpstreamSettings(name=name, dialect=name, base_url=_url(name), key_env=key)
        for name in _URL_NAMES
        if (key := _key_name(name))
    ]
    ollama = ollama_url()
    if serves_models(ollama):
        found.append(UpstreamSettings(name="ollama", dialect="ollama", base_url=ollama))
    return tuple(found)


def ollama_url() -> str:
    """Return where Ollama is on this machine: ``OLLAMA_HOST`` as Ollama reads it, else its usual port."""
    given = os.environ.get("OLLAMA_HOST", "").strip()
    try:
        url = urlsplit(given if "://" in given else f"http://{given or '127.0.0.1'}")
        host = url.hostname or "127.0.0.1"
        port = url.port or {"https": 443}.get(url.scheme, 80 if "://" in given else 11434)
    except ValueError:
        return "http://127.0.0.1:11434"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it listens, not where to ask
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}:{port}{url.path.rstrip('/')}"


def serves_models(base_url: str) -> bool:
    """Return whether an Ollama at that address answers at once and has at least one model."""
    url = urlsplit(base_url)
    if url.scheme != "http":  # on this machine it speaks plain HTTP; another one is configured, not looked for
        return False
    try:
        with closing(HTTPConnection(url.hostname or "", url.port, timeout=_PROBE)) as connection:
            connection.request("GET", f"{url.path}/api/tags")
            listing = loads(connection.getresponse().read(1024 * 1024))
    except (OSError, HTTPException, ValueError):
        return False
    return isinstance(listing, dict) and bool(listing.get("models"))


def _named(settings: Settings) -> UpstreamSettings:
    """Return the one upstream that the command line names."""
    name = settings.provider or "openai"
    default = ollama_url() if name == "ollama" else _url(name)
    return UpstreamSettings(
        name=name,
        dialect=name,
        base_url=settings.upstream or default,
        key_env=_key_name(name),
        model=settings.model,
    )


def _key_name(name: str) -> str:
    return next((key for key in KEY_NAMES[name] if os.environ.get(key, "").strip()), "")


def _url(name: str) -> str:
    return os.environ.get(_URL_NAMES.get(name, ""), "")


def _path(kind: type, value: object) -> object:
    return kind(value)
