"""Settings, and what may be set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickertape.errors import SettingsError
from tickertape.server.settings import Settings, tuned


def test_a_setting_and_a_limit_can_be_changed_and_the_rest_stays() -> None:
    before = Settings(data=Path("/x"), api_keys=("a",))
    after = tuned(before, ("heartbeat=3", "limits.running=7", "synchronous=FULL"))
    assert (after.heartbeat, after.limits.running, after.synchronous) == (3.0, 7, "FULL")
    assert (after.data, after.api_keys, after.limits.waiting) == (Path("/x"), ("a",), before.limits.waiting)
    assert tuned(before, ()) == before


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("hart=1", "The names are heartbeat,"),
        ("heartbeat", "NAME=VALUE"),
        ("port=3", "The names are"),
        ("heartbeat=soon", "heartbeat must be a number; it was 'soon'"),
        ("limits.running=1.5", "limits.running must be a whole number; it was '1.5'"),
        ("limits.running=0", "limits.running must be more than 0"),
        ("limits.running=", "limits.running must be a whole number; it was ''"),
        ("retries=-1", "retries must be 0 or more; it was -1"),
        ("grace=-1", "grace must be more than 0"),
        ("retention=inf", "retention must be more than 0"),
        ("synchronous=OFF", "synchronous must be NORMAL or FULL; it was 'OFF'"),
        ("page_disconnect=maybe", "page_disconnect is continue, cancel or abandon_after=SECONDS; it was 'maybe'"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(pair: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        tuned(Settings(), (pair,))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
