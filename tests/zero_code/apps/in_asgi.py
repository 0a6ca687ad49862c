"""An ASGI application without a framework: ``/?conversation=c&said=…`` is a turn; headers are nobody's business."""

from urllib.parse import parse_qs

import chat


async def app(scope, receive, send):
    """Answer one request."""
    if scope["type"] != "http":
        return
    asked = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    if "conversation" in asked:
        answer = await chat.aask(asked["conversation"], asked["said"])
    else:
        answer = await chat.chain.ainvoke({"said": asked["said"]})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": answer.encode()})
