"""The default engine: one SQLite file that the processes of one host share, nothing to install.

**The life of a token.** A producer calls `SqliteWriter.append` (`producer`). The entries are added to the stream's
pending `Append` in the `WriteQueue`, which hands everything that has gathered to the `WriterThread` (`writer`): at the
end of this turn of the event loop if somebody waits for it, else 10 ms after the last time. The thread commits all of
it as one *batch*, a row of the table ``journal`` (`commands`, `file_format`), and calls the event loop back. There
`Append.committed` extends the `Stream` and wakes its readers: nothing is shown before. In other processes a look finds
the batch (`follower`), up to 20 ms later, and extends their `Stream`.

**States of a stream.** *running*: its row has no body, its entries are in batches, and its process has a
`SqliteWriter`. *ended*: the terminal entry is in a batch; everybody may read it. *compacted*: the entries are in the
row, and its batches go with the last stream that they hold. *deleted*: the row and its keys are gone; who reads it goes
on. An end that could not be written was shown all the same, and is *deferred*: it is tried again with every heartbeat.

**Threads.** The event loop owns all streams, writers and the queue. Three threads have a connection each, and nothing
else in common: the *writer* commits, the *reader* loads rows, finds keys and looks for the dead, the *follower* looks
at what others have written. `SqliteEngine` calls into them with ``run_in_executor`` or the queue; they answer with
``call_soon_threadsafe``. So a slow disk delays commits and never the loop, and reading never delays a commit.
Checkpoints are done in a fourth (`tickertape.sqlite.upkeep`).

**Several processes** use one file, and nothing but the file: there are no messages. Each has an *epoch*, its row in
``producer``, and a lock on a file of its own (`leases`). Every batch is inserted *from* that row: who was taken for
dead has none, and writes nothing. Stops, places in the line and the times at which somebody read are columns of the
stream's row (`SetFlag`), which the others look at.

**Idle is idle.** Heartbeats, looks and the search for the dead run only while the engine is *active*: while streams are
produced here, or read from another process. A process without streams needs no heartbeat, for nobody waits for it. What
makes it active is an event in this process itself, `create` or `get`; the first `get` looks for the dead before it
answers.

**What a crash leaves**: batches of streams that were not compacted, all of them whole, for a batch is a transaction.
Whoever opens the file next, or a process that notices, keeps what was committed, ends what had not ended as *lost*, and
compacts all of it. With ``synchronous=NORMAL`` a killed process loses nothing that was committed; a power cut may lose
the last batches, never their order.

Read on in this order: `file_format` (what is on the disk), `commands` (what is done to it), `writer` (by whom and
when), `producer` (for whom), `follower` (who sees it elsewhere), `leases` (who lives), `engine` (all together).
"""
