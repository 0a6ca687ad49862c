"""A Celery application with a broker in a folder, as small as they come."""

import os

import chat
from celery import Celery

folder = os.environ["BROKER_FOLDER"]
app = Celery("in_celery", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{folder}/queue",
    "data_folder_out": f"{folder}/queue",
    "control_folder": f"{folder}/control",
}


@app.task
def talk(conversation, said):
    """One turn in a worker."""
    return chat.ask(conversation, said)
