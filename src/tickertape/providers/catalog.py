"""What is served: which provider answers for which model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickertape.errors import BadRequest, ProviderError

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
        """Return all models, the default first. Raises ProviderError if none can be had because a provider failed."""
        found: list[Model] = []
        failures: list[BaseException] = []
        for listed in await asyncio.gather(
            *(provider.models() for provider in self._providers), return_exceptions=True
        ):
            if isinstance(listed, BaseException):
                failures.append(listed)
            else:
                found += listed
        if failures and not found:
            raise failures[0]
        return sorted(found, key=lambda model: model.id != self._default) if self._default else found

    async def find(self, model: str | None) -> tuple[Provider, str]:
        """Return the provider of a model, and the model's id; the default for None or an empty name.

        A name that nobody lists goes to the first provider that has no list, or whose list cannot be had: it may
        know it all the same, and else its refusal says why. Raises BadRequest (404) naming what is served,
        and ProviderError when the default depends on a list that cannot be had.
        """
        wanted = model or self._default
        names: list[str] = []
        unlisted: Provider | None = None
        for provider in self._providers:
            try:
                served = await provider.models()
            except ProviderError:
                if wanted is None:
                    raise
                served = []
            for one in served:
                if wanted in (None, one.id):
                    return provider, one.id
                names.append(one.id)
            if not served and unlisted is None:
                unlisted = provider
        if wanted is None:
            raise BadRequest("Name a model: the upstream does not list what it serves.", param="model")
        if unlisted is not None:
            return unlisted, wanted
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        raise BadRequest(
            f"The model {wanted[:80]!r} is not served here. Served are: {shown or 'none'}.",
            status=404,
            code="model_not_found",
            param="model",
        )

    async def start(self) -> None:
        """Have all providers load what takes long to load. Raises what they raise."""
        for provider in self._providers:
            await provider.start()

    async def close(self) -> None:
        """Close all providers."""
        await asyncio.gather(*(provider.close() for provider in self._providers))
