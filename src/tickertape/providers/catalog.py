"""What is served: which provider answers for which model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickertape.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickertape.providers.base import Model, Provider

SHOWN = 10
"""Names that an error lists at most."""


class Catalog:
    """Several providers side by side. ``default`` is the model for requests that name none, else the first one."""

    def __init__(self, providers: Sequence[Provider], *, default: str | None = None) -> None:
        self._providers = list(providers)
        self._default = default

    async def models(self) -> list[Model]:
        """Return all models, the default first. Raises ProviderError when a provider cannot list its own."""
        found = [model for provider in self._providers for model in await provider.models()]
        return sorted(found, key=lambda model: model.id != self._default) if self._default else found

    async def find(self, model: str | None) -> tuple[Provider, str]:
        """Return the provider of a model, and the model's id; the default for None or an empty name.

        Raises BadRequest (404) naming what is served, ProviderError when that cannot be had.
        """
        wanted = model or self._default
        names: list[str] = []
        for provider in self._providers:
            for served in await provider.models():
                if wanted in (None, served.id):
                    return provider, served.id
                names.append(served.id)
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        raise BadRequest(
            f"The model {wanted!r} is not served here. Served are: {shown or 'none'}.",
            status=404,
            code="model_not_found",
            param="model",
        )

    async def close(self) -> None:
        """Close all providers."""
        await asyncio.gather(*(provider.close() for provider in self._providers))
