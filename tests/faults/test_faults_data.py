"""Turns that are odd, equal, repeated or captured for two owners: each is what it was, once, and nobody else's."""

import json

import pytest
from history import assert_accounted

from synap_integrations import Scope, Synap
from synap_integrations.model import Envelope, ToolResult, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.files import OutboxFile
from synap_integrations.plain import plain

HOSTILE = {
    "surrogate": "a\ud800b",
    "nul": "a\x00b",
    "escape": "\x1b[2J\r\n",
    "persian": "می‌خواهم",
    "hindi": "क्‍ष",
    "family": "👨‍👩‍👧‍👦",
    "direction": "\u202egnp.exe",
    "combining": "e\u0301\u0327",
    "empty": "",
    "long": "x" * 9_000_000,
}


@pytest.fixture
def outbox(tmp_path):
    """An outbox on disk."""
    outbox = SqliteOutbox(tmp_path / "outbox", capture_wait_s=30)
    yield outbox
    outbox.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_any_text_reaches_the_platform_or_is_replaced_visibly(synap_platform, name) -> None:
    """Through disk and sockets: letters byte for byte, what cannot travel by its replacement, length and hash kept."""
    with Synap(**synap_platform.address) as synap:
        synap.record(UserMessage(HOSTILE[name]), scope=Scope("c-1", "ana"))
        synap.record(UserMessage("after"), scope=Scope("c-1", "ana"))
        assert synap.flush(20)
    first, second = synap_platform.contents()
    assert second == "after"
    if name == "long":
        assert len(first) == 8_000_000
        assert "[shortened: 9000000 characters, sha256 " in first[-120:]
    elif name == "surrogate":
        assert first == "a\ufffdb"
    elif name == "nul":
        assert first == "a\u2400b"
    else:
        assert first == HOSTILE[name]


def test_a_turn_captured_again_after_its_delivery_is_the_same_turn(outbox) -> None:
    """Its id is remembered: two handlers, a retry, a replay are one turn."""
    outbox.append(envelope := Envelope.seal(Scope("c", "ana"), UserMessage("hello")))
    outbox.acknowledge([claimed.event_id for claimed in outbox.claim(1)])
    outbox.append(envelope)
    assert outbox.claim(10) == []
    assert_accounted(outbox.counts(), captured=1, delivered=1, repeats=1, waiting=0)


def test_the_same_words_twice_are_two_turns(outbox) -> None:
    """Text is never part of an id."""
    for _ in range(2):
        outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage("yes")))
    assert [envelope.event.content for envelope in outbox.claim(10)] == ["yes", "yes"]


def test_what_is_changed_after_capture_was_captured_as_it_was(outbox) -> None:
    """The row is a copy."""
    result = {"hits": [1, 2]}
    outbox.append(Envelope.seal(Scope("c", "ana"), ToolResult("search", result, "call-1")))
    result["hits"].append(3)
    assert outbox.claim(1)[0].event.tool_result == {"hits": [1, 2]}


def test_two_keys_are_two_outboxes(synap_platform) -> None:
    """Turns captured under one key are never sent with another."""
    down = synap_platform.address | {"base_url": "http://127.0.0.1:9"}
    with Synap(**{**down, "api_key": "synap_another_key"}, shutdown_timeout_s=0.2) as other:
        other.record(UserMessage("captured under another key"), scope=Scope("c", "ana"))
    with Synap(**synap_platform.address) as synap:
        synap.record(UserMessage("ours"), scope=Scope("c", "ana"))
        assert synap.flush(10)
        assert synap._outbox.folders[0] != other._outbox.folders[0]
    assert synap_platform.contents() == ["ours"]


def test_turns_of_an_old_key_can_be_given_to_the_new_one(synap_platform) -> None:
    """Somebody decides it: the files move to the other folder, and are adopted there, in order."""
    down = synap_platform.address | {"base_url": "http://127.0.0.1:9"}
    with Synap(**{**down, "api_key": "synap_old_key"}, shutdown_timeout_s=0.2) as old:
        for text in ("one", "two"):
            old.record(UserMessage(text), scope=Scope("c", "ana"))
    with Synap(**synap_platform.address) as synap:
        for path in old._outbox.folders[0].glob("ob-*.db"):
            moved = OutboxFile.orphan(path).move_to(synap._outbox.folders[0])
            assert moved.exists()
        assert not list(old._outbox.folders[0].glob("ob-*"))
        assert synap.flush(10)
    assert synap_platform.contents() == ["one", "two"]


def test_the_vendors_own_files_are_never_touched(tmp_path, own_storage) -> None:
    """Whatever else lies in the storage folder is neither read, moved nor deleted."""
    for name in ("outbox.journal", "ob-1.db", "integrations.lock"):
        path = own_storage / "maximem" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not ours")
    before = {path: path.stat().st_mtime_ns for path in (own_storage / "maximem").iterdir()}
    with Synap() as synap:
        synap.record(UserMessage("hello"), scope=Scope("c", "ana"))
        assert synap.flush(10)
    assert {path: path.stat().st_mtime_ns for path in (own_storage / "maximem").iterdir()} == before


@pytest.mark.parametrize("library", ["numpy", "pandas", "PIL.Image", "attrs"])
def test_values_of_real_libraries_are_kept_or_described(library) -> None:
    """In the arguments of a tool, where the library is installed: small, strict JSON, and the object is not changed."""
    module = pytest.importorskip(library)
    if library == "numpy":
        value = {"array": module.zeros((200, 300)), "number": module.float32(0.5), "whole": module.int64(7)}
        assert plain(value) == {"array": "[ndarray of shape (200, 300), float64]", "number": 0.5, "whole": 7}
    elif library == "pandas":
        value = {"frame": module.DataFrame({"a": range(100_000)}), "at": module.Timestamp("2026-05-16")}
        assert len(value["frame"]) == 100_000
    elif library == "PIL.Image":
        value = {"picture": module.new("RGB", (500, 400))}
    else:
        value = {"point": module.make_class("Point", ["x", "y"])(1, 2)}
        assert plain(value) == {"point": {"x": 1, "y": 2}}
    kept = json.dumps(plain(value), allow_nan=False)
    assert len(kept) < 2_000_000
    assert json.loads(kept)
