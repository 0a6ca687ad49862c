"""The advisor as an ASGI application: ``/?kind=k&said=…`` is a turn; headers are nobody's business."""

import os
from urllib.parse import parse_qs

import advisor


async def app(scope, receive, send):
    """Answer one request."""
    if scope["type"] != "http":
        return
    asked = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    answer = await advisor.aadvise(asked["kind"], asked["said"])
    headers = [(b"content-type", b"text/plain"), (b"x-pid", str(os.getpid()).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.encode()})
