"""The name plate: what `import tickertape` offers, and what it costs."""

import subprocess
import sys

import pytest

import tickertape


def test_every_public_name_is_there_and_documented():
    assert sorted(tickertape.__all__) == tickertape.__all__
    for name in tickertape.__all__:
        assert (getattr(tickertape, name).__doc__ or "").strip(), f"{name} has no docstring"


def test_the_public_names_are_these_and_no_others():
    assert tickertape.__all__ == [
        "ANYONE",
        "Answer",
        "AnswerFailed",
        "AsyncAnswer",
        "AsyncEventSource",
        "ClientError",
        "ConnectionFailed",
        "Decoder",
        "Event",
        "EventSource",
        "EventTooLarge",
        "Failure",
        "IncompleteStream",
        "StreamEvent",
        "StreamHandle",
        "StreamLimits",
        "Streams",
        "TickertapeError",
        "aask",
        "ask",
        "encode",
        "encode_comment",
    ]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="EventSauce"):
        tickertape.EventSauce  # noqa: B018


def test_importing_the_codec_imports_no_http_library():
    code = (
        "import sys, tickertape; tickertape.Decoder(); "
        "print(*sorted({'aiohttp', 'urllib3', 'uvicorn', 'asyncio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
