"""kill -9 with what waits on disk sealed: nothing is lost, and no file of the dead shows what was said."""

import base64
from pathlib import Path

import pytest
from programs import EQUIPMENT, assert_each_turn_once, drain, python

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (5, 6))


def shows(folder: Path) -> bool:
    """True if some byte of some outbox file tells the user's id or begins a turn's text."""
    files = [path.read_bytes() for path in (folder / "outbox").iterdir()]
    assert any(len(content) > 1_000 for content in files)
    return any(mark in content for content in files for mark in (b'"ana"', b'{"content"'))


@pytest.mark.parametrize("key", ["", OLD], ids=["clear", "sealed"])
def test_kills_with_a_key_lose_nothing_and_leave_nothing_to_read(tmp_path, monkeypatch, key) -> None:
    """Sixty deaths while capturing, delivering and adopting; then the key is changed, and all of it arrives once."""
    done = python(str(EQUIPMENT / "zygote.py"), str(tmp_path), "60", "11", SYNAP_OUTBOX_KEY=key)
    assert (done.returncode, done.stderr) == (0, "")
    told = set(done.stdout.split())
    assert len(told) > 300
    assert shows(tmp_path) is not bool(key)
    monkeypatch.setenv("SYNAP_OUTBOX_KEY", f"{NEW},{OLD}" if key else "")
    drain(tmp_path)
    assert_each_turn_once(tmp_path, told)
