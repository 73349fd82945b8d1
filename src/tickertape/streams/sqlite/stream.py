"""A stream of the SQLite engine, as this process sees it."""

from __future__ import annotations

from tickertape.streams.contract import Header, Stream
from tickertape.streams.sqlite import journal


class SqliteStream(Stream):
    """A stream with its number in the file, ``no``, and how its groups begin, ``mark``.

    ``produced_here`` says that this process is or was its producer: the writer tells of what was committed. Everybody
    else is told by the follower.
    """

    __slots__ = ("mark", "no", "produced_here")

    def __init__(self, header: Header, entries: list[bytes], no: int, *, ended: bool = False) -> None:
        super().__init__(header, entries, ended=ended)
        self.no = no
        self.mark = journal.mark(no)
        self.produced_here = False
