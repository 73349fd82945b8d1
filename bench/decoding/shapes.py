"""What the decoders are fed: the same bytes for everybody, made from a text."""

from __future__ import annotations

TEXT = r"""
A ticker tape types what comes over the wire and keeps the tape . Naïve readers take a cut for the end ; this one
does not . Escapes like \" and \n are part of JSON , and an emoji 🙂 now and then is part of every answer .
""".split()  # noqa: SIM905 - a text reads better than a list
"""Two words in 47 are not ASCII, as in an English answer."""

STREAM_ID = "0123456789abcdef0123456789abcdef"

READS = {"one event": 0, "1 460 B": 1460, "64 KiB": 65536}
"""What a read holds: what one write of the server held, a TCP segment, or what a busy reader finds."""


def _chunk(number: int) -> str:
    """Return one chat completion chunk as OpenAI sends it, some 280 bytes."""
    return (
        '{"id":"chatcmpl-BXk2mJ8QhYw3vT5rN7pL9sD1fG4","object":"chat.completion.chunk","created":1763862000,'
        '"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_34a54ae93c",'
        f'"choices":[{{"index":0,"delta":{{"content":" {TEXT[number % len(TEXT)]}"}},'
        '"logprobs":null,"finish_reason":null}]}'
    )


def _frame(shape: str, number: int) -> tuple[str, str]:
    """Return one event's data and its frame."""
    data = _chunk(number)
    match shape:
        case "OpenAI chunk":
            return data, f"data: {data}\n\n"
        case "OpenAI chunk with id":
            return data, f"id: {STREAM_ID}.{number}\ndata: {data}\n\n"
        case "OpenAI chunk, CRLF":
            return data, f"data: {data}\r\n\r\n"
        case "OpenAI chunk, CR":
            return data, f"data: {data}\r\r"
        case "event + data":
            return data, f"event: content_block_delta\ndata: {data}\n\n"
        case "id + event + data":
            return data, f"id: {number}\nevent: response.output_text.delta\ndata: {data}\n\n"
        case "three data lines":
            lines = [" ".join(TEXT[at : at + 12]) for at in (0, 12, 24)]
            return "\n".join(lines), "".join(f"data: {line}\n" for line in lines) + "\n"
        case "1 MiB of base64":
            data = "aGFuZGZ1" * (2**20 // 8)
            return data, f"data: {data}\n\n"
        case "14 MB of base64":
            data = "aGFuZGZ1" * (14_000_000 // 8)
            return data, f"data: {data}\n\n"
    raise ValueError(shape)


EVENTS = {
    "OpenAI chunk": 2000,
    "OpenAI chunk with id": 2000,
    "OpenAI chunk, CRLF": 2000,
    "OpenAI chunk, CR": 2000,
    "event + data": 2000,
    "id + event + data": 2000,
    "three data lines": 2000,
    "1 MiB of base64": 8,
    "14 MB of base64": 1,
}
"""Every shape, and how many events make one pass."""


def reads(shape: str, read: str) -> tuple[list[bytes], list[str]]:
    """Return the reads of one pass, and the data of the events in them."""
    made = [_frame(shape, number) for number in range(EVENTS[shape])]
    frames = [frame.encode() for _data, frame in made]
    if size := READS[read]:
        whole = b"".join(frames)
        frames = [whole[at : at + size] for at in range(0, len(whole), size)]
    return frames, [data for data, _frame in made]
