"""A tape of the SQLite log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.streams.contract import Header, Tape
from tickertape.streams.sqlite import journal

if TYPE_CHECKING:
    from tickertape.streams.sqlite.transaction import Line


class SqliteTape(Tape):
    """A tape with what its producer must know: ``line``, if that is this process, else None.

    ``no`` is the stream's number in the file, ``mark`` how its groups begin. ``told`` is the place in the line that
    other processes were told last.
    """

    __slots__ = ("appended", "line", "mark", "no", "told")

    def __init__(self, header: Header, entries: list[bytes], no: int, *, ended: bool = False) -> None:
        super().__init__(header, entries, ended=ended)
        self.no = no
        self.mark = journal.mark(no)
        self.line: Line | None = None
        self.appended = len(entries)
        self.told = 0
