"""Small GGUF files, written as the specification says: enough for a header, not for an answer."""

import struct
from pathlib import Path
from typing import Any


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    kind = 8 if isinstance(value[0], str) else 5
    items = (_string(item) if kind == 8 else struct.pack("<i", item) for item in value)
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(items)


VALUES: dict[str, Any] = {
    "general.architecture": "tiny",
    "general.name": "Tiny Model",
    "tiny.context_length": 512,
    "tokenizer.ggml.tokens": ["<s>", "</s>", "<|im_start|>", "<turn>", "<file>", "hello", "<|x|>"],
    "tokenizer.ggml.token_type": [3, 3, 3, 3, 3, 1, 3],
    "tokenizer.ggml.eos_token_id": 1,
    "tokenizer.chat_template": "{{ '<turn>' + message['content'] }}",
}


def gguf(values: dict[str, Any] | None = None, *, version: int = 3, tensors: int = 1) -> bytes:
    """Return a GGUF file's bytes."""
    values = VALUES if values is None else values
    head = struct.pack("<4sIQQ", b"GGUF", version, tensors, len(values))
    pairs = b"".join(_string(name) + _value(value) for name, value in values.items())
    described = (_string(f"t{n}") + struct.pack("<IQIQ", 1, 8, 0, 32 * n) for n in range(tensors))
    return head + pairs + b"".join(described) + bytes(64 + 32 * tensors)


def write(folder: Path, name: str = "Tiny-Model.gguf", data: bytes | None = None) -> Path:
    """Write a model file and return its path."""
    path = folder / name
    path.write_bytes(gguf() if data is None else data)
    return path
