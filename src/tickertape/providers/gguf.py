"""What a GGUF model file says of itself: read before a runtime is asked to load it.

The header is a list of typed key-value pairs (https://github.com/ggml-org/ggml, docs/gguf.md). A file that is none, or
was cut off, is told apart here, with a sentence; the runtime would only say that it failed.
"""

from __future__ import annotations

import mmap
import re
import struct
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_CONTROL = 3
"""The type of tokens that steer the model and are never text."""

_TEMPLATE = "tokenizer.chat_template"
"""The template; others may stand beside it under longer names, such as one for tools."""

_MOST = 1 << 24
"""Entries of an array, and bytes of a string: far beyond any vocabulary."""


class Gguf(msgspec.Struct, frozen=True):
    """The header of a model file. ``control_tokens`` are those that the model's chat template is made of."""

    name: str
    organization: str
    context_length: int
    control_tokens: tuple[str, ...]
    calls_tools: bool = False
    """Whether its chat template has a place for tools."""


def read_gguf(path: Path) -> Gguf:
    """Return the header of a GGUF file. Raises SettingsError, one sentence, when it is missing or none."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _header(data, path)
    except IsADirectoryError:
        raise SettingsError(f"The model {path} is a folder; name the GGUF file in it.") from None
    except OSError as error:
        raise SettingsError(f"The model {path} cannot be read ({error.strerror or error}).") from None
    except (ValueError, TypeError, IndexError, KeyError, RecursionError, struct.error):
        # An empty file is a ValueError of mmap.
        raise SettingsError(
            f"The model {path} is no GGUF file, or only a part of one. Download it again, or name another."
        ) from None


def _header(data: mmap.mmap, path: Path) -> Gguf:
    magic, version, tensors, pairs = struct.unpack_from("<4sIQQ", data)
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(magic)
    reader = _Reader(data, 24)
    values = dict(reader.pair() for _ in range(min(pairs, _MOST)))
    begin = 0
    for _ in range(min(tensors, _MOST)):
        begin = max(begin, reader.tensor())
    if reader.at + begin >= len(data):
        raise ValueError("cut off")
    kind = values.get("general.architecture", "")
    return Gguf(
        name=str(values.get("general.name") or path.stem),
        organization=str(values.get("general.organization") or "local"),
        context_length=int(values.get(f"{kind}.context_length") or 0),
        control_tokens=_control_tokens(values),
        calls_tools=any(
            re.search(r"\btools\b", str(value)) for name, value in values.items() if name.startswith(_TEMPLATE)
        ),
    )


def _control_tokens(values: dict[str, Any]) -> tuple[str, ...]:
    """Return the tokens with which a text could pretend to be another message, longest first."""
    tokens: list[str] = values.get("tokenizer.ggml.tokens", [])
    kinds: list[int] = values.get("tokenizer.ggml.token_type", [])
    template = str(values.get(_TEMPLATE, ""))
    ends = {values.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "eot")}
    found = {
        token
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=False))
        if kind == _CONTROL and token and (token in template or number in ends or token.startswith("<|"))
    }
    return tuple(sorted(found, key=lambda token: (-len(token), token)))


class _Reader:
    """Reads one value after the other."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self._data, self.at = data, at

    def pair(self) -> tuple[str, Any]:
        return self._string(), self._value(self._scalar("<I"))

    def tensor(self) -> int:
        """Pass over a tensor's description; return where its data begin."""
        self._string()
        dimensions = self._scalar("<I")
        self.at += 8 * dimensions + 4  # their sizes, and the type
        return int(self._scalar("<Q"))

    def _scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self.at)
        self.at += struct.calcsize(form)
        return value

    def _string(self) -> str:
        size = self._scalar("<Q")
        begin, self.at = self.at, self.at + size
        if size > _MOST or self.at > len(self._data):
            raise ValueError(size)
        return self._data[begin : self.at].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(_SCALARS[kind])
        inner, count = self._scalar("<I"), self._scalar("<Q")
        if count > _MOST:
            raise ValueError(count)
        if inner in _SCALARS:
            form = f"<{count}{_SCALARS[inner][1]}"
            values = struct.unpack_from(form, self._data, self.at)
            self.at += struct.calcsize(form)
            return list(values)
        return [self._value(inner) for _ in range(count)]
