"""What an OpenAI-compatible ``GET /models`` lists, and which of it to answer with when nobody chose."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tickertape.providers.base import Model
from tickertape.util.json_util import loads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickertape.providers.upstream_errors import UpstreamErrors

# OpenAI lists 80 models in no useful order, half of which cannot chat. Small, quick and long-lived ones come first.
_NO_CHAT = re.compile(
    r"embed|whisper|tts|dall-e|moderation|image|audio|realtime|transcribe|rerank|davinci|babbage|sora",
    re.IGNORECASE,
)


def read_models(body: bytes, errors: UpstreamErrors) -> list[Model]:
    """Return the models of a listing, in its order. Raises UpstreamError if it is none.

    Besides OpenAI's ``{"data": [{"id": …}]}`` a bare list is taken, which Together sends.
    """
    listing = loads(body)
    entries = listing.get("data") if isinstance(listing, dict) else listing
    if not isinstance(entries, list):
        raise errors.unusable("answered GET /models with what is no list of models. Check the base URL.")
    models = {model.id: model for entry in entries if (model := _model(entry, errors.name)) is not None}
    return list(models.values())


def entries_of(body: bytes, field: str, name: str, errors: UpstreamErrors) -> list[dict[str, Any]]:
    """Return the entries of a listing's ``field`` that have a ``name``. Raises UpstreamError if it is none."""
    listing = loads(body)
    entries = listing.get(field) if isinstance(listing, dict) else None
    if not isinstance(entries, list):
        raise errors.unusable("answered with what is no list of models. Check the base URL and the dialect.")
    return [entry for entry in entries if isinstance(entry, dict) and entry.get(name) and isinstance(entry[name], str)]


def in_order(models: list[Model], default: str | None, owner: str, favourites: Sequence[str]) -> list[Model]:
    """Return the models with the default first: the one given, else the first that a favourite's pattern finds.

    A default that is not listed is served all the same: not every upstream lists its aliases.
    """
    favourite = next((m.id for pattern in favourites for m in models if re.search(pattern, m.id)), None)

    def place(model: Model) -> tuple[bool, bool, bool]:
        return (model.id != default, model.id != favourite, _NO_CHAT.search(model.id) is not None)

    if default and all(model.id != default for model in models):
        models = [Model(id=default, owned_by=owner), *models]
    return sorted(models, key=place)


def _model(entry: Any, owner: str) -> Model | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not entry["id"]:
        return None
    created, owned_by = entry.get("created"), entry.get("owned_by")
    return Model(
        id=entry["id"],
        owned_by=owned_by if isinstance(owned_by, str) and owned_by else owner,
        created=int(created) if isinstance(created, int | float) and not isinstance(created, bool) else 0,
    )
