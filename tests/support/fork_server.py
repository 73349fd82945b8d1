"""Starts tickertape in processes of their own by forking one that has imported it: half a second of CPU less each.

To a test it is `launch`. As a program it takes one message for each process to start: the arguments, the environment
and the folder, with the files that are to be its standard output and error, and a pipe for its report: the process id,
and once it has ended its exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AVAILABLE = sys.platform == "linux"
MESSAGE = 1 << 17
"""Bytes of a message at most; an environment is a few thousand."""

WIDTH = 10
"""Bytes of a number in a report."""


class Forked:
    """A process that was started so: what a test needs of `subprocess.Popen`."""

    def __init__(self, report: int, stdout: TextIO) -> None:
        self.stdout = stdout
        self.returncode: int | None = None
        self._report = report
        self.pid = int(os.read(report, WIDTH))

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ready, _, _ = select.select([self._report], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(f"tickertape {self.pid}", timeout or 0)
            self.returncode = int(os.read(self._report, WIDTH))
            os.close(self._report)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def launch(arguments: Sequence[str], environment: Mapping[str, str], errors: TextIO) -> Forked:
    """Start ``tickertape`` with these arguments."""
    reader, writer = os.pipe()
    report, reporting = os.pipe()
    sent = json.dumps([list(arguments), dict(environment), os.getcwd()]).encode()
    socket.send_fds(_forker(), [sent], [writer, errors.fileno(), reporting])
    os.close(writer)
    os.close(reporting)
    return Forked(report, os.fdopen(reader))


@functools.cache
def _forker() -> socket.socket:
    """Return the way to the process that forks; it is started once, and ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = theirs.fileno()
    # -P: this folder has an http.py
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, str(fd)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[fd],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    theirs.close()

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours


def serve(control: socket.socket) -> list[str]:
    """Fork for each message. Returns in the forked process: the arguments of the program that it is to be."""
    gc.freeze()  # what was imported stays shared between all of them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when the tests' process does
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, files, _, _ = socket.recv_fds(control, MESSAGE, 3)
        if not message:
            sys.exit()
        stdout, stderr, report = files
        if not os.fork():
            break
        for fd in (stdout, stderr, report):
            os.close(fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():  # here and below: this process waits for that one, and tells how it ended
        control.close()
        os.close(stdout)
        os.write(report, b"%10d" % child)
        _, status = os.waitpid(child, 0)
        os.write(report, b"%10d" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.closerange(3, 256)
    sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(fd, "wb", 0), write_through=True) for fd in (1, 2))
    arguments, environment, folder = json.loads(message)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    return ["tickertape", *arguments]


if __name__ == "__main__":
    import tickertape.cli.serve
    import tickertape.conversations.async_store
    import tickertape.conversations.sqlite
    import tickertape.server.run
    import tickertape.streams.sqlite.engine  # noqa: F401 - all that a server imports before it listens
    from tickertape.cli import main

    sys.argv = serve(socket.socket(fileno=int(sys.argv[1])))
    main()
