"""What waits on disk, sealed with a key: no byte tells what was said or by whom, and no turn is lost for want of it."""

import base64
import random
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from history import assert_accounted
from transports import texts

from synap_integrations import InvalidInputError, Settings, Synap
from synap_integrations.model import Envelope, Scope, ToolCall, UserMessage
from synap_integrations.outbox import SqliteOutbox, rows
from synap_integrations.outbox.rows import UnreadableRowError
from synap_integrations.outbox.sealing import LockedRowError, Sealing

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
CANARY = "the canary sings"
SCOPE = Scope("thread-of-ana", "ana@example.org", customer_id="acme-canary", session_id="session-canary")
SECRETS = [CANARY, "thread-of-ana", "ana@example.org", "acme-canary", "session-canary"]


def sealing(*keys: str) -> Sealing:
    """Seals with the first of the keys."""
    return Sealing.of(Settings.read({"SYNAP_OUTBOX_KEY": ",".join(keys)}))


def turn(text: str = CANARY, scope: Scope = SCOPE) -> Envelope:
    """A user's turn."""
    return Envelope.seal(scope, UserMessage(text))


def found_in(folder: Path) -> set[str]:
    """Which secrets some byte of some file shows, by themselves or as JSON."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert files
    return {secret for secret in SECRETS if any(secret.encode() in content for content in files)}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where all processes keep their files."""
    return tmp_path / "outbox"


@pytest.fixture
def outbox_in(folder):
    """Open outboxes in the folder, each with its keys; all are closed afterwards."""
    opened: list[SqliteOutbox] = []

    def make(*envelopes: Envelope, keys: tuple[str, ...] = (), **limits: int) -> SqliteOutbox:
        outbox = SqliteOutbox(folder, capture_wait_s=30, sealing=sealing(*keys), **limits)
        opened.append(outbox)
        for envelope in envelopes:
            outbox.append(envelope)
        return outbox

    yield make
    for outbox in opened:
        outbox.close()


def test_a_sealed_row_shows_neither_words_nor_ids_and_opens_to_what_it_was() -> None:
    """Scope, text and the conversation's hash are hidden; id, kind, framework and time stay."""
    row = rows.encode(turn())
    sealed = sealing(NEW).sealed(row)
    assert sealing(NEW, OLD).opened(sealed) == sealing(OLD, NEW).opened(sealed) == row
    assert not any(secret.encode() in repr(sealed).encode() + sealed.body for secret in SECRETS)
    assert (sealed.event_id, sealed.kind, sealed.captured_at) == (row.event_id, row.kind, row.captured_at)
    assert sealed.conversation != row.conversation


def test_the_same_turn_is_never_sealed_alike_and_its_conversation_always() -> None:
    """Two files do not tell that the same was said; one file keeps a conversation together."""
    row, again = rows.encode(turn()), sealing(NEW)
    assert again.sealed(row).body != again.sealed(row).body
    assert again.sealed(row).conversation == sealing(NEW, OLD).sealed(row).conversation
    assert again.sealed(row).conversation != sealing(OLD).sealed(row).conversation


def test_threads_seal_and_open_at_once() -> None:
    """One cipher serves them all."""
    ours = sealing(NEW)
    found = rows.encode(turn("x" * 3_000))

    def work(_: int) -> bool:
        return all(ours.opened(ours.sealed(found)) == found for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_without_a_key_rows_are_what_they_were() -> None:
    """Off costs nothing and changes nothing."""
    row = rows.encode(turn())
    assert sealing().sealed(row) is row
    assert sealing(NEW).opened(row) is row


@pytest.mark.parametrize("field", ["event_id", "conversation", "kind", "framework", "captured_at", "body", "sealed_by"])
def test_nothing_of_a_sealed_row_can_be_changed_unnoticed(field) -> None:
    """Not even by somebody who knows how checksums are made: what is in clear text belongs to what is sealed."""
    ours = sealing(NEW, OLD)
    sealed = ours.sealed(rows.encode(turn()))
    old = getattr(sealed, field)
    changes = {
        "sealed_by": sealing(OLD).sealed(sealed).sealed_by,
        "body": bytes([sealed.body[0] ^ 1]) + sealed.body[1:],
    }
    new = changes.get(field, old + 1 if isinstance(old, int) else f"{old}x")
    with pytest.raises(UnreadableRowError):
        ours.opened(sealed._replace(**{field: new}))


def test_a_missing_key_is_named_and_is_no_damage() -> None:
    """The error says which key is needed, and shows none."""
    sealed = sealing(OLD).sealed(rows.encode(turn()))
    with pytest.raises(LockedRowError, match=str(sealed.sealed_by)) as locked:
        sealing(NEW).opened(sealed)
    assert OLD not in str(locked.value)


@pytest.mark.parametrize(
    "key", ["short", base64.b64encode(b"x" * 31).decode(), "?" * 44, f"{NEW},short"], ids=["text", "31", "no", "second"]
)
def test_what_is_no_key_is_refused_and_not_repeated(key) -> None:
    """One line that says what a key is, in setting and argument, and never the value."""
    for wrong in (lambda: Settings.read({"SYNAP_OUTBOX_KEY": key}), lambda: Synap(outbox_key=lambda: key)):
        with pytest.raises(InvalidInputError, match="32 bytes as base64") as refused:
            wrong()
        assert key not in str(refused.value)


def test_a_key_is_a_key_however_it_is_written() -> None:
    """With and without padding, in either alphabet: what one spelling sealed the other opens."""
    raw = b"\xfb\xff" * 16
    spellings = [base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")]
    row = rows.encode(turn())
    sealed = sealing(spellings[0]).sealed(row)
    assert spellings[0] != spellings[1]
    assert sealing(spellings[1]).opened(sealed) == row


@pytest.mark.parametrize("keys", [(), (NEW,)], ids=["clear", "sealed"])
def test_no_file_of_the_outbox_shows_what_was_said_or_by_whom(outbox_in, folder, keys) -> None:
    """Database, log, lock, reserve and dead letters, before and after a checkpoint. Without a key, they do show it."""
    outbox = outbox_in(*(turn() for _ in range(20)), bad := turn(), keys=keys)
    outbox.bury(bad.event_id, f"invalid: {CANARY} is not allowed")
    expected = set() if keys else set(SECRETS)
    assert found_in(folder) == expected
    outbox.maintain()
    outbox._row_store.storage.table.checkpoint(truncate=True)
    outbox.append(turn())
    assert found_in(folder) == expected
    assert len(list(folder.iterdir())) == 4
    assert texts(outbox.claim(100)) == [CANARY] * 21


def test_a_sealed_outbox_delivers_what_was_captured(outbox_in) -> None:
    """Order, tool calls, scopes and figures are those of an outbox in clear text."""
    envelopes = [turn("one"), Envelope.seal(SCOPE, ToolCall("t", {"q": [1, None]}, "c")), turn("two", Scope("other"))]
    outbox = outbox_in(*envelopes, keys=(NEW,))
    assert outbox.claim(10) == envelopes
    outbox.release([envelopes[0].event_id], retry_after_s=60)
    outbox.acknowledge([envelopes[2].event_id])
    outbox.append(envelopes[2])
    assert_accounted(outbox.counts(), captured=3, delivered=1, waiting=2, repeats=1)
    outbox.put_all_back()
    assert outbox.claim(10) == []  # the conversation is kept back as a whole


def test_what_an_earlier_process_sealed_is_adopted_and_sealed_with_the_present_key(outbox_in, folder) -> None:
    """Rotation: the key of before opens, the new one seals, and soon nothing needs the old one any more."""
    outbox_in(first := turn("first"), turn("second"), keys=(OLD,)).close()
    own = outbox_in(turn("own"), keys=(NEW, OLD))
    assert own.adopt()
    assert found_in(folder) == set()
    own.close()
    later = outbox_in(turn("last"), keys=(NEW,))
    assert later.adopt()
    found = later.claim(10)
    assert texts(found) == ["first", "second", "own", "last"]
    assert found[0] == first


@pytest.mark.parametrize(("before", "after"), [((), (NEW,)), ((NEW,), ())], ids=["on", "off"])
def test_encryption_is_switched_on_and_not_off_by_mistake(outbox_in, folder, before, after) -> None:
    """What was kept in clear text is sealed when it is adopted; without any key, what is sealed stays where it is."""
    outbox_in(turn(), keys=before).close()
    own = outbox_in(keys=after)
    assert own.adopt() == bool(after)
    assert texts(own.claim(10)) == [CANARY] * bool(after)
    assert found_in(folder) == set()


def test_without_its_key_a_file_is_kept_counted_and_named(outbox_in, folder, caplog) -> None:
    """Neither lost nor sent nor waited for: one line names the key and what to do; with the key, all of it goes out."""
    for number in range(3):
        outbox_in(turn(f"{number}"), turn(f"{number} again"), keys=(OLD,)).close()
    own = outbox_in(turn("own"), keys=(NEW,))
    while own.adopt():
        pass
    assert not own.has_orphans()
    assert texts(own.claim(10)) == ["own"]
    assert_accounted(own.counts(), captured=1, adopted=0, waiting=1, locked=6)
    (line,) = [record.getMessage() for record in caplog.records]
    assert Settings.read({"SYNAP_OUTBOX_KEY": OLD}).outbox_key[0].fingerprint() in line
    assert "SYNAP_OUTBOX_KEY" in line
    assert OLD not in line
    assert not list(folder.glob("*.corrupt"))
    both = outbox_in(keys=(NEW, OLD))
    while both.adopt():
        pass
    assert len(both.claim(10)) == 6


def test_an_application_may_fetch_its_key_and_status_counts_what_no_key_opens(tmp_path) -> None:
    """The function is called once; no file below the storage path shows anything; the next process counts it."""
    where = {"storage_path": tmp_path, "base_url": "http://127.0.0.1:9", "api_key": "synap_of_nobody"}
    calls: list[int] = []
    with Synap(outbox_key=lambda: calls.append(1) or NEW, shutdown_timeout_s=0.1, **where) as synap:
        synap.record(UserMessage(CANARY), scope=SCOPE)
        assert (synap.status().waiting, synap.status().locked) == (1, 0)
    assert (calls, found_in(tmp_path)) == ([1], set())
    with Synap(outbox_key=OLD, shutdown_timeout_s=0.1, **where) as later:
        assert later.flush(60)
        assert (later.status().waiting, later.status().locked) == (0, 1)


def test_a_flipped_bit_in_a_sealed_file_costs_one_turn(outbox_in, folder) -> None:
    """As in clear text: intact rows are rescued, the file is put aside."""
    outbox = outbox_in(*(turn(f"{number}") for number in range(9)), keys=(NEW,))
    path, body = Path(outbox.where), outbox._row_store.storage.table.entry(5).row.body
    outbox.close()
    raw = path.read_bytes()
    assert raw.count(body) == 1
    path.write_bytes(raw.replace(body, body[:20] + bytes([body[20] ^ 4]) + body[21:]))
    own = outbox_in(keys=(NEW,))
    while own.adopt():
        pass
    assert texts(own.claim(20)) == ["0", "1", "2", "3", "5", "6", "7", "8"]
    assert len(list(folder.glob("*.corrupt"))) == 1


def test_random_bit_flips_in_a_sealed_file_never_break_us_and_never_change_a_turn(outbox_in, folder) -> None:
    """Whatever is damaged, words, names of keys or pages: what is delivered is what was captured."""
    rng = random.Random(12)
    outbox = outbox_in(*(envelopes := [turn(f"{number} {CANARY}") for number in range(40)]), keys=(NEW,))
    path = Path(outbox.where)
    outbox.close()
    raw = path.read_bytes()
    path.unlink()
    expected = {envelope.event_id: envelope for envelope in envelopes}
    rescued = 0
    for _ in range(25):
        bent = bytearray(raw)
        for _ in range(rng.randint(1, 4)):
            bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
        (folder / "ob-bent-1-aa.db").write_bytes(bent)
        own = outbox_in(keys=(NEW,))
        own.adopt()
        found = own.claim(100)
        assert all(expected[envelope.event_id] == envelope for envelope in found)
        assert own.counts().add_up
        rescued += len(found)
        own.acknowledge([envelope.event_id for envelope in found])
        own.close()
        (folder / "ob-bent-1-aa.corrupt").unlink(missing_ok=True)
    assert rescued > 500


def test_a_forged_row_is_a_dead_letter_and_not_a_turn(outbox_in) -> None:
    """Somebody who writes into the file and mends the checksum gets nothing delivered in another's name."""
    outbox = outbox_in(turn("mine"), turn("yours"), keys=(NEW,))
    table = outbox._row_store.storage.table
    theirs = table.entry(2).row.body
    forged = table.entry(1).row._replace(body=theirs)
    table.connection.execute("UPDATE turn SET body = ?, crc = ? WHERE seq = 1", (theirs, forged.checksum(1)))
    assert texts(outbox.claim(10)) == ["yours"]
    assert_accounted(outbox.counts(), captured=2, waiting=1, dead_letters=1)


def test_forgetting_reaches_sealed_rows(outbox_in, folder) -> None:
    """Of a user or a conversation, in the own file and in adopted ones; of others nothing."""
    other = Scope("c-2", "ben", customer_id="acme-canary")
    outbox_in(turn("old ana"), turn("old ben", other), keys=(OLD,)).close()
    own = outbox_in(turn("ana"), turn("ben", other), keys=(NEW, OLD))
    event_ids, erased = own.forget(Scope(user_id="ana@example.org"))
    assert (len(event_ids), erased.waiting, erased.files_locked) == (2, 2, 0)
    assert texts(own.claim(10)) == ["old ben", "ben"]
    assert_accounted(own.counts(), captured=2, adopted=2, waiting=2, forgotten=2)


def test_forgetting_says_which_files_no_key_opens_and_nobody_comes_back_from_them(outbox_in) -> None:
    """A locked file gets a tombstone: whoever adopts it with the key leaves out who was forgotten."""
    outbox_in(turn("ana"), turn("ben", Scope("c-2", "ben")), keys=(OLD,)).close()
    own = outbox_in(keys=(NEW,))
    _, erased = own.forget(Scope(user_id="ana@example.org"))
    assert (erased.files_locked, erased.files_in_use) == (1, 0)
    later = outbox_in(keys=(NEW, OLD))
    assert later.adopt()
    assert texts(later.claim(10)) == ["ben"]


def test_a_file_that_fails_moves_sealed(outbox_in, folder) -> None:
    """Rows go to the next file as they are; neither file shows them."""
    outbox = outbox_in(turn(), keys=(NEW,))
    outbox._row_store.storage.table.connection.execute("DROP TABLE seen")
    outbox.append(turn())
    assert len(list(folder.glob("*.corrupt"))) == 1
    assert found_in(folder) == set()
    assert texts(outbox.claim(10)) == [CANARY] * 2


def test_a_file_of_the_version_before_is_taken_over(folder, outbox_in) -> None:
    """Waiting turns in their order, the dead letter as such, nothing twice; from then on sealed, if there is a key."""
    golden = Path(__file__).parent.parent / "equipment" / "golden" / "outbox-version-1"
    folder.mkdir(mode=0o700)
    for suffix in (".db", ".lock"):
        shutil.copy(golden.with_suffix(suffix), folder / f"ob-golden-1-aa{suffix}")
    with closing(sqlite3.connect(folder / "ob-golden-1-aa.db")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
    own = outbox_in(keys=(NEW,))
    assert own.adopt()
    found = own.claim(20)
    assert [envelope.event_id for envelope in found] == [f"golden-{number}" for number in (0, 1, 2, 3, 6, 7)]
    assert found[0].event == UserMessage("I moved to Lisbon")
    assert found[0].framework == "langchain"
    assert_accounted(own.counts(), adopted=7, waiting=6, dead_letters=1)
    assert not any(b"Lisbon" in path.read_bytes() for path in folder.iterdir())
    assert not list(folder.glob("*golden*"))
