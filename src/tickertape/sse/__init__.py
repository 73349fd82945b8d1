"""Bytes to events and back, by the standard. No socket, no clock, no thread."""

from tickertape.sse.decoder import Decoder
from tickertape.sse.encoder import encode, encode_comment
from tickertape.sse.event import Event

__all__ = ["Decoder", "Event", "encode", "encode_comment"]
