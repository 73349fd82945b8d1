"""Model files: what their header says, and a sentence for whatever is none."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickertape.errors import SettingsError
from tickertape.providers.gguf import Gguf, read_gguf

from .models import VALUES, gguf, write


def test_the_header_is_read(tmp_path: Path) -> None:
    for version in (2, 3):
        found = read_gguf(write(tmp_path, data=gguf(version=version)))
        # Those in the template, those that end an answer, and those of the usual form; not every control token.
        assert found == Gguf("Tiny Model", "local", 512, ("<|im_start|>", "<turn>", "<|x|>", "</s>"))


def test_a_header_without_the_usual_keys_is_taken(tmp_path: Path) -> None:
    assert read_gguf(write(tmp_path, data=gguf({}))) == Gguf("Tiny-Model", "local", 0, ())


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read \(No such file"):
        read_gguf(tmp_path / "x.gguf")
    with pytest.raises(SettingsError, match="is a folder"):
        read_gguf(tmp_path)


NESTED = struct.pack("<4sIQQQ1sI", b"GGUF", 3, 0, 1, 1, b"k", 9) + struct.pack("<IQ", 9, 1) * 5000
"""An array of an array of an array and so on."""


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"GG", b"<html>", b"GGUF", gguf(version=1), b"PK" + gguf()[2:], NESTED),
        gguf(VALUES | {"tokenizer.ggml.tokens": 7}),
        gguf(VALUES | {"tokenizer.ggml.tokens": [7] * 7}),
        gguf(VALUES | {"tokenizer.ggml.eos_token_id": [1]}),
        gguf(VALUES | {"tiny.context_length": [1]}),
    ],
)
def test_what_is_no_model_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SettingsError, match="is no GGUF file, or only a part of one"):
        read_gguf(write(tmp_path, data=data))


def test_a_file_cut_off_anywhere_before_its_last_tensor_is_noticed(tmp_path: Path) -> None:
    whole = gguf(tensors=3)
    for length in range(len(whole) - 96):
        with pytest.raises(SettingsError, match="only a part"):
            read_gguf(write(tmp_path, data=whole[:length]))


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_damage_never_ends_in_anything_but_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(gguf(VALUES))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 8))
        whole[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    with suppress(SettingsError):
        read_gguf(write(tmp_path, data=bytes(whole)))


@pytest.mark.parametrize(
    ("name", "template", "tools"),
    [
        ("tokenizer.chat_template", "{% if tools %}{{ tools | tojson }}{% endif %}", True),
        ("tokenizer.chat_template.tool_use", "{%- if tools is not none -%}", True),
        ("tokenizer.chat_template", "{{ message['content'] }} of toolsmiths", False),
    ],
)
def test_a_template_says_whether_the_model_calls_tools(tmp_path: Path, name: str, template: str, tools: bool) -> None:
    """Where the template has no place for tools, the runtime leaves them out without a word."""
    assert read_gguf(write(tmp_path, data=gguf({**VALUES, name: template}))).calls_tools is tools
