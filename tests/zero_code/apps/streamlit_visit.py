"""Visits a page of Streamlit as a browser does: over its socket, until the answer is on it."""

import asyncio
import sys

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


async def visit(port):
    """Ask for the page to be run, and read what comes."""
    async with websockets.connect(f"ws://127.0.0.1:{port}/_stcore/stream", subprotocols=["streamlit"]) as socket:
        run = BackMsg()
        run.rerun_script.query_string = ""
        await socket.send(run.SerializeToString())
        while "You said: hello from a page" not in str(ForwardMsg.FromString(await socket.recv())):
            pass


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(visit(int(sys.argv[1])), 40))
