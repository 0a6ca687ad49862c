"""The same as a Flask application."""

import chat
from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def answer():
    """One turn."""
    if "conversation" in request.args:
        return chat.ask(request.args["conversation"], request.args["said"])
    return chat.chain.invoke({"said": request.args["said"]})
