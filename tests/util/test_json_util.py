"""Whatever somebody else wrote as JSON, reading it raises nothing that is not foreseen."""

from __future__ import annotations

import math

import msgspec
import pytest

from tickertape.util.json_util import UNREADABLE, loads

DEEP = b"[" * 100_000


@pytest.mark.parametrize("written", [DEEP, b'{"a": "\xff"}', b'{"a": ', b"", b"what?"])
def test_what_is_no_json_stays_as_it_is_or_is_an_error_with_a_name(written: bytes) -> None:
    assert loads(written) is written
    with pytest.raises(UNREADABLE):
        msgspec.json.decode(written)


def test_what_only_some_take_for_json_is_read() -> None:
    assert loads('"\\ud800"') == "\ud800"
    assert math.isnan(loads("NaN"))
