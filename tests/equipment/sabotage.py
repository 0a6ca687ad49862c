"""Protections that can be switched off by name: a test that goes on passing without what it tests proves nothing.

``pytest --sabotage NAME`` switches one off for the whole run; the tests that are named for it must fail then. The
product knows nothing of this: each entry says which function of it is replaced by what. Programs that tests start read
the name from the variable SABOTAGE.
"""

import contextlib
import dataclasses
import importlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Protection:
    """``target`` is "module:attribute.path" of what is replaced by ``by(original)``; ``tests`` must fail without it."""

    promise: str
    target: str
    by: Callable[[object], object]
    tests: tuple[str, ...]
    quick: bool = False
    """Checked with every run of the tests, and not only by `make soak`."""


def _value(value: object) -> Callable[[object], object]:
    return lambda _: value


def _returns(*, value: object) -> Callable[[object], object]:
    return lambda _: lambda *_args, **_kwargs: value


_NO, _NOTHING = _returns(value=False), _returns(value=None)


OUTBOX = "synap_integrations.outbox"
CLIENT = "synap_integrations.client"
UNIT = "tests/unit/test_outbox_"
PROVEN = "tests/proofs/test_proofs.py::test_a_promise_is_kept"
ORDER_AFTER_RECONNECT = f"{UNIT}stream.py::test_after_a_reconnect_what_is_not_acknowledged_goes_first"


def _forgetful_append(original: Callable[..., None]) -> Callable[..., None]:
    def append(outbox, envelope) -> None:
        """Keep it in the queue, for somebody else to write."""
        outbox._queue.append(importlib.import_module(f"{OUTBOX}.rows").encode(envelope))
        outbox.appended += 1

    return append


def _eager_claim(original: Callable[..., object]) -> Callable[..., object]:
    def claim(outbox, limit, *, skip=()):
        """Delete what is handed out, as if it had arrived."""
        envelopes = original(outbox, limit, skip=skip)
        outbox.acknowledge([envelope.event_id for envelope in envelopes])
        return envelopes

    return claim


def _at_once(original: Callable[..., int | None]) -> Callable[..., int | None]:
    def take_in(target, entries):
        """Let what is written wait at once, without the rest of its file."""
        new = original(target, entries)
        return new and 0 * target.admit(new, {})

    return take_in


def _hoarding(original: Callable[..., None]) -> Callable[..., None]:
    hoard: list[object] = []

    def give_back(lanes, lane) -> None:
        """Let it go, and hold on to it."""
        original(lanes, lane)
        hoard.append(lane)

    return give_back


def _lane_of_its_own(_: object) -> Callable[..., object]:
    def lane_of(lanes, envelope):
        """As if every turn were a conversation."""
        lane = importlib.import_module(f"{OUTBOX}.lanes").Lane((None, envelope.event_id))
        lanes._lanes[lane.key] = lane
        lanes._ready.append(lane)
        return lane

    return lane_of


def _forgets_what_it_took(_: object) -> Callable[..., None]:
    def send_again(lanes, *, first=None) -> None:
        """As if all of it had arrived."""
        lanes._unacknowledged.clear()

    return send_again


def _waits_for_acknowledgements(original: Callable[..., None]) -> Callable[..., None]:
    def stream_decided(delivery) -> None:
        """Write nothing again until an acknowledgement is overdue."""
        delivery._lanes.send_again = lambda **_: None
        original(delivery)
        del delivery._lanes.send_again

    return stream_decided


PROTECTIONS: dict[str, Protection] = {
    "commit-before-return": Protection(
        "A turn is in the file when capture returns.",
        f"{OUTBOX}.sqlite:SqliteOutbox.append",
        _forgetful_append,
        ("tests/crash/test_outbox_killpoints.py::test_a_turn_that_was_told_survives_every_kill_point",),
        quick=True,
    ),
    "ack-after-delivery": Protection(
        "A turn is deleted after it has arrived, not when it is sent.",
        f"{OUTBOX}.sqlite:SqliteOutbox.claim",
        _eager_claim,
        (f"{UNIT}delivery.py::test_an_hour_of_outage_loses_nothing_and_ends_within_a_minute",),
        quick=True,
    ),
    "row-checksum": Protection(
        "A row that is not what was written is found.",
        f"{OUTBOX}.entries:Entry.intact",
        _value(property(lambda entry: isinstance(entry.row.body, bytes))),
        (
            f"{UNIT}files.py::test_a_damaged_row_is_a_dead_letter",
            f"{UNIT}adoption.py::test_a_flipped_bit_costs_one_turn_and_the_file_is_kept",
        ),
        quick=True,
    ),
    "high-water-mark": Protection(
        "A lost tail of a file is noticed.",
        f"{OUTBOX}.files:OutboxFile.set_mark",
        _NOTHING,
        (f"{UNIT}adoption.py::test_a_lost_tail_is_noticed",),
    ),
    "owner-lock": Protection(
        "A file whose owner lives is left alone.",
        f"{OUTBOX}.files:fcntl.flock",
        _NOTHING,
        (f"{UNIT}adoption.py::test_a_file_that_is_just_being_made_is_left_alone",),
        quick=True,
    ),
    "adoption": Protection(
        "What a dead process left is delivered by the next one.",
        f"{OUTBOX}.adoption:Adoption.adopt",
        _NO,
        (f"{UNIT}worker.py::test_flush_delivers_what_earlier_processes_left",),
    ),
    "adoption-order": Protection(
        "What earlier processes left goes before our own, in the order it was said.",
        f"{OUTBOX}.adoption:_in_time",
        lambda _: lambda entries, file: enumerate(entries, -(2**40) - file * 10**6),
        (
            f"{UNIT}adoption.py::test_older_turns_go_before_our_own",
            f"{UNIT}adoption.py::test_a_conversation_in_several_files_is_in_the_order_it_was_said",
        ),
    ),
    "adopted-whole": Protection(
        "A file that is taken over is nobody's until it is taken over as a whole.",
        f"{OUTBOX}.takeover:AdoptionTarget.take_in",
        _at_once,
        ("tests/crash/test_adoption_kills.py::test_nobody_sends_a_part_of_a_file_that_somebody_else_sends_too",),
        quick=True,
    ),
    "look-before-repeating": Protection(
        "What a process may have sent before it died is looked for.",
        f"{CLIENT}.inherited:arrived",
        lambda _: lambda *_args, **_named: frozenset(),
        ("tests/crash/test_lost_outcomes.py::test_a_turn_that_was_under_way_arrives_once",),
    ),
    "one-adopter": Protection(
        "What several processes left goes to one of those that are there.",
        f"{OUTBOX}.adoption:alone_in",
        lambda _: lambda folder: contextlib.nullcontext(enter_result=True),
        (f"{UNIT}adoption.py::test_while_one_adopts_nobody_else_does",),
    ),
    "seen-ids": Protection(
        "What was delivered is not accepted again under the same id.",
        f"{OUTBOX}.schema:REMEMBER",
        _value("SELECT ?, ?"),
        ("tests/faults/test_faults_data.py::test_a_turn_captured_again_after_its_delivery_is_the_same_turn",),
    ),
    "power-sync": Protection(
        "With durability=power each commit waits for the disk.",
        f"{OUTBOX}.row_table:_SYNCHRONOUS",
        _value({"process": "OFF", "power": "OFF"}),
        ("tests/crash/test_outbox_power.py::test_a_power_failure_takes_nothing_with_durability_power",),
        quick=True,
    ),
    "sync-each-second": Protection(
        "Without durability=power the log is brought to disk about once a second.",
        f"{OUTBOX}.files:OutboxFile.sync",
        _NOTHING,
        ("tests/crash/test_outbox_power.py::test_a_power_failure_takes_at_most_what_was_not_brought_to_disk",),
    ),
    "secure-delete": Protection(
        "Delivered text does not stay on the disk.",
        f"{OUTBOX}.storage:Storage.upkeep",
        _NOTHING,
        (f"{UNIT}files.py::test_delivered_text_is_not_left_on_the_disk",),
    ),
    "sealed-rows": Protection(
        "With a key, no file of the outbox shows what was said or by whom.",
        f"{OUTBOX}.sealing:Sealing.sealed",
        lambda _: lambda sealing, row: row,
        (f"{UNIT}sealing.py::test_no_file_of_the_outbox_shows_what_was_said_or_by_whom",),
    ),
    "sealed-columns": Protection(
        "What a sealed row shows in clear text cannot be changed.",
        f"{OUTBOX}.sealing:_outside",
        _returns(value=b""),
        (f"{UNIT}sealing.py::test_nothing_of_a_sealed_row_can_be_changed_unnoticed",),
    ),
    "locked-files": Protection(
        "A file whose key is missing is no damaged file.",
        f"{OUTBOX}.sealing:Sealing.missing",
        _returns(value=frozenset()),
        (f"{UNIT}sealing.py::test_without_its_key_a_file_is_kept_counted_and_named",),
    ),
    "older-files": Protection(
        "What an older version captured is delivered.",
        f"{OUTBOX}.adoption:READABLE",
        _value(frozenset({2})),
        (f"{UNIT}sealing.py::test_a_file_of_the_version_before_is_taken_over",),
    ),
    "short-log": Protection(
        "A burst does not fill the disk with its log, even if nobody looks after the outbox.",
        f"{OUTBOX}.storage:Storage.shorten_log",
        _NOTHING,
        (f"{UNIT}log.py::test_a_burst_does_not_fill_the_disk_with_its_log",),
    ),
    "private-files": Protection(
        "Nobody else can read the files.",
        f"{OUTBOX}.files:OURS_ALONE",
        _value(0o644),
        (f"{UNIT}files.py::test_nobody_else_can_read_it",),
    ),
    "size-cap": Protection(
        "The outbox does not grow without bound.",
        f"{OUTBOX}.row_store:RowStore._refuse_beyond_cap",
        lambda _: lambda row_store, batch: (list(batch), sum(row.size for row in batch)),
        ("tests/faults/test_faults_disk.py::test_at_its_cap_the_outbox_refuses_new_turns_and_keeps_the_accepted",),
    ),
    "reserve": Protection(
        "On a full disk there is room for deleting.",
        f"{OUTBOX}.storage:Storage.make_room",
        _NO,
        ("tests/faults/test_faults_disk.py::test_acknowledged_turns_are_deleted_on_a_disk_without_room",),
    ),
    "fork-isolation": Protection(
        "A forked child never uses its parent's file.",
        f"{OUTBOX}.sqlite:SqliteOutbox.after_fork_in_child",
        _NOTHING,
        ("tests/crash/test_outbox_kills.py::test_forks_while_threads_write_harm_neither_side",),
    ),
    "full-jitter": Protection(
        "A thousand clients do not come back at once.",
        f"{OUTBOX}.pace:backoff_s",
        lambda _: lambda attempt, rng: min(60.0, 0.5 * 2 ** min(attempt - 1, 16)),
        (f"{UNIT}pace.py::test_backoff_is_any_time_up_to_a_growing_limit",),
    ),
    "retry-after-clamp": Protection(
        "No platform can make us wait longer than a quarter of an hour.",
        f"{OUTBOX}.verdicts:_MAX_WAIT_S",
        _value(1e9),
        (f"{UNIT}pace.py::test_the_wait_a_platform_asks_for_is_kept_within_reason",),
    ),
    "breaker": Protection(
        "A platform that is down is asked by one, now and then.",
        f"{OUTBOX}.pace:_BREAKS_AFTER",
        _value(10**9),
        (f"{UNIT}delivery.py::test_a_storm_of_500_is_met_with_single_probes",),
        quick=True,
    ),
    "poison-isolation": Protection(
        "An event that ends each stream does not keep the others from arriving.",
        f"{OUTBOX}.poison:PoisonDetector.stream_ended",
        _NOTHING,
        (f"{UNIT}stream.py::test_an_event_that_kills_each_stream_becomes_a_dead_letter",),
    ),
    "empty-stream": Protection(
        "No event is condemned for what the network does.",
        f"{OUTBOX}.poison:PoisonDetector.stream_began",
        lambda original: lambda detector, now: original(detector, now - 2.0),
        (f"{UNIT}poison.py::test_a_network_that_cuts_every_connection_condemns_nobody",),
    ),
    "one-who-repeats": Protection(
        "A lost stream's events are repeated by delivery alone.",
        f"{CLIENT}.stream:Stream.__init__",
        lambda original: lambda stream, *args, repeats=True, **named: original(stream, *args, repeats=True, **named),
        ("tests/faults/test_faults_answers.py::test_an_event_that_ends_each_stream_is_isolated_over_real_sockets",),
    ),
    "send-again": Protection(
        "What a lost stream took is written again.",
        f"{OUTBOX}.lanes:Lanes.send_again",
        _forgets_what_it_took,
        (ORDER_AFTER_RECONNECT, f"{PROVEN}[order]"),
        quick=True,
    ),
    "again-goes-first": Protection(
        "What a lost stream took is written before what came after it.",
        f"{OUTBOX}.delivery:Delivery._stream_decided",
        _waits_for_acknowledgements,
        (ORDER_AFTER_RECONNECT, f"{PROVEN}[order]"),
    ),
    "one-lane-each": Protection(
        "A turn is sent after the turn before it.",
        f"{OUTBOX}.lanes:Lanes._lane_of",
        _lane_of_its_own,
        (f"{UNIT}delivery.py::test_an_hour_of_outage_loses_nothing_and_ends_within_a_minute", f"{PROVEN}[order]"),
    ),
    "window": Protection(
        "A platform that never acknowledges does not fill our memory.",
        f"{OUTBOX}.poison:WINDOW",
        _value(10**9),
        (f"{UNIT}stream.py::test_a_platform_that_never_acknowledges_fills_the_window_and_no_more",),
    ),
    "early-acks": Protection(
        "An acknowledgement may be faster than the return of the write.",
        f"{OUTBOX}.lanes:Lanes._being_sent",
        _NO,
        (f"{UNIT}stream.py::test_an_acknowledgement_may_be_faster_than_the_write",),
    ),
    "read-back": Protection(
        "A turn whose answer was lost is looked for before it is sent again.",
        f"{CLIENT}.confirmed:Confirmed.failed",
        _NOTHING,
        ("tests/faults/test_faults_answers.py::test_a_lost_answer_is_read_back_and_the_turn_arrives_once",),
    ),
    "read-back-of-streams": Protection(
        "A turn that a stream took is looked for before it is recorded another way.",
        f"{CLIENT}.confirmed:Confirmed.unacknowledged",
        _NOTHING,
        ("tests/faults/test_faults_ways.py::test_an_unacknowledged_turn_waits_for_a_stream_and_is_read_back_then",),
    ),
    "strict-order": Protection(
        "In strict order nothing overtakes a dead letter of its conversation.",
        f"{OUTBOX}.dead_letters:DeadLetters.find_blocked",
        _NOTHING,
        (f"{UNIT}at_rest.py::test_in_strict_order_a_conversation_waits_behind_it",),
    ),
    "held-for-a-decision": Protection(
        "What may have arrived is not sent again before somebody says so.",
        f"{CLIENT}.readback:OutcomeUnknownError",
        lambda _: importlib.import_module("synap_integrations.errors").SynapTransientError,
        ("tests/faults/test_faults_unknown.py::test_a_turn_of_unknown_outcome_is_sent_again_or_held",),
    ),
    "mended-account": Protection(
        "Who has mended an account and flushes does not wait for five minutes.",
        f"{OUTBOX}.pace:hurried_s",
        _returns(value=300.0),
        (f"{UNIT}pace.py::test_somebody_in_a_hurry_may_try_a_refused_account_soon_and_ever_more_rarely",),
    ),
    "liveness": Protection(
        "A stream whose reader ended is over.",
        f"{CLIENT}.line:Line.end",
        _NOTHING,
        ("tests/live/test_client_stream.py::test_a_stream_that_is_told_to_go_comes_back",),
    ),
    "send-deadline": Protection(
        "A platform that never answers holds up one conversation at a time, and not for ever.",
        f"{OUTBOX}.calls:asyncio.timeout",
        lambda original: lambda _: original(None),
        (f"{UNIT}delivery.py::test_a_platform_that_never_answers_holds_up_one_conversation_at_a_time",),
    ),
    "containment": Protection(
        "Our faults never reach the application.",
        "synap_integrations.guard:contained.__exit__",
        _NO,
        ("tests/unit/test_guard.py",),
        quick=True,
    ),
    "no-self-capture": Protection(
        "Delivery is never captured.",
        "synap_integrations.guard:is_quiet",
        _NO,
        (f"{UNIT}worker.py::test_delivery_is_never_captured",),
    ),
    "tombstones": Protection(
        "A file that was in use cannot bring back who was forgotten.",
        f"{OUTBOX}.erasure:Tombstone.covers",
        _NO,
        (f"{UNIT}forget.py::test_a_file_in_use_is_told_and_cannot_bring_anybody_back",),
    ),
    "lanes-end": Protection(
        "A conversation whose turns have arrived takes no memory.",
        f"{OUTBOX}.lanes:Lanes.give_back",
        _hoarding,
        (f"{PROVEN}[growth]",),
    ),
    "monotonic-pauses": Protection(
        "A pause is as long as it is, whatever the wall clock does meanwhile.",
        f"{OUTBOX}.sqlite:SqliteOutbox.__init__",
        lambda original: (
            lambda outbox, *args, **named: original(outbox, *args, **(named | {"clock": named.get("wall", time.time)}))
        ),
        ("tests/faults/test_faults_time.py::test_a_step_of_the_wall_clock_changes_nothing", f"{PROVEN}[clock]"),
    ),
    "delivery-apart": Protection(
        "Capture does not wait for the platform.",
        f"{OUTBOX}.worker:DeliveryWorker.wake",
        lambda original: lambda worker: (original(worker), worker.flush(0.1)),
        ("tests/faults/test_faults_network.py::test_a_black_hole_costs_the_chain_nothing", f"{PROVEN}[latency]"),
    ),
    "close-lets-go": Protection(
        "What is closed leaves no thread and no connection.",
        f"{OUTBOX}.worker:DeliveryWorker.close",
        _returns(value=True),
        (f"{UNIT}worker.py::test_close_delivers_what_is_left_and_lets_go", f"{PROVEN}[leftovers]"),
    ),
    "exact-owner": Protection(
        "A bundle answers those it belongs to, and nobody else.",
        "synap_integrations.context.store:owners_for",
        lambda original: (
            lambda scope, *, rung="": (
                *original(scope, rung=rung),
                *original(dataclasses.replace(scope, customer_id=None), rung=rung),
            )
        ),
        ("tests/properties/test_context_isolation.py::test_lookup_agrees_with_the_naive_rule", f"{PROVEN}[isolation]"),
    ),
    "cleaned-text": Protection(
        "A stored text cannot act, end its block or pass for another one.",
        "synap_integrations.context.render:clean",
        lambda _: lambda text, *, limit: text[:limit],
        (
            "tests/properties/test_context_render.py::test_structure_is_independent_of_content",
            f"{PROVEN}[render]",
        ),
    ),
    "host-check": Protection(
        "A request that calls the local server by another name is refused.",
        "synap_integrations.server.serving.gate:Gate._not_here",
        _NOTHING,
        ("tests/unit/test_server_gate.py", f"{PROVEN}[attacks]"),
    ),
    "secret-key": Protection(
        "A key is not shown by what holds it.",
        "synap_integrations.settings:Secret.__repr__",
        lambda _: lambda secret: secret.reveal(),
        ("tests/unit/test_settings.py", f"{PROVEN}[canary]"),
    ),
    "runs-end": Protection(
        "A run that is over takes no memory.",
        "synap_integrations.langchain.capture.runs:Runs.close",
        _NOTHING,
        (
            "tests/frameworks/test_langchain_identity.py::test_s80_a_thousand_cancelled_runs_leave_nothing_behind",
            f"{PROVEN}[growth-in-use]",
        ),
    ),
    "patience": Protection(
        "A platform that never answers slows down three recalls, not every one.",
        "synap_integrations.context.patience:Patience.waited_in_vain",
        _NO,
        (
            "tests/unit/test_context_desk.py::test_silent_platform_slows_down_three_recalls_not_every_one",
            f"{PROVEN}[recall-latency]",
        ),
        quick=True,
    ),
    "restart-after-bug": Protection(
        "A bug in the sender costs a moment, not the rest of the turns.",
        f"{OUTBOX}.worker:DeliveryWorker._run",
        lambda _: lambda worker: worker._deliver(),
        (f"{UNIT}worker.py::test_a_sender_that_breaks_is_started_again",),
    ),
}


_OFF: set[str] = set()


def switch_off(name: str) -> None:
    """For the rest of this process. Raises: KeyError, for an unknown name."""
    protection = PROTECTIONS[name]
    if name in _OFF:
        return
    _OFF.add(name)
    holder, last = found(protection.target)
    setattr(holder, last, protection.by(getattr(holder, last)))


def found(target: str) -> tuple[object, str]:
    """What holds the last name of "module:attribute.path", and that name.

    Raises: ImportError, AttributeError, if there is no such thing.
    """
    module, _, path = target.partition(":")
    *holders, last = path.split(".")
    holder: object = importlib.import_module(module)
    for part in holders:
        holder = getattr(holder, part)
    getattr(holder, last)
    return holder, last


def from_environment() -> None:
    """In a program that a test starts."""
    if name := os.environ.get("SABOTAGE"):
        switch_off(name)
