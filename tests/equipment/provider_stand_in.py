"""A stand-in of the HTTP APIs of OpenAI and Anthropic: refuses what they refuse, keeps what it was sent.

It calls the tool ``remind`` once for each turn, if it is offered, then answers.
"""

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = "As you told me."


@dataclass
class Seen:
    """What was sent, and what the provider would have refused of it."""

    port: int = 0
    bodies: list[dict] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    thinks: Callable[[], object] = lambda: None
    """Called before each answer."""
    says: Callable[[int, dict], str] = lambda _number, _body: ANSWER
    """The words of an answer, for the number of the call (from 0) and its body; called before each answer, too."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, body: dict) -> int:
        """The number of the call."""
        with self.lock:
            self.bodies.append(body)
            return len(self.bodies) - 1


@contextmanager
def provider():
    """Serve both APIs on a port of 127.0.0.1; yields what was seen."""
    seen = Seen()
    handler = type("Handler", (_Handler,), {"seen": seen})
    with _Server(("127.0.0.1", 0), handler) as server:
        seen.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join(10)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    """Many who ask at the same moment."""


class _Handler(BaseHTTPRequestHandler):
    seen: Seen
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing on stderr."""

    def do_POST(self):
        """One call of a model."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number = self.seen.keep(body)
        self.seen.thinks()
        words = self.seen.says(number, body)
        openai = self.path.endswith("/chat/completions")
        fault = (openai_fault if openai else anthropic_fault)(body["messages"])
        if fault:
            self.seen.refused.append(fault)
            self._send(400, "application/json", json.dumps({"error": {"message": fault, "type": "invalid"}}))
        elif body.get("stream"):
            self._send(200, "text/event-stream", (_openai_events if openai else _anthropic_events)(body, words))
        else:
            answer = (_openai_answer if openai else _anthropic_answer)(body, words)
            self._send(200, "application/json", json.dumps(answer))

    def _send(self, status, kind, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


# --- what is refused -------------------------------------------------------------------------------------------------


def openai_fault(messages) -> str:
    """System messages lead; every tool call is answered at once, and nothing else is a tool message."""
    roles = [message["role"] for message in messages]
    leading = next((at for at, role in enumerate(roles) if role not in ("system", "developer")), len(roles))
    if any(role in ("system", "developer") for role in roles[leading:]):
        return "a system message after others"
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return "a tool message without its call before it"
            waiting.discard(message["tool_call_id"])
        elif waiting:
            return "a tool call that is not answered by the messages after it"
        waiting |= {call["id"] for call in message.get("tool_calls") or ()}
    return "a tool call without an answer" if waiting else ""


def anthropic_fault(messages) -> str:
    """Users and assistants take turns; the results of tool calls come first in the next message."""
    waiting: set[str] = set()
    for at, message in enumerate(messages):
        if message["role"] not in ("user", "assistant") or (at == 0 and message["role"] != "user"):
            return "a role that is not user or assistant, or not the user first"
        blocks = message["content"] if isinstance(message["content"], list) else []
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if waiting and (results != waiting or any(b["type"] != "tool_result" for b in blocks[: len(results)])):
            return "tool_use without tool_result right after it"
        if results - waiting:
            return "tool_result without tool_use"
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
    return ""


# --- what is answered ------------------------------------------------------------------------------------------------


def first_lap(body) -> bool:
    """True if the last word is the user's and not a tool's."""
    last = body["messages"][-1]
    content = last["content"] if isinstance(last["content"], list) else []
    return last["role"] != "tool" and not any(block.get("type") == "tool_result" for block in content)


def _calls(body) -> bool:
    """True in the first lap of a turn with tools."""
    return bool(body.get("tools")) and first_lap(body)


def _openai_answer(body, words):
    message = {"role": "assistant", "content": words}
    if _calls(body):
        function = {"name": "remind", "arguments": '{"day": "Monday"}'}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call_{len(body['messages'])}", "type": "function", "function": function}],
        }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if _calls(body) else "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
    return answer | {"choices": [choice], "usage": usage}


def _openai_events(body, words):
    answer = _openai_answer(body, words)
    choice = answer["choices"][0]
    delta = choice["message"]
    for at, call in enumerate(delta.get("tool_calls", ())):
        call["index"] = at
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    chunks = [
        head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        head | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
    ]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def _anthropic_answer(body, words):
    block = {"type": "text", "text": words}
    if _calls(body):
        call_id = f"toolu_{len(body['messages'])}"
        block = {"type": "tool_use", "id": call_id, "name": "remind", "input": {"day": "Monday"}}
    stop = "tool_use" if _calls(body) else "end_turn"
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [block]}
    return answer | {"stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}


def _anthropic_events(body, words):
    answer = _anthropic_answer(body, words)
    block, stop = answer["content"][0], answer["stop_reason"]
    empty = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
    delta = (
        {"type": "text_delta", "text": block["text"]}
        if block["type"] == "text"
        else {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    )
    events = [
        {"type": "message_start", "message": answer | {"content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
