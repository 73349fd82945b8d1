"""An answer is cut after byte N, headers included, for every N that there is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from .proxy import CuttingProxy
from .scale import at_scale

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Serve

    from .oracle import Oracle

    Judge = Callable[[str, str], Oracle]

WORDS = 5
AT_ONCE = 25


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@at_scale(step=(41, 1))
async def test_an_answer_that_is_cut_after_byte_n_is_whole_and_generated_once(
    serve: Serve, judge: Judge, reset: bool, step: int
) -> None:
    """Guards resuming after the cursor, for the reader who has had so much and no more: of the head, of a frame's id,
    of the end; and the key, for the one who has not even been told where its answer is.
    """
    server = serve(echo_rate=500)
    with CuttingProxy(server.port) as proxy:
        proxy.reset = reset
        async with judge(f"cut at every byte of an answer, with a {'RST' if reset else 'FIN'}", "") as oracle:
            oracle.url = f"http://127.0.0.1:{proxy.port}"
            first = oracle.ask(WORDS)
            await oracle.until(lambda: first.end)
            await asyncio.sleep(0)
            whole = proxy.delivered
            assert whole > 1000
            turns = asyncio.Semaphore(AT_ONCE)

            async def cut_at(place: int) -> None:
                async with turns:
                    reader = oracle.ask(WORDS, at=place)
                    await oracle.until(lambda: reader.end)

            await asyncio.gather(*(cut_at(place) for place in range(0, whole, step)))
            oracle.count.trials += len(range(0, whole, step))
            await oracle.check()
            assert {stream.state for stream in oracle.streams} == {"completed"}
            assert oracle.count.connections > 1.5 * len(oracle.streams), "few were cut"
