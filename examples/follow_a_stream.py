"""Follow a stream over every cut: python follow_a_stream.py URL."""

import sys

from tickertape import EventSource

with EventSource(sys.argv[1], recover=True, read_timeout=60, on_reconnect=lambda wait: print(wait.reason)) as source:
    for event in source:
        print(event.type, event.id, event.data)
