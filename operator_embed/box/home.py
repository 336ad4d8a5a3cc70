"""Where a box keeps its things: one folder for files, one for sockets."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final as Constant

MAX_SOCKET_PATH_BYTES: Constant = 107
TRIES: Constant = 10
LONGEST_SOCKET_NAME: Constant = "bell/4194304-0123abcd"
NETWORK_FILESYSTEMS: Constant = (
    *("afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"),
    *("orangefs", "smb2", "smb3", "smbfs", "vboxsf"),
    *("fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
)
"""Where locks and shared memory do not hold between machines, or not at all."""


class HomeError(Exception):
    """The folder cannot be used; the text is one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Home:
    """`$UPLION_HOME`, all of it readable by its owner only."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """`$UPLION_HOME`, else the user's data folder by the XDG Base Directory Specification."""
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return cls(Path(os.environ.get("UPLION_HOME") or f"{data}/uplion").expanduser().absolute())

    @property
    def store(self) -> Path:
        return self.root / "store.db"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def weights(self) -> Path:
        return self.root / "models"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def nats(self) -> Path:
        return self.root / "nats"

    @property
    def nats_log(self) -> Path:
        return self.logs / "nats-server.log"

    @property
    def ports(self) -> Path:
        """Ports that the kernel picked once and that are used again: nats, callback."""
        return self.root / "run" / "ports.json"

    @property
    def procs(self) -> Path:
        """Records of child processes, their events and the deliveries in their hands."""
        return self.root / "run" / "procs"

    @property
    def sockets(self) -> Path:
        """In the home while a socket's path is short enough there: a user's runtime folder goes when they log out."""
        here = self.root / "run" / "sockets"
        if len(bytes(here / LONGEST_SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
            return here
        # Few need them, and they would take longer to load than all else here.
        import hashlib
        import tempfile

        name = hashlib.blake2b(bytes(self.root), digest_size=4).hexdigest()
        return Path(tempfile.gettempdir()) / f"uplion-{name}-{os.getuid()}"

    @property
    def engine_socket(self) -> Path:
        return self.sockets / "engine.sock"

    @property
    def beat_socket(self) -> Path:
        """Where workers and API nodes send their figures."""
        return self.sockets / "beat.sock"

    @property
    def bells(self) -> Path:
        return self.sockets / "bell"

    @property
    def read_only(self) -> bool:
        """Whether there is a home in which nothing can be written: on a medium that is mounted so, or another's."""
        return self.store.exists() and not os.access(self.root, os.W_OK)

    def prepare(self) -> None:
        """Create the folders, for their owner only; raises `HomeError` where they would not be safe."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (kind := filesystem(self.root)) in NETWORK_FILESYSTEMS:
                raise HomeError(f"{self.root}: is on a network file system ({kind}); set UPLION_HOME to a local folder")
            _own(self.root, self.root.stat())
            self.root.chmod(0o700)
            for folder in (self.secrets, self.weights, self.logs, self.nats, self.procs.parent, self.procs):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._prepare_sockets()
        except OSError as error:
            raise HomeError(
                f"{error.filename or self.root}: cannot be used: {error.strerror}; set UPLION_HOME to a folder of yours"
            ) from error

    def _prepare_sockets(self) -> None:
        """Anybody may have made the folder before us where it lies in a public place."""
        if len(longest := bytes(self.sockets / LONGEST_SOCKET_NAME)) > MAX_SOCKET_PATH_BYTES:
            raise HomeError(
                f"{self.sockets}: sockets in it would have paths of {len(longest)} bytes, {MAX_SOCKET_PATH_BYTES} are "
                "possible; set UPLION_HOME or TMPDIR to a shorter folder"
            )
        if not any(self._has_sockets() for _ in range(TRIES)):
            raise HomeError(f"{self.sockets}: is taken away as often as it is made; set TMPDIR to another folder")

    def _has_sockets(self) -> bool:
        """Make their folders; False when somebody who left took them away meanwhile."""
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        try:
            _refuse_open(self.sockets)
            self.bells.mkdir(mode=0o700, exist_ok=True)
            _refuse_open(self.bells)
        except FileNotFoundError:
            return False
        if self.sockets.is_relative_to(self.root):
            return True
        from operator_embed.box.public_folder import hold

        return hold(self.sockets, self.bells)


def filesystem(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Type of the file system that `path` is on, empty when the kernel does not say; see proc_pid_mountinfo(5)."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real, longest, kind = path.resolve(), -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4]))
        if real.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), after.split()[0]
    return kind


def _own(folder: Path, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise HomeError(
            f"{folder}: is not a folder of yours (its owner has uid {found.st_uid}); remove it or use another"
        )


def _refuse_open(folder: Path) -> None:
    _own(folder, found := folder.lstat())
    if (mode := stat.S_IMODE(found.st_mode)) & 0o077:
        raise HomeError(f"{folder}: is open to other users (mode {mode:o}); remove it, then start again")
