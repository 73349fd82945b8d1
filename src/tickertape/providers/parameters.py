"""The options of a request on their way into a dialect that has other names for them, or none.

Only fields on a list reach an upstream: `STANDARD`, and what a provider adds in `Provider.fields`. A field may do more
than tune an answer: name another address or key (``api_base``), set headers (``extra_headers``), run a template or code
(``chat_template``, ``logits_processors``), or jump a queue (``priority``). Any other field is a 400 that names it.

What becomes of a listed option that a dialect has no field for is said in one place, `HINTS` and `LACKING`: it is
dropped if the answer means the same without it, for clients send many that nobody asked them for, and else it is a 400
that names it, unless its value asks for nothing. The dialect's own options pass through untouched: its service refuses
them by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tickertape.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tickertape.providers.base import ChatRequest

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "parallel_tool_calls": (True,),
    "tools": ([],),
    "tool_choice": ("auto", "none"),
    "functions": ([],),
    "function_call": ("auto", "none"),
}
"""Values of OpenAI's options that change nothing."""

HINTS = frozenset(
    (
        *("user", "safety_identifier", "metadata", "store", "service_tier"),  # for the service's own records and bill
        *("prompt_cache_key", "prompt_cache_retention", "prediction"),  # for its speed
        *("seed", "verbosity"),  # wishes; OpenAI does not promise them either
    )
)
"""Options without which an answer means the same: dropped by every dialect that has no field for them."""

_ONLY_OPENAI = (
    *("n", "logprobs", "top_logprobs", "logit_bias", "modalities", "audio", "web_search_options"),
    *("functions", "function_call"),
)

LACKING: dict[str, tuple[str, ...]] = {
    "Anthropic": (*_ONLY_OPENAI, "frequency_penalty", "presence_penalty", "response_format"),
    "Gemini": (*_ONLY_OPENAI, "parallel_tool_calls"),
    "Ollama": (*_ONLY_OPENAI, "parallel_tool_calls", "tool_choice"),
    "The model on this machine": ("n", "modalities", "audio", "web_search_options", "functions", "function_call"),
}
"""Options that a dialect has no field for, and without which an answer would not mean what was asked for."""

STANDARD = frozenset(
    (
        *(
            "audio",
            "frequency_penalty",
            "function_call",
            "functions",
            "logit_bias",
            "logprobs",
            "max_completion_tokens",
        ),
        *("max_tokens", "metadata", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty"),
        *("prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier"),
        *("seed", "service_tier", "stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "user", "verbosity", "web_search_options"),
        "reasoning_format",  # Groq's and llama.cpp's; `thinking` reads it for every provider
    )
)
"""The fields of OpenAI's chat completions beside model and messages; every provider takes, translates or refuses them.
"""

SAMPLING = frozenset(
    (
        *("top_k", "top_n_sigma", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "mirostat", "mirostat_tau"),
        *("mirostat_eta", "dynatemp_range", "dynatemp_exponent", "xtc_probability", "xtc_threshold", "dry_multiplier"),
        *("dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers", "samplers", "min_keep"),
        *("grammar", "json_schema", "chat_template_kwargs", "ignore_eos", "cache_prompt", "n_keep", "n_predict"),
    )
)
"""llama.cpp's own options."""

TRANSPORT = frozenset(
    (
        *("extra_headers", "extra_query", "extra_body", "timeout", "headers", "default_headers", "max_retries"),
        *("api_key", "api_base", "base_url", "api_version", "organization", "project", "http_client", "client_args"),
    )
)
"""What any-llm and the services' clients take for the connection, beside the fields of a question."""

_OURS = ("stream", "stream_options", "reasoning_format", "model", "messages")


class Parameters:
    """Hands out a request's options one after the other; what nobody took is left in the end."""

    def __init__(self, request: ChatRequest, service: str) -> None:
        self._given = {name: value for name, value in request.parameters.items() if value is not None}
        self._left = {name: value for name, value in self._given.items() if name not in _OURS}
        self._service = service

    def take(self, *names: str) -> Any:
        """Take options that mean the same, and return the first one's value; None when none was given."""
        values = [self._left.pop(name) for name in names if name in self._left]
        return values[0] if values else None

    def number(self, *names: str) -> int | None:
        """Take a whole number above 0. Raises InvalidRequest for anything else."""
        given = {name: self.take(name) for name in names if name in self._left}
        for name, value in given.items():
            if type(value) is not int or value < 1:
                raise InvalidRequest(f"{name} must be a whole number above 0; it was {value!r:.40}.", param=name)
        return next(iter(given.values()), None)

    def rename(self, into: dict[str, Any], names: dict[str, str]) -> None:
        """Move the options that the dialect has under another name."""
        for ours, theirs in names.items():
            value = self.take(ours)
            if value is not None:
                into[theirs] = value

    def stops(self) -> list[str] | None:
        """Take ``stop``, one string or several. Raises InvalidRequest for anything else."""
        stop = self.take("stop")
        stops = [stop] if isinstance(stop, str) else stop
        if stops is not None and not (isinstance(stops, list) and all(isinstance(one, str) for one in stops)):
            raise InvalidRequest(f"stop must be a string or a list of strings; it was {stop!r:.80}.", param="stop")
        return stops

    def limits(self, into: dict[str, Any], most: str, stops: str) -> None:
        """Move the limits of an answer, its length and its stop words, to these names."""
        given = {most: self.number("max_completion_tokens", "max_tokens"), stops: self.stops()}
        into.update({name: value for name, value in given.items() if value})

    def schema(self) -> dict[str, Any] | None:
        """Take ``response_format`` as a JSON schema, ``{}`` for any object; None for text. Raises InvalidRequest."""
        match self.take("response_format"):
            case None | {"type": "text"}:
                return None
            case {"type": "json_object"}:
                return {}
            case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
                return schema
        raise InvalidRequest(
            "response_format is of type text, json_object or json_schema with a schema.", param="response_format"
        )

    def one_of(self, name: str, allowed: Iterable[str]) -> str | None:
        """Take an option with a few values. Raises InvalidRequest that lists them for any other."""
        value = self.take(name)
        if value is not None and not (isinstance(value, str) and value in allowed):
            raise InvalidRequest(
                f"{name} is one of {', '.join(allowed)} with {self._service}; it was {value!r:.40}.", param=name
            )
        return None if value is None else str(value)

    def tools(self, make: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the tools as the dialect has them. Raises InvalidRequest for tools that are no functions."""
        given = self.take("tools") or []
        functions = []
        for number, tool in enumerate(given if isinstance(given, list) else [given]):
            function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise InvalidRequest(
                    f"tools[{number}] must be a function with a name; {self._service} is asked for nothing else here.",
                    param=f"tools[{number}]",
                )
            functions.append(make(function))
        return functions

    def choice(self) -> tuple[str, str]:
        """Take ``tool_choice`` as auto, none, required or function, with the function's name. Raises InvalidRequest."""
        value = self.take("tool_choice")
        if value is None:
            return "", ""
        if value in ("auto", "none", "required"):
            return value, ""
        function = value.get("function") if isinstance(value, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            return "function", function["name"]
        raise InvalidRequest(
            f'tool_choice is auto, none, required or {{"type": "function", …}}; it was {value!r:.80}.',
            param="tool_choice",
        )

    def refuse(self, *names: str) -> None:
        """Raise InvalidRequest for an option that the dialect cannot honour, unless it has no effect or is a hint."""
        calls = bool(self._given.get("tools"))
        for name in names:
            value = self.take(name)
            if value is None or name in HINTS or value in _NEUTRAL.get(name, ()):
                continue
            if calls or name != "parallel_tool_calls":
                raise lacks(self._service, name)

    def rest(self) -> dict[str, Any]:
        """Return what is left, the dialect's own options, once those are settled that it has no field for."""
        self.refuse(*LACKING[self._service], *HINTS)
        return self._left


def lacks(service: str, name: str) -> InvalidRequest:
    """Return the refusal of an option that a service has nothing like."""
    return InvalidRequest(
        f"{service} has nothing like {name}; leave it out, or choose a model of another service.",
        code="unsupported_parameter",
        param=name,
    )
