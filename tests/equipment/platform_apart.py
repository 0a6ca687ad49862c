"""A `SocketPlatform` in a process of its own, which remembers little: for runs in which only we may grow.

    with platform_apart() as address:       # arguments for `Synap` and `SynapClient`
        ...

It keeps the last KEPT requests, events and turns, and answers every user's turn with two bundles of one item each.
"""

import json
import subprocess
import sys
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = 200
START_S = 60.0


@contextmanager
def platform_apart() -> Iterator[dict]:
    """Its address; it is gone at the end, whatever happens."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line, f"the platform ended with {process.wait(START_S)}"
        yield json.loads(line)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(START_S)


class _Last(OrderedDict):
    """The last KEPT entries."""

    def __setitem__(self, key: str, value: object) -> None:
        super().__setitem__(key, value)
        if len(self) > KEPT:
            self.popitem(last=False)

    def setdefault(self, key: str, default: object = None) -> object:
        if key not in self:
            self[key] = default
        return self[key]


def main() -> None:
    """Serve until nobody holds our input any more."""
    sys.path += [str(Path(__file__).resolve().parents[2])]
    from socket_platform import SocketPlatform  # noqa: PLC0415 - found through the path above

    from synap_integrations.wire.proto import (  # noqa: PLC0415 - see above
        ContextBundleProto,
        ContextItemList,
        ContextItemProto,
        StreamResponse,
    )

    class Forgetful(SocketPlatform):
        def __init__(self) -> None:
            super().__init__()
            self.requests, self.events, self.opened = deque(maxlen=KEPT), deque(maxlen=KEPT), deque(maxlen=KEPT)
            self.controls, self.used, self.stored = deque(maxlen=KEPT), deque(maxlen=KEPT), _Last()
            self.answering = set()

        def _store(self, entry: dict, event_id: str | None) -> dict:
            answer = super()._store(entry, event_id)
            if entry["role"] == "user":
                task = self._loop.create_task(self._answer(entry, event_id or ""))
                self.answering.add(task)
                task.add_done_callback(self.answering.discard)
            return answer

        async def _answer(self, entry: dict, event_id: str) -> None:
            for answers, text in ((event_id, f"an answer to {entry['content'][:40]}"), ("", "something besides")):
                item = ContextItemProto(item_id=str(uuid.uuid4()), content=text, context_type="facts", confidence=0.9)
                bundle = ContextBundleProto(
                    bundle_id=str(uuid.uuid4()),
                    decision_id=answers,
                    items_by_type={"facts": ContextItemList(items=[item])},
                    anticipation_user_id=entry.get("user_id") or "",
                    anticipation_conversation_id=entry["conversation_id"],
                )
                for stream in list(self._streams):
                    await stream.write(StreamResponse(context_bundle=bundle))

    with Forgetful() as platform:
        sys.stdout.write(json.dumps(platform.address) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
