"""Upstreams as they are configured: what each is called, where it is, where its key lies. The key itself is not here.

An upstream's key is read when its provider is made, from an environment variable or a file, and goes nowhere but into
the requests to that upstream. Without a word about it, the dialect's usual variable is read, and only for the
dialect's own service: no key goes to an address that it was not meant for.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tickertape.errors import SettingsError
from tickertape.providers.dialects import DIALECTS, dialect
from tickertape.providers.parameters import TRANSPORT

if TYPE_CHECKING:
    from tickertape.providers.base import Provider
    from tickertape.server.settings import Settings, UpstreamSettings

ANY = "any"
"""The dialect of providers beyond the four, through the extra of that name."""

KEY_NAMES = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "ollama": ("OLLAMA_API_KEY",),
}
"""Where the services' own clients look for a key."""

_NOT_ANY = ("key_header", "headers", "connect_timeout", "retries")
"""What the dialect ``any`` has no use for: the connection is any-llm's."""

_THINKS_INLINE = ("openai", "ollama", ANY)
"""Dialects in which a model's thinking may stand in its text."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check(upstreams: tuple[UpstreamSettings, ...]) -> None:
    """Raise SettingsError for names, dialects or fields that cannot be used, in one sentence."""
    for number, upstream in enumerate(upstreams):
        if not _NAME.fullmatch(upstream.name):
            raise SettingsError(
                f"An upstream's name is up to 64 letters, digits, dots, dashes, underscores; it was {upstream.name!r}."
            )
        if any(upstream.name == other.name for other in upstreams[:number]):
            raise SettingsError(f"Two upstreams are called {upstream.name!r}; give each a name of its own.")
        if upstream.dialect not in (*DIALECTS, ANY):
            raise SettingsError(
                f"The upstream {upstream.name!r} has dialect = {upstream.dialect!r}; "
                f"there are {', '.join((*DIALECTS, ANY))}."
            )
        if upstream.key_env and upstream.key_file:
            raise SettingsError(f"The upstream {upstream.name!r} has both key_env and key_file; give one of them.")
        if upstream.dialect == ANY and not upstream.provider:
            raise SettingsError(f'The upstream {upstream.name!r} must say which provider, like provider = "mistral".')
        if upstream.dialect != ANY and upstream.provider:  # its key would go to the dialect's own service
            raise SettingsError(
                f'The upstream {upstream.name!r} has a provider, which takes dialect = "any"; '
                f"its dialect is {upstream.dialect!r}."
            )
        unused = [
            name for name in _NOT_ANY if upstream.dialect == ANY and getattr(upstream, name) not in ("", {}, None)
        ]
        if unused:
            raise SettingsError(
                f"The upstream {upstream.name!r} has {' and '.join(unused)}, which the dialect 'any' cannot use; "
                "leave it out."
            )
        if upstream.thinking_opened and upstream.dialect not in _THINKS_INLINE:
            raise SettingsError(
                f"The upstream {upstream.name!r} has thinking_opened, but its dialect is {upstream.dialect!r}, which "
                "never has thinking inside the text; leave it out."
            )
        if TRANSPORT.intersection(upstream.parameters):
            names = ", ".join(sorted(TRANSPORT.intersection(upstream.parameters)))
            raise SettingsError(
                f"The upstream {upstream.name!r} has {names} among its parameters: with that a caller could change "
                "where its requests go, or its key."
            )
        if upstream.retries is not None and upstream.retries < 0:
            raise SettingsError(f"The upstream {upstream.name!r} has retries = {upstream.retries}; it is 0 or more.")


def make(upstream: UpstreamSettings, settings: Settings) -> Provider:
    """Return the provider. Raises SettingsError for a key that cannot be had and a field that cannot be used."""
    provider = _make(upstream, settings)
    provider.allow(upstream.parameters)
    return provider


def _make(upstream: UpstreamSettings, settings: Settings) -> Provider:
    limits = {
        name: getattr(settings, name) if getattr(upstream, name) is None else getattr(upstream, name)
        for name in ("connect_timeout", "first_token_timeout", "idle_timeout", "retries")
    }
    key, where = read_key(upstream)
    if upstream.dialect == ANY:
        from tickertape.providers.any_llm import AnyLLM

        return AnyLLM(
            upstream.provider,
            key,
            name=upstream.name,
            base_url=upstream.base_url,
            models=upstream.models,
            model=upstream.model,
            first_token_timeout=limits["first_token_timeout"],
            idle_timeout=limits["idle_timeout"],
            thinking_opened=upstream.thinking_opened,
        )
    return dialect(upstream.dialect)(
        upstream.base_url,
        key,
        name=upstream.name,
        model=upstream.model,
        models=upstream.models,
        key_name=where,
        key_header=upstream.key_header,
        headers=upstream.headers,
        thinking_opened=upstream.thinking_opened,
        **limits,
    )


def read_key(upstream: UpstreamSettings) -> tuple[str | None, str]:
    """Return the key, None if there is none, and the words for where it belongs."""
    key: str | None
    if upstream.key_file is not None:
        try:
            key = upstream.key_file.expanduser().read_text("utf-8").strip()
        except UnicodeDecodeError:
            raise _unreadable(upstream, "it is no text") from None
        except (OSError, ValueError, RuntimeError) as error:  # ValueError: no file's name; RuntimeError: nobody's home
            raise _unreadable(upstream, getattr(error, "strerror", None) or str(error)) from None
        if not key:
            raise SettingsError(f"The upstream {upstream.name!r} has its key in {upstream.key_file}, which is empty.")
        return key, f"key_file of the upstream {upstream.name!r}"  # callers need not know where files are
    if upstream.key_env:
        key = os.environ.get(upstream.key_env, "").strip()
        if not key:
            raise SettingsError(
                f"The upstream {upstream.name!r} has its key in {upstream.key_env}, which is not set. "
                "Set it and start again."
            )
        return key, upstream.key_env
    names = KEY_NAMES.get(upstream.dialect, ())
    if not names or (upstream.base_url and upstream.name not in DIALECTS):  # in the file: the line that is missing
        return None, f"key_env of the upstream {upstream.name!r}"
    if upstream.base_url:
        return None, names[0]
    return next((key for name in names if (key := os.environ.get(name))), None), names[0]


def _unreadable(upstream: UpstreamSettings, reason: str) -> SettingsError:
    return SettingsError(
        f"The key of the upstream {upstream.name!r} cannot be read from {upstream.key_file}: {reason.rstrip('.')}."
    )
