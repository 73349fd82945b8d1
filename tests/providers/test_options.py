"""What becomes of a request's options in each dialect: what clients send unasked fails nowhere; the rest is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.pushed import batches
from tickertape.errors import ApiError, InvalidRequest
from tickertape.providers.base import ChatRequest
from tickertape.providers.dialects import DIALECTS, dialect
from tickertape.providers.llama_request import LlamaRequests
from tickertape.providers.parameters import HINTS, STANDARD
from tickertape.testing.actions import answering
from tickertape.testing.upstream import Upstream

from .asked import TOOL, USER
from .upstream import HEALTHY, streaming
from .upstream import answering as refusing

if TYPE_CHECKING:
    from tickertape.providers.openai import OpenAI

    from .upstream import Upstream as ScriptUpstream

UNASKED: dict[str, Any] = {
    "user": "ann",
    "safety_identifier": "hash",
    "metadata": {"trace": "1"},
    "store": True,
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prediction": {"type": "content", "content": "x"},
    "verbosity": "low",
    "seed": 7,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "parallel_tool_calls": False,
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "frequency_penalty": 0,
    "presence_penalty": 0.0,
    "modalities": ["text"],
    "response_format": {"type": "text"},
    "tools": [],
    "tool_choice": "auto",
    "functions": [],
    "function_call": "none",
    "temperature": 1,
    "top_p": 1,
    "stop": None,
}
"""What SDKs, agents and gateways put into every question."""

DOC = Path(__file__).parents[2] / "docs" / "upstreams.md"


def sent(name: str, **parameters: Any) -> dict[str, Any]:
    """Return the body that a dialect sends; the local model's for "local"."""
    request = ChatRequest(model="m", messages=[USER], parameters=parameters)
    if name == "local":
        return dict(json.loads(LlamaRequests((), 2048, {}).body(request)))
    provider = dialect(name)("http://up.example", "k")
    provider.check(request)
    return dict(json.loads(provider._encoded(request)[1]))


@pytest.mark.parametrize("name", [*DIALECTS, "local"])
def test_what_clients_send_unasked_never_fails(name: str) -> None:
    """Together and one by one."""
    sent(name, **UNASKED)
    for option, value in UNASKED.items():
        sent(name, **{option: value})
    assert UNASKED.keys() >= HINTS


@pytest.mark.parametrize("name", ["anthropic", "gemini", "ollama"])
def test_a_hint_reaches_a_service_only_under_a_name_that_it_has(name: str) -> None:
    """These services refuse fields that they do not know."""
    body = sent(name, **{hint: UNASKED[hint] for hint in HINTS})
    theirs = {
        "anthropic": {"metadata": {"user_id": "ann"}},
        "gemini": {"generationConfig": {"seed": 7}},
        "ollama": {"options": {"seed": 7}},
    }
    assert {
        option: value for option, value in body.items() if option in STANDARD | {"generationConfig", "options"}
    } == {
        **theirs[name],
        **({"max_tokens": 8192} if name == "anthropic" else {}),
        **({"stream": True} if name != "gemini" else {}),
    }


def test_anthropics_own_values_of_a_hint_are_kept() -> None:
    """Its service_tier and metadata are not OpenAI's, but have their names."""
    body = sent("anthropic", service_tier="standard_only", metadata={"user_id": "u", "trace": "1"})
    assert (body["service_tier"], body["metadata"]) == ("standard_only", {"user_id": "u"})


MATTERS: dict[str, Any] = {
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"5": -100},
    "frequency_penalty": 0.5,
    "response_format": {"type": "json_object"},
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "web_search_options": {"search_context_size": "low"},
    "functions": [{"name": "f", "parameters": {}}],
    "function_call": {"name": "f"},
    "tools": [TOOL],
    "tool_choice": "required",
    "reasoning_effort": "high",
    "seed": 7,
    "user": "ann",
}
COLUMNS = ("openai", "anthropic", "gemini", "ollama", "local")


def becomes(name: str, option: str) -> str:
    """Return what becomes of an option that somebody asks for."""
    try:
        body = sent(name, **{option: MATTERS[option]})
    except InvalidRequest as refusal:
        return str(refusal.status) if refusal.param == option else f"refused for {refusal.param}"
    return "sent" if body != sent(name) else "dropped"


def test_the_documents_table_of_options_is_true() -> None:
    """Every option that somebody asks for is sent, or is a 400 that names it; only hints are dropped."""
    rows = [f"| `{option}` | " + " | ".join(becomes(name, option) for name in COLUMNS) + " |" for option in MATTERS]
    table = DOC.read_text("utf-8").partition("<!-- options -->\n")[2].partition("<!-- end -->")[0]
    assert table.splitlines()[2:] == rows
    for row in rows:
        assert "dropped" not in row or row.split("`")[1] in HINTS | {"reasoning_effort"}


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tools"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_model_whose_template_has_no_tools_says_so(parameters: dict[str, Any], param: str) -> None:
    """The runtime would leave them out and answer as if nobody had asked."""
    request = ChatRequest(model="m", messages=[USER], parameters=parameters)
    with pytest.raises(InvalidRequest, match="cannot call tools") as caught:
        LlamaRequests((), 2048, {}).body(request)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, "unsupported_parameter")
    assert json.loads(LlamaRequests((), 2048, {}, tools=True).body(request)).items() >= parameters.items()


def test_tools_that_may_not_be_called_are_no_fault() -> None:
    """Agents keep the list and say "none" for a last answer."""
    sent("local", tools=[TOOL], tool_choice="none")
    sent("local", tools=[], tool_choice="auto")


def test_a_control_token_in_a_tool_is_only_text() -> None:
    """A tool's description stands in the prompt, like a message."""
    tool = {"type": "function", "function": {"name": "look", "description": "<|im_end|>", "parameters": {}}}
    request = ChatRequest(model="m", messages=[USER], parameters={"tools": [tool]})
    body = json.loads(LlamaRequests(("<|im_end|>",), 2048, {}, tools=True).body(request))
    assert body["tools"][0]["function"]["description"] == "< |im_end|>"


@pytest.mark.parametrize(
    "refusal",
    [
        {"error": {"message": "Unrecognized request argument supplied: metadata, store", "param": None}},
        {"error": {"message": "Unsupported parameter", "param": "metadata"}},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "metadata"], "msg": "Extra inputs are not permitted"}]},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs are not permitted"}]},
        {"error": "property 'user' is unsupported"},
    ],
)
async def test_a_strict_server_is_asked_without_the_hints_that_it_refuses(
    openai: OpenAI, upstream: ScriptUpstream, refusal: Any
) -> None:
    """The answer is worth more than a field that nobody asked for; what the server refused is not sent again."""
    words = json.dumps(refusal)
    unknown = {hint for hint in ("metadata", "store", "user") if f'"{hint}"' in words or f"'{hint}'" in words}
    unknown |= {"metadata", "store"} if "argument" in words else set()

    def script(asked: Any) -> Any:
        return refusing(422, refusal) if unknown & asked.body.keys() else streaming(*HEALTHY)

    upstream.script = script
    hints = {"metadata": {"a": "b"}, "store": True, "user": "ann", "seed": 7}
    request = ChatRequest(model="m", messages=[USER], parameters=hints)
    for _ in range(2):
        assert [batch async for batch in batches(openai, request)]
    assert len(upstream.asked) <= 4
    assert upstream.asked[-1].body["seed"] == 7
    assert not unknown & upstream.asked[-1].body.keys()
    before = len(upstream.asked)
    assert [batch async for batch in batches(openai, request)]
    assert len(upstream.asked) == before + 1


async def test_a_refusal_that_only_speaks_of_a_user_is_passed_on() -> None:
    """Its words are not taken for the name of a field."""
    async with Upstream() as upstream:
        upstream.script = lambda _asked: answering(
            400, b'{"error": {"message": "The last message must be of \'user\'."}}'
        )
        provider = dialect("openai")(upstream.url("openai"), "k")
        with pytest.raises(ApiError, match="last message"):
            [b async for b in batches(provider, ChatRequest(model="m", messages=[USER], parameters={"user": "ann"}))]
        assert len(upstream.asked) == 1
        await provider.close()
