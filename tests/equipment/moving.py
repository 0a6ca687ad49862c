"""What a program for the platform's own packages holds: its SDK object, or what may stand for it here.

with holding("the platform's SDK") as held:      # or "a Synap", or "nothing"
    SynapRetriever(sdk=held.sdk, user_id="alice")
    held.flush()
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from synap_integrations import Synap
from synap_integrations.runtime import memory_over, use_default

KINDS = ("nothing", "a Synap", "the platform's SDK")


@dataclass
class Held:
    """What is passed as ``sdk=``, and the Synap that stands behind it."""

    sdk: object | None
    synap: Synap

    def flush(self) -> None:
        """Everything that was said has arrived."""
        assert self.synap.flush(10)


@contextmanager
def holding(kind: str) -> Iterator[Held]:
    """One of `KINDS`, over a local Synap that is empty."""
    if kind == "the platform's SDK":
        yield from _sdk()
        return
    with Synap(base_url="local", storage_path=Path(":memory:"), lookup_timeout_s=20) as synap:
        before = use_default(synap)
        try:
            yield Held(None if kind == "nothing" else synap, synap)
        finally:
            use_default(before)


def _sdk() -> Iterator[Held]:
    maximem = pytest.importorskip("maximem_synap")
    from dev_server import server_in_process  # noqa: PLC0415 - loads the server, which the others do without

    with server_in_process() as server, tempfile.TemporaryDirectory() as folder:
        config = maximem.SDKConfig(
            api_base_url=server.address["base_url"],
            grpc_host=server.address["grpc_host"],
            grpc_port=server.address["grpc_port"],
            grpc_use_tls=False,
            storage_path=folder,
        )
        sdk = maximem.MaximemSynapSDK(api_key=server.address["api_key"], config=config, _force_new=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNAP_LOOKUP_TIMEOUT_S", "20")  # the first one starts the SDK, on a busy machine
            synap = memory_over(sdk)
        try:
            yield Held(sdk, synap)
        finally:
            synap.close()
