"""Conversations: what a turn costs, and how words are found in all that was said, beside SQLite's full-text index.

One process, one file a contestant; the least of several rounds is shown, as Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import describe
from tickertape.conversations.models import ConversationLimits, MessageRequest, NewMessage, Outcome
from tickertape.conversations.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tickertape.conversations.sql_store import SqlStore

CONFESSION = """\
What this does not show, first. One small machine with other work on it; the file is in the page cache. The words are
random letters with the frequencies of a language (Zipf), of one owner. The two indexes hold the text only, without the
tree, the titles and SQLAlchemy, and tell which conversations match; tickertape's row is its whole list: sorted,
counted, with the place found. A word index finds whole words only: no parts, and nothing in languages without spaces.
"""

ROUNDS = 3
EACH = 20
"""Messages in a conversation."""

_ids = (f"{number:032x}" for number in itertools.count())


def vocabulary(dice: random.Random) -> list[str]:
    """Return words, the frequent ones first."""
    letters = "abcdefghijklmnopqrstuvwxyzäöü"
    return ["".join(dice.choices(letters, k=dice.randint(2, 10))) for _ in range(20_000)]


def texts(dice: random.Random, words: list[str], count: int) -> Iterator[str]:
    """Return what is said: questions and answers in turn."""
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(words))))
    for number in range(count):
        yield " ".join(
            dice.choices(words, cum_weights=weights, k=dice.randint(*((100, 600) if number % 2 else (5, 60))))
        )


def least(call: Callable[[], Any]) -> float:
    """Return the seconds that it takes when nothing disturbs it."""
    took = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return min(took)


def conversations(path: Path, said: list[str]) -> tuple[float, SqlStore]:
    """Keep all that is said as turns; return the CPU seconds a turn, and the store."""
    store, conversation = SqliteDatabase(path).open(ConversationLimits()), ""
    start = time.process_time()
    for number in range(0, len(said), 2):
        conversation = next(_ids) if number % EACH == 0 else conversation
        messages = [NewMessage(said[number], next(_ids))]
        asked = MessageRequest(
            action="next", conversation=conversation, messages=messages, message=next(_ids), stream=next(_ids)
        )
        store.finalize_message(
            store.prepare_answer("me", asked).stream, Outcome(state="completed", text=said[number + 1])
        )
    return (time.process_time() - start) / (len(said) / 2), store


def index(path: Path, said: list[str], tokenizer: str) -> tuple[float, Callable[[str], Any]]:
    """Put all that is said into an index; return the CPU seconds a turn, and how to ask it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE message (no INTEGER PRIMARY KEY, chat INTEGER, content TEXT)")
    connection.execute(f"CREATE VIRTUAL TABLE words USING fts5(content, content='', tokenize='{tokenizer}')")
    start = time.process_time()
    for number in range(0, len(said), 2):
        connection.execute("BEGIN IMMEDIATE")
        for no in (number, number + 1):
            connection.execute("INSERT INTO message VALUES (?, ?, ?)", (no, no // EACH, said[no]))
            connection.execute("INSERT INTO words (rowid, content) VALUES (?, ?)", (no, said[no]))
        connection.execute("COMMIT")
    query = "SELECT DISTINCT chat FROM message WHERE no IN (SELECT rowid FROM words WHERE words MATCH ?)"
    return (time.process_time() - start) / (len(said) / 2), lambda word: connection.execute(
        query, (f'"{word}"',)
    ).fetchall()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a first impression")
    count = 1_000 if parser.parse_args().quick else 10_000
    dice = random.Random(1)
    words = vocabulary(dice)
    said = list(texts(dice, words, count))
    size = sum(len(text.encode()) for text in said)
    wanted = {"a frequent word": words[3], "a rare word": words[5000], "no word": "zzzzqqq"}
    print(
        f"# Conversations\n\n{CONFESSION}\n{describe()}, SQLite {sqlite3.sqlite_version}; {count:,} messages, ", end=""
    )
    print(f"{size / 1e6:.1f} MB.\n\n| | CPU-ms a turn | file / text | {' | '.join(wanted)} |")
    print(f"| --- | --- | --- |{' --- |' * len(wanted)}")
    with tempfile.TemporaryDirectory(prefix="tickertape-bench-") as folder:
        rows: list[tuple[str, Path, float, Callable[[str], Any]]] = []
        cost, store = conversations(Path(folder) / "chats.db", said)
        rows.append(("tickertape, LIKE", Path(folder) / "chats.db", cost, lambda word: store.list_page("me", word)))
        for tokenizer in ("unicode61", "trigram"):
            path = Path(folder) / f"{tokenizer}.db"
            rows.append((f"FTS5 {tokenizer}, bare", path, *index(path, said, tokenizer)))
        for name, path, cost, search in rows:
            times = [f"{least(lambda ask=search, word=word: ask(word)) * 1000:.1f} ms" for word in wanted.values()]
            sizes = sum(file.stat().st_size for file in Path(folder).glob(f"{path.name}*") if "shm" not in file.name)
            print(f"| {name} | {cost * 1000:.2f} | {sizes / size:.1f} | {' | '.join(times)} |")
            sys.stdout.flush()
        store.close()


if __name__ == "__main__":
    main()
