"""Whatever fields a chunk carries, each is found again wherever an answer is read, or the answer is not completed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tickertape import Decoder
from tickertape.client.transcript import EventTranscript
from tickertape.deltas import Delta, End, Finish, State, encode_delta
from tickertape.dialects.openai_chat import ChunkView, StreamTranscript
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.upstream_errors import UpstreamErrors
from tickertape.streams.contract import Header, Stream

HEADER = Header(id="3c2276b9840faf17bed9c3f0884be133", owner="ann", model="m", created=1)

word = st.text("abcdefghijklmnopqrstuvwxyz", min_size=6, max_size=6).map(lambda text: f"w{text}")
"""Words that can be found again: long enough to be no part of anything else."""


def parts(kind: str, field: str) -> st.SearchStrategy[Any]:
    return word.map(lambda text: [{"type": kind, field: text}])


url = word.map(lambda text: f"https://example.org/{text}")
call = st.builds(
    lambda id_, name, given, extra: [
        {"index": 0, "id": id_, "type": "function", "function": {"name": name, "arguments": given}, **extra}
    ],
    *(word, word, word | st.dictionaries(word, word, min_size=1, max_size=2)),
    st.just({}) | word.map(lambda text: {"extra_content": {"google": {"thought_signature": text}}}),
)
custom = st.builds(
    lambda id_, name, given: [{"id": id_, "type": "custom", "custom": {"name": name, "input": given}}], *[word] * 3
)
DELTA: dict[str, st.SearchStrategy[Any]] = {
    "content": word | parts("text", "text") | parts("thinking", "thinking") | parts("reference", "reference_ids"),
    "reasoning_content": word,
    "reasoning": word,
    "reasoning_text": word,
    "thinking": word | st.fixed_dictionaries({"content": word}),
    "reasoning_details": st.lists(
        st.fixed_dictionaries({"type": st.just("reasoning.text"), "text": word, "signature": word})
        | st.fixed_dictionaries({"type": st.just("reasoning.encrypted"), "data": word}),
        min_size=1,
        max_size=3,
    ),
    "refusal": word,
    "tool_calls": call | custom,
    "function_call": st.fixed_dictionaries({"name": word, "arguments": word}),
    "annotations": st.builds(
        lambda u, t: [{"type": "url_citation", "url_citation": {"url": u, "title": t}}], url, word
    ),
    "images": url.map(lambda text: [{"type": "image_url", "image_url": {"url": text}}]),
    "audio": st.fixed_dictionaries({"id": word, "data": word, "transcript": word}),
    "odd_field": word | st.lists(word, min_size=1) | st.fixed_dictionaries({"a": word}),
}
CHOICE = {
    "logprobs": word.map(lambda text: {"content": [{"token": text, "logprob": -0.5}]}),
    "odd_choice_field": word,
}
CHUNK = {
    "citations": st.lists(url, min_size=1, max_size=2),
    "search_results": st.builds(lambda u, t: [{"url": u, "title": t}], url, word),
    "odd_chunk_field": word | st.fixed_dictionaries({"a": word}),
}
chunks = st.builds(
    lambda delta, choice, top: {"choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}], **top},
    st.fixed_dictionaries({}, optional=DELTA),
    st.fixed_dictionaries({}, optional=CHOICE),
    st.fixed_dictionaries({}, optional=CHUNK),
)


def words_of(value: Any) -> set[str]:
    """Return the words that can be found again in a chunk."""
    if isinstance(value, dict):
        return {found for inner in value.values() for found in words_of(inner)} | {k for k in value if _is_word(k)}
    if isinstance(value, list):
        return {found for inner in value for found in words_of(inner)}
    text = value.rpartition("/")[2] if isinstance(value, str) else ""
    return {text} if _is_word(text) else set()


def _is_word(text: str) -> bool:
    return len(text) == 7 and text[0] == "w"


def missing(words: set[str], *texts: str) -> set[str]:
    return {one for one in words if not all(one in text for text in texts)}


@settings(max_examples=150)
@given(chunks)
def test_every_field_of_a_chunk_is_found_in_the_stream_the_answer_the_snapshot_and_the_client(
    chunk: dict[str, Any],
) -> None:
    reader = ChunkReader(UpstreamErrors("up.example"))
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    deltas: list[Delta] = []
    for message in (json.dumps(chunk), json.dumps(end), "[DONE]"):
        deltas += reader.feed(f"data: {message}\n\n".encode())
    deltas += [] if reader.over else reader.feed(b"")
    if reader.error is not None:
        assert not any(isinstance(delta, Finish) for delta in deltas)
        return
    last = End(State.COMPLETED, finish_reason="stop")
    stream = Stream(HEADER, [encode_delta(delta) for delta in (*deltas, last)], ended=True)
    events = Decoder().feed(ChunkView(HEADER).feed(stream.entries, 1))
    client = EventTranscript()
    for event in events:
        client.take(event)
    client.end()
    assert client.state is State.COMPLETED
    gathered = [client.text, client.message(), client.logprobs, client.chunk_fields]
    texts = {
        "stream": "".join(event.data for event in events),
        "whole": json.dumps(StreamTranscript(stream).completion()),
        "snapshot": json.dumps(StreamTranscript(stream).snapshot()),
        "client": json.dumps(gathered),
    }
    for where, text in texts.items():
        assert not missing(words_of(chunk), text), where
