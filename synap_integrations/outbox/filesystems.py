"""What kind of file system a folder is on: whether a turn that is kept there outlives the container, or the machine.

Source: proc_pid_mountinfo(5). Elsewhere than on Linux nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, assert_never

Kind = Literal["disk", "container", "memory", "network", "unknown"]

_MOUNTS: Final = Path("/proc/self/mountinfo")
_CONTAINER: Final = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
    | {f"fuse.{name}" for name in ("ceph", "gcsfuse", "glusterfs", "juicefs", "rclone", "s3fs", "sshfs")}
)
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_SET_PATH: Final = "set SYNAP_STORAGE_PATH to a folder on "


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One kind of file system; ``name`` is the system's word for it, empty if that is not known."""

    name: str
    kind: Kind

    @classmethod
    def called(cls, name: str) -> FileSystem:
        """What the system calls so."""
        if name in _CONTAINER:
            return cls(name, "container")
        if name in _MEMORY:
            return cls(name, "memory")
        return cls(name, "network" if name in _NETWORK else "disk")

    def __str__(self) -> str:
        match self.kind:
            case "disk":
                return self.name
            case "container":
                return f"{self.name}: what waits is lost with the container"
            case "memory":
                return f"{self.name}: what waits is lost at a restart of the machine or container"
            case "network":
                return f"{self.name}: a network file system, whose locks are not ours to promise"
            case "unknown":
                return "unknown"
            case _:
                assert_never(self.kind)

    @property
    def fix(self) -> str:
        """What to do about it; empty if nothing need be done."""
        if self.kind in ("container", "memory"):
            return f"{_SET_PATH}a volume"
        return f"{_SET_PATH}a disk of this machine" if self.kind == "network" else ""


UNKNOWN: Final = FileSystem("", "unknown")
PROCESS_MEMORY: Final = "memory: what waits is lost with the process"


def filesystem_of(folder: Path) -> FileSystem:
    """What the folder is on, or will be, if it is not there yet. Touches nothing."""
    if folder.parts[:1] == (":memory:",):  # what SYNAP_STORAGE_PATH says for no folder
        return UNKNOWN
    try:
        with _MOUNTS.open(encoding="utf-8", errors="surrogateescape") as mounts:
            return mounted_at(folder.resolve(), mounts)
    except (OSError, RuntimeError):  # not Linux, hidden from us, or links that lead in a circle
        return UNKNOWN


def mounted_at(path: Path, mounts: Iterable[str]) -> FileSystem:
    """What covers an absolute path, by the lines of a mountinfo; a line that cannot be read is skipped."""
    name, depth = "", -1
    for line in mounts:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        point = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= depth:  # of two at one place, the later one covers
            name, depth = kind[0], len(point.parts)
    return FileSystem.called(name) if name else UNKNOWN
