"""What the outbox's files are on: parsed mount tables, the real one of this machine, and what people are told."""

import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from synap_integrations import Scope, Synap
from synap_integrations.cli import main
from synap_integrations.cli.checks.storage import storage_findings
from synap_integrations.model import Envelope, UserMessage
from synap_integrations.outbox import EphemeralOutbox, SqliteOutbox, filesystems
from synap_integrations.outbox.filesystems import UNKNOWN, FileSystem, filesystem_of, mounted_at
from synap_integrations.settings import Settings

SHARED_MEMORY = Path("/dev/shm")
MOUNTS = """\
1213 1105 0:135 / / rw,relatime master:402 - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/u,workdir=/w
1214 1213 0:139 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1215 1213 0:140 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
1219 1213 259:1 /var/lib/docker/volumes/v/_data /data rw,relatime master:1 shared:7 - ext4 /dev/nvme0n1p1 rw
1220 1219 0:51 / /data/shared\\040files rw,relatime - nfs4 10.0.0.7:/export rw,vers=4.2
1221 1213 0:52 / /mnt rw,relatime - ext4 /dev/sda1 rw
1222 1213 0:53 / /mnt rw,relatime - cifs //server/share rw,vers=3.1.1
1223 1213 0:54 / /srv/bucket rw,relatime - fuse.s3fs s3fs rw
a line that says nothing
1224 1213
"""


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("/opt/app/.synap", "overlay", "container"),
        ("/dev/shm/synap", "tmpfs", "memory"),
        ("/data", "ext4", "disk"),
        ("/data/synap/integrations", "ext4", "disk"),
        ("/database", "overlay", "container"),
        ("/data/shared files/synap", "nfs4", "network"),
        ("/mnt/synap", "cifs", "network"),
        ("/srv/bucket/a", "fuse.s3fs", "network"),
    ],
)
def test_what_covers_a_path_is_what_was_mounted_there_last(path: str, name: str, kind: str) -> None:
    """The deepest mount point counts, of two the later one, by whole names, with spaces in them too."""
    found = mounted_at(Path(path), MOUNTS.splitlines())
    assert (found.name, found.kind) == (name, kind)
    assert bool(found.fix) == (kind != "disk")
    assert str(found).startswith(name)


def test_nothing_is_said_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A table without the path, or no table at all, as on other systems, is no reason for advice."""
    assert mounted_at(Path("/data"), []) == UNKNOWN
    assert filesystem_of(Path(":memory:/integrations")) == UNKNOWN
    monkeypatch.setattr(filesystems, "_MOUNTS", tmp_path / "missing")
    assert filesystem_of(tmp_path) == UNKNOWN
    assert (str(UNKNOWN), UNKNOWN.fix) == ("unknown", "")


@pytest.fixture
def in_shared_memory() -> Iterator[Path]:
    """A folder on a real tmpfs."""
    if not SHARED_MEMORY.is_dir() or filesystem_of(SHARED_MEMORY) != FileSystem("tmpfs", "memory"):
        pytest.skip("there is no /dev/shm here")
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield Path(folder)


def test_on_a_tmpfs_everybody_says_so(
    in_shared_memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real tmpfs: status of process and machine, and the doctor, name it and the setting to change."""
    monkeypatch.setenv("SYNAP_STORAGE_PATH", str(in_shared_memory))
    with Synap() as synap:
        assert synap.status().storage.startswith("tmpfs: what waits is lost")
        synap.record(UserMessage("hi"), scope=Scope("c-1", "ana"))
        assert synap.flush(30)
        assert synap.status().storage.startswith("tmpfs: what waits is lost")
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["storage"].startswith("tmpfs: ")
    assert main(["status"]) == 0
    assert "set SYNAP_STORAGE_PATH to a folder on a volume" in capsys.readouterr().out
    (finding,) = storage_findings(Settings.read())
    assert (finding.level, finding.fix) == ("note", "set SYNAP_STORAGE_PATH to a folder on a volume")


def test_a_network_file_system_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in the log for a folder, however many files are made in it; and the doctor warns."""
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 0:51 / {tmp_path.resolve()} rw - nfs4 10.0.0.7:/export rw\n", encoding="utf-8")
    monkeypatch.setattr(filesystems, "_MOUNTS", table)
    monkeypatch.setenv("SYNAP_STORAGE_PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING, "synap_integrations"):
        for number in range(2):
            outbox = SqliteOutbox(tmp_path / "outbox", capture_wait_s=30)
            outbox.append(Envelope.seal(Scope("c-1", "ana"), UserMessage(str(number))))
            assert outbox.kept_on.startswith("nfs4: a network file system")
            outbox.close()
    assert len([record for record in caplog.records if "nfs4" in record.getMessage()]) == 1
    (finding,) = storage_findings(Settings.read())
    assert (finding.level, finding.fix) == ("warning", "set SYNAP_STORAGE_PATH to a folder on a disk of this machine")


def test_what_is_kept_in_memory_is_said_to_be(tmp_path: Path) -> None:
    """Without a folder; with one, its file system is looked up without making anything."""
    assert EphemeralOutbox().kept_on == "memory: what waits is lost with the process"
    on_disk = SqliteOutbox(tmp_path / "outbox")
    assert on_disk.kept_on == str(filesystem_of(tmp_path))
    assert not list(tmp_path.iterdir())
