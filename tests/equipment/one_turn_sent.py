"""What a scripted turn sends to a server, read from the socket by somebody who is no part of it."""

import http.server
import json
import os
import subprocess
import sys
import threading

PROGRAM = """
from synap_integrations import Synap
from synap_integrations.langchain.attach import attach
from synap_integrations.langchain.probe import run_one_turn

synap = Synap()
attach(synap)
run_one_turn(conversation_id="synap-doctor", user_id="synap-doctor")
synap.flush(3)
synap.close(1)
"""


def sent_to_a_server() -> tuple[list[tuple[str, list[str]]], dict[str, str]]:
    """Request line and names of the body's fields of each request, and the environment in which they were sent."""
    received: list[tuple[str, list[str]]] = []

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append((self.requestline, []))
            self._answer({"instance_id": "inst_1", "client_id": "cli_1", "user_context_isolation": "optional"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            received.append((self.requestline, sorted(body)))
            self._answer({"message_id": "m-1"})

        def _answer(self, body: dict) -> None:
            raw = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ = {"SYNAP_BASE_URL": f"http://127.0.0.1:{server.server_port}", "SYNAP_API_KEY": "synap_test_key"}
    try:
        subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | environ, check=True, timeout=60)
    finally:
        server.shutdown()
        server.server_close()
    return received, environ
