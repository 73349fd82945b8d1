"""Selects the providers to serve: the configured upstreams, else the local model, else echo."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickertape.errors import InvalidRequest, SettingsError
from tickertape.providers.catalog import Catalog
from tickertape.providers.dialects import DIALECTS
from tickertape.providers.echo import Echo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.providers.base import Provider
    from tickertape.server.settings import Settings

REMOTE = "remote"
PROVIDERS = ("local", *DIALECTS, "echo")


def fetch_model(settings: Settings) -> Path | None:
    """Return the model file that the settings lead to, fetched if need be; None where no file is needed.

    Raises SettingsError when the built-in model cannot be had, with the reason.
    """
    if _name(settings) != "local":
        return None
    if settings.model_path is not None:
        return settings.model_path
    from tickertape.providers.builtin import ensure_model

    return ensure_model()


def select(settings: Settings, model_file: Path | None) -> Catalog:
    """Return what is served. Raises SettingsError for a setting that cannot be used."""
    if _name(settings) == REMOTE:
        from tickertape.server.configuration import with_upstreams
        from tickertape.server.upstreams import make

        upstreams = settings.upstreams or with_upstreams(settings).upstreams
        return Catalog([make(upstream, settings) for upstream in upstreams], default=settings.model)
    providers: list[Provider] = [Echo(settings.echo_rate)]
    if _name(settings) == "local" and model_file is not None:
        from tickertape.providers.local import Local

        providers.insert(0, Local(model_file))
    return Catalog(providers, default=settings.model)


def select_or_echo(settings: Settings, warn: Callable[[str], object]) -> tuple[Catalog, Path | None]:
    """Return what is served; when nobody asked for the local model and it cannot be had, that is echo alone."""
    try:
        model_file = fetch_model(settings)
        catalog = select(settings, model_file)
    except SettingsError as error:
        if settings.provider is not None or settings.model_path is not None or _name(settings) != "local":
            raise
        warn(f"{error} Until then the page runs with the echo model, which repeats what you say.")
        return select(settings, None), None
    if settings.model and _name(settings) != REMOTE:  # what is on this machine is known; others are asked later
        try:
            asyncio.run(catalog.find(settings.model))
        except InvalidRequest as error:
            raise SettingsError(f"--model: {error.message}") from None
    return catalog, model_file


def _name(settings: Settings) -> str:
    if settings.upstreams or settings.upstream or settings.provider in DIALECTS:
        return REMOTE
    return settings.provider or "local"
