"""The same as a WSGI application, whose answer is made while it is read."""

import os
from urllib.parse import parse_qs

import advisor


def app(environ, start_response):
    """Answer one request."""
    asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Pid", str(os.getpid()))])
    return answered(asked)


def answered(asked):
    """The body."""
    yield advisor.advise(asked["kind"], asked["said"]).encode()
