"""The last delivery of a program that ended before the first one began: with new threads, and where none can be had."""

import textwrap
from pathlib import Path

import pytest
from programs import python
from zero_code import rows

# Python 3.12.0 to 3.12.2 refuse new threads once the main thread has ended: here, any Python does.
REFUSE_THREADS = """
import threading
start = threading.Thread.start
def refuse(thread):
    if threading._SHUTTING_DOWN:
        raise RuntimeError("can't create new thread at interpreter shutdown")
    start(thread)
threading.Thread.start = refuse
"""
THREADS = {"threads": "", "no threads": textwrap.dedent(REFUSE_THREADS)}
LATE = """
import threading, time
from synap_integrations import Scope, Synap
from synap_integrations.model import UserMessage
from synap_integrations.outbox.worker import DeliveryWorker

deliver = DeliveryWorker._deliver
def once_the_main_thread_has_ended(worker):
    while not threading._SHUTTING_DOWN:
        time.sleep(0.001)
    deliver(worker)
DeliveryWorker._deliver = once_the_main_thread_has_ended

Synap().record(UserMessage("I moved to Lisbon."), scope=Scope("c", "ana", customer_id="acme"))
"""
PATIENT = {"SYNAP_SHUTDOWN_TIMEOUT_S": "60"}


@pytest.mark.parametrize("threads", THREADS)
def test_a_turn_is_delivered_to_a_platform_with_a_name(synap_platform, tmp_path: Path, threads: str) -> None:
    """Its name is resolved, its REST surface reached, and nothing is printed or left.

    Without threads the stream stays closed: gRPC would end the process with a segmentation fault.
    """
    address = synap_platform.address
    done = python(
        *("-W", "error", "-c", THREADS[threads] + LATE),
        SYNAP_STORAGE_PATH=str(tmp_path),
        SYNAP_API_KEY=address["api_key"],
        SYNAP_BASE_URL=address["base_url"].replace("127.0.0.1", "localhost"),
        SYNAP_GRPC_HOST="localhost",
        SYNAP_GRPC_PORT=str(address["grpc_port"]),
        SYNAP_GRPC_USE_TLS="false",
        **PATIENT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert synap_platform.paths() == ["/v1/conversations/messages"]
    assert list(tmp_path.rglob("ob-*")) == []
    if threads == "no threads":
        assert synap_platform.opened == []


@pytest.mark.parametrize("threads", THREADS)
def test_a_turn_is_delivered_to_the_synap_of_this_process(tmp_path: Path, threads: str) -> None:
    """It works on the loop of delivery where it has no thread; what it would push and note waits."""
    done = python(
        *("-W", "error", "-c", THREADS[threads] + LATE),
        SYNAP_STORAGE_PATH=str(tmp_path),
        SYNAP_BASE_URL="local",
        **PATIENT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(tmp_path) == [("c", "ana", "user", "I moved to Lisbon.")]
    assert list(tmp_path.rglob("ob-*")) == []
