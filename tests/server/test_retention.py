"""The retention sweep: what it does is the service's; that it goes on is the server's."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from tickertape.conversations.models import ConversationLimits
from tickertape.errors import EngineUnavailable
from tickertape.server.app import _sweep

if TYPE_CHECKING:
    import pytest


async def test_a_retention_sweep_that_fails_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[Exception] = [EngineUnavailable("The stream log is busy."), RuntimeError("unexpected")]
    done = asyncio.Event()

    class Service:
        limits = ConversationLimits()

        async def expire(self, _retention: float) -> None:
            if failures:
                raise failures.pop(0)
            done.set()

    with caplog.at_level(logging.INFO, "tickertape"):
        sweeping = asyncio.create_task(_sweep(cast("Any", Service()), 0.001))
        await done.wait()
        sweeping.cancel()
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert "Retention sweep failed, it is tried again: The stream log is busy." in caplog.text
