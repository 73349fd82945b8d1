"""Images in an answer, as OpenRouter's ``images`` have them."""

from __future__ import annotations

from typing import Any


def image_of(image: Any) -> dict[str, Any] | None:
    """Return a picture as OpenRouter's ``images`` have it; None if it has neither data nor an address."""
    if isinstance(image, str):
        return {"type": "image_url", "image_url": {"url": _as_url(image, "")}}
    if not isinstance(image, dict):
        return None
    given = image.get("image_url", image.get("url"))
    if isinstance(given, str):
        given = {"url": given}
    if not (isinstance(given, dict) and isinstance(given.get("url"), str)):
        names = ("b64_json", "data", "image", "base64")
        data = next((value for name in names if (value := image.get(name)) and isinstance(value, str)), "")
        if not data:
            return None
        given = {"url": _as_url(data, str(image.get("mime_type") or image.get("media_type") or ""))}
    rest = ("image_url", "url", "type", "index", "b64_json", "data", "image", "base64")
    return {"type": "image_url", "image_url": given} | {k: v for k, v in image.items() if k not in rest}


def _as_url(data: str, kind: str) -> str:
    return (
        data
        if data[:8].lower().startswith(("data:", "http:", "https:"))
        else f"data:{kind or 'image/png'};base64,{data}"
    )
