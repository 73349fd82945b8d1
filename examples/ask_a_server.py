"""Ask any OpenAI-compatible server: python ask_a_server.py URL QUESTION."""

import asyncio
import sys

import tickertape


async def main(url: str, question: str) -> None:
    async with tickertape.aask(url, question) as answer:
        try:
            async for text in answer:
                print(text, end="", flush=True)
        except tickertape.IncompleteStream as error:
            print(f"\n(cut off after {len(error.text)} characters)")
        except tickertape.AnswerFailed as error:
            print(f"\n(failed: {error})")
        else:
            print(f"\n({answer.state}: {answer.finish_reason})")


asyncio.run(main(sys.argv[1], sys.argv[2]))
