"""Closing a blocking event source from another thread."""

from __future__ import annotations

import threading

from faults import server as faults
from tickertape.client import EventSource


def closing_ends_the_wait_for_a_head(server: faults.FaultServer) -> faults.Script:
    """Close a source while a thread waits for the head of an answer that never comes; the thread must end."""
    asked = threading.Event()

    def silent(connection: faults.Connection) -> None:
        asked.set()
        faults.never_answering(connection)

    script = server.serve(silent)
    source = EventSource(script.url)
    reader = threading.Thread(target=lambda: list(source))
    reader.start()
    assert asked.wait(5)
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    return script
