"""What a data folder holds, who uses it with which settings, and where it may lie."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from tickertape.errors import SettingsError
from tickertape.streams.sqlite import file_format, leases

LOG_FILE = "tape.db"
"""The stream log's file in the data folder."""

CHATS_FILE = "chats.db"
"""The conversations' file there."""

NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "lustre", "beegfs", "gpfs", "davfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.davfs2", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.ceph"),
}
"""File systems whose files other machines may change, or that lack the locks and the shared memory of a local disk."""


def in_use(data: Path) -> bool:
    """Say whether a process has the stream log open."""
    return leases.in_use(data / LOG_FILE)


def check_agreement(data: Path, settings: dict[str, Any]) -> None:
    """Check that the processes that use the folder now have the same settings.

    Raises SettingsError that names both, and EngineUnavailable.

    What one process keeps for a day, another one would forget after an hour.
    """
    log = data / LOG_FILE
    try:
        with closing(file_format.connect(log)) as connection:
            others = leases.living(connection, log)
    except sqlite3.Error as error:
        raise file_format.explain(error, log) from error
    for other in others:
        theirs = msgspec.json.decode(other) if other else {}
        for name, ours in settings.items():
            if theirs.get(name, ours) != ours:
                raise SettingsError(
                    f"The server that uses {data} has {name}={theirs[name]}, this one {name}={ours}; on one folder "
                    f"they must be the same. Say --set {name}={theirs[name]}, choose another --data folder, or "
                    "replace that server with --takeover."
                )


def check_local(data: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Check that the folder is on a local disk, where the system reports that. Raises SettingsError."""
    kind = file_system(data, mounts)
    if kind in NETWORK:
        raise SettingsError(
            f"The data folder {data} is on a network file system ({kind}), whose locks and shared memory cannot be "
            "relied on: answers could be lost or mixed up. Choose a folder on a local disk with --data. If you know "
            "that this one is used by one machine only and locks as a local disk does, say --set network_data=allow."
        )


def file_system(folder: Path, mounts: Path) -> str | None:
    """Return the kind of file system that a folder is on or will be on, None if the system does not say."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    folder = folder.resolve()
    found, longest = None, -1
    for line in lines:
        _device, point, kind, *_rest = line.split(" ")
        where = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point))
        if folder.is_relative_to(where) and len(where.parts) >= longest:  # the last one covers those before
            found, longest = kind, len(where.parts)
    return found
