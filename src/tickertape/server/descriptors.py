"""File descriptors: every connection takes one, and so does every question to an upstream."""

from __future__ import annotations

import logging

logger = logging.getLogger("tickertape")

MOST = 1 << 20
"""As many as are ever asked for. Some systems allow a billion, and then whatever closes all that a process may have,
before another program is started, takes minutes."""

KEPT = 64
"""For files, the log, listening sockets and the like."""

_UNKNOWN = 512
"""Where the system has no such limit, as Windows: as many as its ``select`` can watch."""


def raise_limit() -> None:
    """Raise this process's limit of open descriptors as far as it may without rights."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError) as error:  # macOS has a further limit, which it does not tell here
            logger.warning("The limit of %d open files cannot be raised to %d: %s", soft, wanted, error)


def most_connections() -> int:
    """Return how many connections the limit of descriptors has room for: each may need one to an upstream, too."""
    try:
        import resource
    except ImportError:  # Windows
        return _UNKNOWN // 2
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = MOST if soft == resource.RLIM_INFINITY else soft
    return max(1, (descriptors - KEPT) // 2)
