"""What the rivals send: the bytes that tickertape sends for the same answer, event by event."""

import asyncio

NAME = "3c2276b9840faf17bed9c3f0884be133"
_DATA = (
    '{"id":"chatcmpl-3c2276b9840faf17bed9c3f0884be133","object":"chat.completion.chunk","created":1795399764,'
    '"model":"echo","choices":[{"index":0,"delta":{%s},"logprobs":null,"finish_reason":null}]}'
)
_OPENING = _DATA % '"role":"assistant","content":""'
_TOKEN = _DATA % '"content":" word"'
_NAME, _OPENING_BYTES, _TOKEN_BYTES = NAME.encode(), _OPENING.encode(), _TOKEN.encode()


def event_id(number):
    return f"{NAME}.{number}"


def data(number):
    return _TOKEN if number > 1 else _OPENING


def frame(number):
    return b"id: %b.%d\ndata: %b\n\n" % (_NAME, number, _TOKEN_BYTES if number > 1 else _OPENING_BYTES)


async def numbers(kind, rate):
    """Yield the numbers of the events when they are due, as an application's own generator would."""
    if kind == "unpaced":
        for number in range(1, 2001):
            yield number
    elif kind == "short":
        for number in range(1, 6):
            yield number
    elif kind == "idle":
        yield 1
        await asyncio.sleep(3600)
    else:
        loop = asyncio.get_running_loop()
        start, number = loop.time(), 1
        yield number
        while True:  # the opening and the first token come at once
            number += 1
            yield number
            await asyncio.sleep(max(0, start + (number - 1) / rate - loop.time()))


class Broadcast:
    """One source, a queue for every reader: how it is commonly done."""

    def __init__(self):
        self.queues = set()
        self.task = None

    def begin(self, rate):
        self.task = asyncio.create_task(self._run(rate))

    async def _run(self, rate):
        async for number in numbers("paced", rate):
            for queue in self.queues:
                queue.put_nowait(number)

    async def follow(self):
        queue = asyncio.Queue()
        self.queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.queues.discard(queue)


def query(scope):
    """Return what is asked for: ``?kind=paced&rate=20``."""
    return dict(part.split("=") for part in scope["query_string"].decode().split("&"))
