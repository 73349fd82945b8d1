"""Which provider answers for which model."""

import asyncio

import pytest

from tickertape.errors import ApiError, InvalidRequest, UpstreamError
from tickertape.providers.base import ChatRequest, Model, Provider, Sink
from tickertape.providers.catalog import Catalog


class Listing(Provider):
    """Serves the models of these names, or fails to list them."""

    def __init__(self, *names: str, error: ApiError | None = None) -> None:
        self.name = "listing"
        self.names, self.error, self.closed = names, error, False

    async def models(self) -> list[Model]:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [Model(id=name, owned_by="x") for name in self.names]

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        sink.push([])

    async def close(self) -> None:
        self.closed = True


DOWN = UpstreamError("up.example cannot be reached.", status=502)


async def names(catalog: Catalog) -> list[str]:
    return [model.id for model in await catalog.models()]


def test_what_is_no_provider_is_refused_when_the_catalog_is_made() -> None:
    class Answering:
        async def answer(self, request: object, sink: object) -> None: ...

    with pytest.raises(TypeError, match=r"tickertape\.providers\.base\.Provider"):
        Catalog([Answering()])  # type: ignore[list-item]


async def test_all_models_are_listed_the_default_first() -> None:
    providers = [Listing("a", "b"), Listing("c")]
    assert await names(Catalog(providers)) == ["a", "b", "c"]
    assert await names(Catalog(providers, default="c")) == ["c", "a", "b"]


async def test_a_model_is_found_where_it_is_served() -> None:
    first, second = Listing("a", "b"), Listing("c", "a")
    catalog = Catalog([first, second])
    assert await catalog.find("c") == (second, "c")
    assert await catalog.find("a") == (first, "a")


async def test_no_name_or_an_empty_one_is_the_default() -> None:
    first, second = Listing("a", "b"), Listing("c")
    for name in (None, ""):
        assert await Catalog([first, second]).find(name) == (first, "a")
        assert await Catalog([first, second], default="c").find(name) == (second, "c")


async def test_an_unknown_model_is_a_404_that_names_what_is_served() -> None:
    catalog = Catalog([Listing("a"), Listing(*(f"m{n}" for n in range(12)))])
    with pytest.raises(InvalidRequest) as caught:
        await catalog.find("gpt-x")
    error = caught.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert error.message == (
        "The model 'gpt-x' is not served here. Served are: a, m0, m1, m2, m3, m4, m5, m6, m7, m8 and 3 more."
    )


async def test_a_name_that_nobody_lists_goes_to_the_provider_without_a_list() -> None:
    unlisted = Listing()
    assert await Catalog([Listing("a"), unlisted, Listing()]).find("gpt-x") == (unlisted, "gpt-x")
    failing = Listing(error=DOWN)
    assert await Catalog([failing, Listing("a")]).find("gpt-x") == (failing, "gpt-x")


async def test_a_provider_that_fails_does_not_hide_the_others() -> None:
    healthy = Listing("a")
    catalog = Catalog([Listing(error=DOWN), healthy])
    assert await names(catalog) == ["a"]
    assert await catalog.find("a") == (healthy, "a")


async def test_the_default_of_a_provider_that_fails_is_its_error() -> None:
    catalog = Catalog([Listing(error=DOWN)])
    for asked in (catalog.find(None), catalog.models()):
        with pytest.raises(ApiError, match=r"up\.example"):
            await asked


async def test_no_name_where_nothing_is_listed_asks_for_one() -> None:
    with pytest.raises(InvalidRequest, match="Name a model") as caught:
        await Catalog([Listing()]).find(None)
    assert caught.value.status == 400


async def test_closing_closes_every_provider() -> None:
    providers = [Listing("a"), Listing("b")]
    await Catalog(providers).close()
    assert all(provider.closed for provider in providers)


async def test_two_models_of_one_name_are_told_apart_by_their_providers() -> None:
    first, second = Listing("a", "b"), Listing("b", "c")
    first.name, second.name = "one", "two"
    catalog = Catalog([first, second])
    assert await names(catalog) == ["a", "b", "two/b", "c"]
    assert await catalog.find("b") == (first, "b")
    assert await catalog.find("two/b") == (second, "b")
    assert await catalog.find("one/b") == (first, "b")
    assert await names(Catalog([first, second], default="two/b")) == ["two/b", "a", "b", "c"]
    assert await Catalog([first, second], default="two/b").find(None) == (second, "b")


async def test_a_name_with_a_slash_that_is_listed_means_itself() -> None:
    router, two = Listing("two/b"), Listing("b")
    two.name = "two"
    assert await Catalog([router, two]).find("two/b") == (router, "two/b")


async def test_a_provider_that_is_named_is_asked_for_what_it_does_not_list() -> None:
    first, second = Listing("a"), Listing("b")
    second.name = "two"
    assert await Catalog([first, second]).find("two/alias/x") == (second, "alias/x")


async def test_an_upstream_that_is_down_does_not_keep_the_others_default_from_being_found() -> None:
    down, up = Listing(error=DOWN), Listing("a")
    assert await Catalog([down, up]).find(None) == (up, "a")
    with pytest.raises(ApiError, match="cannot be reached"):
        await Catalog([down]).find(None)
