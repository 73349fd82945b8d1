"""Provider to log: producing answers, detached from every connection.

A `Generation` is one answer. It has one task, and all of this package runs on the event loop's thread.

===========  ===============================================================  =====================================
phase        what happens                                                     what an interruption does
===========  ===============================================================  =====================================
beginning    `Engine.create` commits the stream; a caller waits for that      it is noted; nothing is produced then
producing    it waits in the `ProviderQueue`, or runs `Provider.answer`       cancels that, and closes the sink
ending       how it ended is decided; `StreamWriter.finish` commits the end   nothing: it comes too late
===========  ===============================================================  =====================================

Where there is neither a key nor a line, the provider is asked while the stream is being created, for both take time.
What it pushes is kept until there is a stream, so that nothing is shown of one that is not in the log, and its call is
cancelled when there will be none. With a key it is not asked before the stream is known to be new.

**Who calls what.** A provider calls `AnswerSink.push`, from any callback, and reads ``behind``. The writer calls
`on_stop` when somebody asked to stop or the log broke. The attendance, the time limit and `Generations` (on shutdown)
interrupt too. All of them go through `Generation._interrupt`: the first cause counts, the sink takes nothing more, and
the task is cancelled in the next turn of the loop, never from within itself. A push never raises into the callback that
it was called from.

**How it ends.** In `Generation._outcome`, and nowhere else: completed if the provider returned after a `Finish`,
incomplete if it returned without one, failed if it raised or a limit was reached, cancelled on a stop, lost when the
process exits. The text that came before is committed with the end or before it.

**What a token costs.** One `push`: the delta is encoded and handed to the writer, which keeps it for the next commit.
No task is woken, and no coroutine or future made. Under load `batching` has it wait for its neighbours.
"""

from tickertape.generation.ends import DAMAGED, LOST
from tickertape.generation.generation import OPENING, Generation, GenerationSpec
from tickertape.generation.generations import Generations
from tickertape.generation.limits import Limits

__all__ = ["DAMAGED", "LOST", "OPENING", "Generation", "GenerationSpec", "Generations", "Limits"]
