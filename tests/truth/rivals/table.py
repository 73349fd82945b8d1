"""What the current client libraries tell their users of the same faults, each in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.testing.contents import UNFINISHED
from tickertape.testing.faults import FAULTS
from tickertape.testing.scripts import UNKNOWN
from tickertape.testing.upstream import Upstream

from ..document import kept
from ..npm import beside, installed

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "bench"))
import machine  # noqa: E402

PATIENCE = 30
"""Seconds after which a rival is said to wait: some ask again for a few seconds."""


class Rival(msgspec.Struct, frozen=True):
    """A package, what is installed for it, and the dialect in which it asks. Those of npm are asked by `ai_sdk.mjs`."""

    package: str
    requirement: str
    script: str
    dialect: str = "openai"

    @property
    def of_npm(self) -> bool:
        """Whether it is a package of npm."""
        return self.script.endswith(".mjs")


RIVALS = (
    Rival("openai", "openai", "openai"),
    Rival("anthropic", "anthropic", "anthropic", "anthropic"),
    Rival("any-llm-sdk", "any-llm-sdk[openai]", "any_llm"),
    Rival("litellm", "litellm", "litellm"),
    Rival("pydantic-ai-slim", "pydantic-ai-slim[openai]", "pydantic_ai"),
    Rival("ai", "ai@^7 @ai-sdk/openai-compatible@^3", "ai_sdk.mjs"),
)

WORDS = """\
## The same faults, told by others

Each package is asked for the same faults, with its own defaults, in an environment of its own, and a program that
reads its stream to the end is told: *ends*, as if all were well, with the finish reason that the package reports;
*raises*, with the exception and its HTTP status; or it *waits*: still, after {patience} s. Then, how much text the
program has got by then. **Bold** is what is not true: a cut or broken answer that ends like a whole one, a whole
answer that raises, or text that is lost. Whoever looks can tell `ends (None)` from `ends (stop)`; most programs do
not look. A reason such as `error` or `interrupted` says that the answer is not whole, and is true of one that is not.
All speak OpenAI's dialect here but anthropic. Our timeouts are settings (first token 300 s, between events 120 s);
those who wait here give up later too, openai after 600 s. `ai` is Vercel's AI SDK, with @ai-sdk/openai-compatible;
its program reads all parts of the stream, where an error is a part, shown here as raised. One that reads the text
alone is told of errors by `onError` and the finish reason only. A program in Python writes each piece of text to a
file in UTF-8 as it comes. Where an answer holds something beside its text, this table looks at its text and end alone.

{versions}.
"""

NOT_WHOLE = ("error", "interrupted", "other", "unknown", UNKNOWN, *UNFINISHED.values())
"""Reasons that tell a program that an answer is not whole, or pass on a word that nobody knows."""


def ask(rival: Rival, port: int, names: Sequence[str]) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the package's version, and what it told of each fault."""
    url = f"http://127.0.0.1:{port}" + ("/v1" if rival.dialect == "openai" else "")
    if rival.of_npm:
        version, words = _npm(rival)
    else:
        machine.CACHE = ROOT / ".tools"
        python = machine.venv(f"truth-{rival.package}", (rival.requirement,))
        version = machine.versions(python, [rival.package])[rival.package]
        words = [python, Path(__file__).with_name("asking.py"), rival.script]
    words += [url, str(PATIENCE), *names]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    late = [one["fault"] for one in told if one["told"] == "waits" and FAULTS[one["fault"]].state != "failed"]
    if late:  # none of them keeps a client waiting: what is written of others must not be the fault of this machine
        sys.exit(
            f"{rival.package} was still at {', '.join(late)} after {PATIENCE} s: the machine is too busy. Try again."
        )
    return version, {one["fault"]: one for one in told}


def _npm(rival: Rival) -> tuple[str, list[str | Path]]:
    """Install a package of npm, once, and return its version and what runs its script."""
    home = installed(f"truth-{rival.package}", *rival.requirement.split())
    manifest = home / "node_modules" / rival.package / "package.json"
    script = beside(home, Path(__file__).with_name(rival.script))
    return json.loads(manifest.read_bytes())["version"], ["node", script]


def show(told: dict[str, Any], name: str, dialect: str) -> str:
    """Return a cell; bold if it is not true."""
    fault = FAULTS[name]
    state, amount = fault.state_in(dialect), kept(fault, told["text"])
    match told["told"]:
        case "end":
            words = f"ends ({told['finish']}), {amount}"
            true = (state == "completed") == (told["finish"] not in NOT_WHOLE) and amount == fault.kept
        case "error":
            status = f" {told['status']}" if told["status"] else ""
            words = f"raises {told['error']}{status}, {amount}"
            true = state != "completed" and amount == fault.kept
        case _:
            words, true = f"waits, {amount}", "stall" in name or name == "no-answer"
    return words if true else f"**{words}**"


def table(before: str = "") -> str:
    """Ask all rivals, and return the Markdown. Rows that stand in the table from before are not asked for again."""
    rows = {line.split("`")[1]: line for line in before.splitlines() if line.startswith("| `")}
    names = [name for name in FAULTS if name not in rows]
    columns: list[tuple[Rival, dict[str, dict[str, Any]]]] = []
    versions: list[str] = []
    here = [rival for rival in RIVALS if not rival.of_npm or (shutil.which("node") and shutil.which("npm"))]
    if len(here) < len(RIVALS):
        print("The rivals of npm are left out: there is no node and npm here.", file=sys.stderr)
    for rival in here:
        with Upstream() as upstream:
            version, told = ask(rival, upstream.port, names)
        versions.append(f"{rival.package} {version}")
        columns.append((rival, told))
        print(f"{rival.package} {version}: {len(told)} faults", file=sys.stderr)
    if before and f"\n{', '.join(versions)}.\n" not in before:
        sys.exit(f"The table is of other versions than {', '.join(versions)}: ask for all faults.")
    lines = [
        f"| fault | {' | '.join(rival.package for rival, _told in columns)} |",
        "| --- " * (len(columns) + 1) + "|",
    ]
    for name in names:
        cells = [show(told[name], name, rival.dialect) for rival, told in columns]
        rows[name] = f"| `{name}` | {' | '.join(cells)} |"
    lines += (rows[name] for name in FAULTS)
    head = WORDS.format(patience=PATIENCE, versions=", ".join(versions))
    return "\n".join([head, *lines])
