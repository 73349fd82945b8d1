"""Runs in a rival's own environment: asks for every fault through it, and prints what a program that uses it is told.

Arguments: the rival, its base URL, the seconds after which it is said to wait, the faults. One line of JSON for each.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import warnings
from io import BytesIO, TextIOWrapper
from typing import Any

QUESTION: Any = [{"role": "user", "content": "hi"}]
KEY = "sk-none"


async def openai(url: str, model: str, text: TextIOWrapper) -> object:
    from openai import AsyncOpenAI

    finish = None
    async with AsyncOpenAI(base_url=url, api_key=KEY) as client:
        async for chunk in await client.chat.completions.create(model=model, messages=QUESTION, stream=True):
            for choice in chunk.choices:
                text.write(choice.delta.content or "")
                finish = choice.finish_reason or finish
    return finish


async def anthropic(url: str, model: str, text: TextIOWrapper) -> object:
    from anthropic import AsyncAnthropic

    async with (
        AsyncAnthropic(base_url=url, api_key=KEY) as client,
        client.messages.stream(model=model, max_tokens=99, messages=QUESTION) as stream,
    ):
        async for piece in stream.text_stream:
            text.write(piece)
        return (await stream.get_final_message()).stop_reason


async def any_llm(url: str, model: str, text: TextIOWrapper) -> object:
    from any_llm import acompletion

    finish = None
    answer: Any = await acompletion(
        model=model, provider="openai", messages=QUESTION, api_base=url, api_key=KEY, stream=True
    )
    async for chunk in answer:
        for choice in chunk.choices:
            text.write(choice.delta.content or "")
            finish = choice.finish_reason or finish
    return finish


async def litellm(url: str, model: str, text: TextIOWrapper) -> object:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch one from the network
    import litellm as library

    library.suppress_debug_info = True
    finish = None
    answer: Any = await library.acompletion(
        model=f"openai/{model}", messages=QUESTION, api_base=url, api_key=KEY, stream=True
    )
    async for chunk in answer:
        for choice in chunk.choices:
            text.write(choice.delta.content or "")
            finish = choice.finish_reason or finish
    return finish


async def pydantic_ai(url: str, model: str, text: TextIOWrapper) -> object:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    agent = Agent(OpenAIChatModel(model, provider=OpenAIProvider(base_url=url, api_key=KEY)))
    async with agent.run_stream("hi") as run:
        async for piece in run.stream_text(delta=True, debounce_by=None):
            text.write(piece)
        return run.response.finish_reason


async def tell(rival: str, url: str, model: str, patience: float) -> dict[str, Any]:
    """Return what the rival makes of one fault."""
    text = TextIOWrapper(BytesIO(), "utf-8", newline="")  # as standard output is, what is no text cannot be written
    told: dict[str, Any] = {"fault": model}
    try:
        told["finish"] = await asyncio.wait_for(globals()[rival](url, model, text), patience)
        told["told"] = "end"
    except TimeoutError:
        told["told"] = "waits"
    except Exception as error:
        told["told"], told["error"] = "error", type(error).__name__
        status = getattr(error, "status_code", None)
        told["status"] = status if isinstance(status, int) else None
    text.seek(0)
    return told | {"text": text.read()}


async def main(rival: str, url: str, patience: str, *faults: str) -> None:
    """Ask for all of them, a few at a time."""
    await tell(rival, url, "healthy", 600)  # what it imports with the first use may take long
    turns = asyncio.Semaphore(10)

    async def one(fault: str) -> None:
        async with turns:
            print(json.dumps(await tell(rival, url, fault, float(patience))), flush=True)

    await asyncio.gather(*(one(fault) for fault in faults))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    asyncio.run(main(*sys.argv[1:]))
