"""The dialects by name. A dialect's module is imported when a provider of it is made, so that each pays for itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickertape.providers.remote import Remote

DIALECTS = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Gemini", "ollama": "Ollama"}
"""Module and class of each."""


def dialect(name: str) -> type[Remote]:
    """Return the class of a dialect in `DIALECTS`."""
    found: type[Remote] = getattr(import_module(f"tickertape.providers.{name}"), DIALECTS[name])
    return found
