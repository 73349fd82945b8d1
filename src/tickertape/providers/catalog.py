"""What is served: which provider answers for which model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from tickertape.errors import ApiError, InvalidRequest
from tickertape.providers.base import Provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickertape.providers.base import Model

SHOWN = 10
"""Names that an error lists at most."""


class Catalog:
    """Several providers side by side. ``default`` is the model for requests that name none, else the first one.

    A model's name is what its provider calls it. Where two providers call theirs the same, the name means the first
    one's, and the other is listed as ``provider/model``; that form finds every provider's model. Raises TypeError for
    what is no `Provider`.
    """

    def __init__(self, providers: Sequence[Provider], *, default: str | None = None) -> None:
        self._providers = list(providers)
        for provider in self._providers:
            if not isinstance(provider, Provider):
                raise TypeError(
                    f"A catalog takes instances of tickertape.providers.base.Provider; this is {provider!r}."
                )
        self._default = default

    @property
    def retried(self) -> dict[str, int]:
        """How often each upstream was asked again, by its name; only those that can be."""
        return {provider.name: provider.retried for provider in self._providers if provider.retried is not None}

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The providers, in the order in which their models are listed."""
        return tuple(self._providers)

    async def models(self) -> list[Model]:
        """Return all models, the default first. Raises ApiError if none can be had because a provider failed."""
        found: dict[str, Model] = {}
        failures: list[BaseException] = []
        lists = await asyncio.gather(*(provider.models() for provider in self._providers), return_exceptions=True)
        for provider, listed in zip(self._providers, lists, strict=True):
            if isinstance(listed, BaseException):
                failures.append(listed)
                continue
            for model in listed:
                name = f"{provider.name}/{model.id}" if model.id in found else model.id
                found[name] = msgspec.structs.replace(model, id=name)
        if failures and not found:
            raise failures[0]
        return sorted(found.values(), key=lambda model: bool(self._default) and model.id != self._default)

    async def find(self, model: str | None) -> tuple[Provider, str]:
        """Return the provider of a model, and the model's id; the default for None or an empty name.

        A name that nobody lists may be ``provider/model``. Else it goes to the first provider that has no list, or
        whose list cannot be had: it may know it all the same, and else its refusal says why. Raises InvalidRequest
        (404) naming what is served, and ApiError when there is no default because a list cannot be had.
        """
        wanted = model or self._default
        names: list[str] = []
        unlisted: Provider | None = None
        failure: ApiError | None = None
        for provider in self._providers:
            try:
                served = await provider.models()
            except ApiError as error:
                failure, served = failure or error, []
            for one in served:
                if wanted in (None, one.id):
                    return provider, one.id
                names.append(one.id)
            if not served and unlisted is None:
                unlisted = provider
        if wanted is None:
            if failure is not None:
                raise failure
            raise InvalidRequest("Name a model: the upstream does not list what it serves.", param="model")
        prefix, slash, rest = wanted.partition("/")
        for provider in self._providers if slash and rest else ():
            if provider.name == prefix:
                return provider, rest
        if unlisted is not None:
            return unlisted, wanted
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        raise InvalidRequest(
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
