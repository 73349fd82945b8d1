"""The paced upstream of the gateway benchmark: OpenAI's chunks from one epoll loop, so that it costs next to nothing.

Every POST is answered with chunks at ``rate`` tokens a second, the first one at once, until the other side closes. A
GET lists one model. ``python -m tickertape.testing.upstream`` sends the same shapes, at ten times the cost.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOT = 0.005
"""Seconds. Streams are spread over slots, so that not all are due at once."""


def chunk(delta: dict[str, str]) -> bytes:
    """Return an event of OpenAI's, as one chunk of the body."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795399764, "model": "m"}
    event = f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


OPENING = chunk({"role": "assistant", "content": ""})
TOKENS = chunk({"content": " word"}), chunk({"content": " words"})  # of equal ones LiteLLM breaks off at the hundredth


class Stream:
    """One connection: what it has sent of a request, and since when it is answered."""

    __slots__ = ("asked", "sent", "since", "socket")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked = b""
        self.since = 0.0
        self.sent = 0

    def read(self) -> bool:
        """Read what has come; return whether the connection is still of use."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self.asked += data
        head, found, body = self.asked.partition(b"\r\n\r\n")
        if found and len(body) >= length(head):
            self.asked = b""
            self.answer(head)
        return True

    def answer(self, head: bytes) -> None:
        if head.startswith(b"GET"):
            body = b'{"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x"}]}'
            self.socket.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
        else:
            self.socket.send(HEAD + OPENING + TOKENS[0])
            self.since, self.sent = time.monotonic(), 1

    def write(self, now: float, rate: float) -> bool:
        """Send what is due; return whether the connection is still of use."""
        due = int((now - self.since) * rate) + 1 - self.sent
        if due > 0:
            try:
                self.socket.send(b"".join(TOKENS[number % 2] for number in range(self.sent, self.sent + due)))
            except BlockingIOError:
                return True  # whoever does not read gets it later
            except OSError:
                return False
            self.sent += due
        return True


def length(head: bytes) -> int:
    """Return the Content-Length of a request."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def main() -> None:
    port, rate = int(sys.argv[1]), float(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    streams: dict[int, Stream] = {}

    def drop(number: int) -> None:
        streams.pop(number).socket.close()

    while True:
        for number, _flags in poll.poll(SLOT):
            if number == listener.fileno():
                stream = Stream(listener.accept()[0])
                streams[stream.socket.fileno()] = stream
                poll.register(stream.socket, select.EPOLLIN)
            elif number in streams and not streams[number].read():
                drop(number)
        now = time.monotonic()
        gone = [number for number, stream in streams.items() if stream.since and not stream.write(now, rate)]
        for number in gone:
            drop(number)


if __name__ == "__main__":
    main()
