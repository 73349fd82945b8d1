"""docs/truth.md: the table of our own cells, and beside it what the rivals made of the same faults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tickertape.providers.dialects import DIALECTS
from tickertape.testing.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tickertape.testing.faults import Fault

    from .cells import Cell

PATH = Path(__file__).parents[2] / "docs" / "truth.md"
BEGIN, END = "<!-- ours: written by the tests -->", "<!-- end of ours -->"

NAMES = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Gemini", "ollama": "Ollama"}

HEAD = """\
# What happens when the upstream misbehaves

An upstream of our own (`python -m tickertape.testing.upstream --list`) does on purpose what real ones do by accident.
Each row is one fault, in four dialects. A cell says how the answer ends in the log, and so on every route, in the page
and in the clients: **completed** with its finish reason, **incomplete** (the upstream ended without saying that it was
done) or **failed**, and the HTTP status that a caller gets who is told before the first byte; 200 means that the answer
had begun, and its last event says how it ended. Then, how much of the text is kept: all, the half that had come, or
none because none came. The tests check every cell and fail when this file says anything else; `make truth` writes it
anew.

One row needs its reasons. `no-marker` is an answer that gave its reason to end, and whose body then ended as HTTP says,
without the dialect's last marker. In Anthropic's, Gemini's and Ollama's dialect that is **incomplete**: their
documentation makes one message the end (`message_stop`; a real `finishReason`; `done: true`), their servers always send
it, and what lacks it was cut by somebody between. In OpenAI's it is **completed**: there the finish reason is the
model's word that it is done, while `[DONE]` only says that nothing more comes, and many servers of that dialect never
send it; to call all of their answers broken would be as untrue as the opposite. So the reason alone is not enough
either: it must be one that is known to mean a whole answer (`unknown-reason`), no text may come after it
(`early-reason`), no error (`error-after-reason`), and the body must come to its proper end. The SDKs below take it too.

What comes before any upstream is the same for all dialects, for they share the connection: a refused connection, a
name that does not resolve and a failed TLS handshake are **failed**, 502; a connection that nobody accepts is
**failed**, 504.
"""


def kept(fault: Fault, text: str) -> str:
    """Return how much of the text there is."""
    for amount in ("all", "half", "none"):
        if text == expected(fault, amount):
            return amount
    return f"{len(text)} characters"


def expected(fault: Fault, amount: str) -> str:
    """Return that much of the fault's text."""
    from tickertape.testing.answer import WORDS

    return {"all": fault.text or "".join(WORDS), "half": "".join(WORDS[: len(WORDS) // 2]), "none": ""}[amount]


def status(cell: Cell) -> int:
    """Return the HTTP status that a caller gets: that of the error if nothing came before it."""
    return cell.end.status if cell.end.error is not None and not (cell.text or cell.reasoning or cell.calls) else 200


def show(cell: Cell, fault: Fault) -> str:
    """Return a cell in words."""
    why = f" ({cell.end.finish_reason})" if cell.end.finish_reason else ""
    again = f", asked {cell.retried + 1} times" if cell.retried else ""
    return f"{cell.end.state}{why}, {status(cell)}, {kept(fault, cell.text)}{again}"


def ours(cells: Mapping[tuple[str, str], Cell]) -> str:
    """Return our own table as Markdown."""
    lines = [f"| fault | the upstream … | {' | '.join(NAMES.values())} |", "| --- " * (2 + len(NAMES)) + "|"]
    for name, fault in FAULTS.items():
        row = [show(cells[dialect, name], fault) for dialect in DIALECTS]
        lines.append(f"| `{name}` | {fault.says} | {' | '.join(row)} |")
    return "\n".join([f"{len(FAULTS)} faults.\n", *lines])


def read() -> tuple[str, str]:
    """Return what the file says of us, and what comes after it."""
    text = PATH.read_text("utf-8") if PATH.exists() else ""
    _head, _begin, rest = text.partition(BEGIN)
    table, _end, rivals = rest.partition(END)
    return table.strip(), rivals.strip()


def write(table: str, rivals: str) -> None:
    """Write the file."""
    PATH.write_text(f"{HEAD}\n{BEGIN}\n\n{table}\n\n{END}\n\n{rivals.strip()}\n", "utf-8")
