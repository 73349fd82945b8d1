"""``tickertape models``: what is served, and whether it answers."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tickertape.cli.probe import ProbeResult, probe
from tickertape.cli.terminal import escape
from tickertape.errors import ApiError
from tickertape.server.configuration import with_upstreams
from tickertape.server.providers import PROVIDERS, select_or_echo
from tickertape.server.settings import Settings, tuned

if TYPE_CHECKING:
    from tickertape.providers.base import Model, Provider
    from tickertape.providers.catalog import Catalog

_LIMITS = ("connect_timeout=5", "first_token_timeout=60", "idle_timeout=30")
"""Shorter than a server's: somebody sits and waits."""


@click.command(short_help="List the models, and ask some of them a question.")
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--config", type=click.Path(path_type=Path), envvar="TICKERTAPE_CONFIG", help="As `serve` has it.")
@click.option("--provider", type=click.Choice(PROVIDERS), help="As `serve` has it.")
@click.option("--upstream", metavar="URL", help="As `serve` has it.")
@click.option("--all", "every", is_flag=True, help="Ask every model, not only each upstream's first.")
@click.option("--list", "listing", is_flag=True, help="Ask none: only list them.")
def models(
    *,
    names: tuple[str, ...],
    config: Path | None,
    provider: str | None,
    upstream: str | None,
    every: bool,
    listing: bool,
) -> None:
    """List the models that `serve` would serve, and ask some of them a short question.

    Each upstream's first model is asked, or those that are named. Shown are the time to the first token, the tokens a
    second after it, and whether the answer was whole. Exit code 1 if something is not as it should be.
    """
    settings = with_upstreams(tuned(Settings(provider=provider, upstream=upstream), _LIMITS), config)
    catalog, _file = select_or_echo(settings, lambda sentence: click.echo(f"tickertape: {sentence}", err=True))
    sys.exit(0 if asyncio.run(_show(catalog, names, every=every, listing=listing)) else 1)


async def _show(catalog: Catalog, names: tuple[str, ...], *, every: bool, listing: bool) -> bool:
    """Print everything; return whether it is as it should be."""
    try:
        fine = True
        asked: list[tuple[Provider, str]] = [await catalog.find(name) for name in names]
        for provider in catalog.providers:
            served = await _list(provider)
            fine = fine and served is not None
            for number, model in enumerate(served or ()):
                chosen = (provider, model.id) in asked if names else every or number == 0
                fine = await _line(provider, model.id, ask=chosen and not listing) and fine
        for provider, model_id in asked:  # what an upstream serves without listing it
            if all(model.id != model_id for model in await _list(provider) or ()):
                fine = await _line(provider, model_id, ask=not listing) and fine
        return fine
    finally:
        await catalog.close()


async def _list(provider: Provider) -> list[Model] | None:
    try:
        return await provider.models()
    except ApiError as error:
        click.echo(f"{provider.name}: {escape(error.message)}")
        return None


async def _line(provider: Provider, model: str, *, ask: bool) -> bool:
    name = escape(f"{provider.name}/{model}")
    if not ask:
        click.echo(name)
        return True
    result = await probe(provider, model)
    click.echo(f"{name:40} {describe(result)}")
    return result.whole


def describe(result: ProbeResult) -> str:
    """Return what one line that describes the result."""
    if result.error:
        return escape(result.error)
    first = "no token" if result.first is None else f"first token {result.first:.2f} s"
    about = "about " if result.estimated else ""
    rate = f", {about}{result.rate:.0f} tokens/s" if result.rate else ""
    again = f", asked {result.retried + 1} times" if result.retried else ""
    end = f"whole ({result.finish})" if result.whole else "cut off: it ended without saying that it was done"
    return f"{first}{rate}, {end}{again}"
