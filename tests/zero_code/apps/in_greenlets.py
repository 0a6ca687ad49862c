"""A WSGI application that runs an event loop of its own for each answer."""

import asyncio
from urllib.parse import parse_qs

import chat


def app(environ, start_response):
    """Answer one request."""
    asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [asyncio.run(chat.aask(asked["conversation"], asked["said"])).encode()]
