"""The stream's messages are the platform's, load beside its SDK, and are up to date with the .proto file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from synap_integrations.wire import proto

ROOT = Path(__file__).parents[2]
DATA = ROOT / "synap_integrations" / "wire" / "proto" / "synap_stream.binpb"
SDK_NAMES = "maximem_synap.transport.proto.synap_service_pb2"


def fields_of(descriptor) -> dict:
    """Number, type, repetition and presence of each field by name, and what messages it holds."""
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.has_presence,
            field.message_type.name if field.message_type else None,
        )
        for field in descriptor.fields
    }


def test_generated_data_is_up_to_date():
    """Every field of the .proto file is in the package data under its number, and nothing else is."""
    (file,) = FileDescriptorSet.FromString(DATA.read_bytes()).file
    generated = {(m.name, f.name, f.number) for m in file.message_type for f in m.field}
    source = re.sub(r"//.*", "", (ROOT / "protos" / "synap_stream.proto").read_text(encoding="utf-8"))
    written = {
        (message, field, int(number))
        for message, body in re.findall(r"message (\w+) \{(.*?)\n\}", source, re.DOTALL)
        for field, number in re.findall(r"(\w+) = (\d+);", body)
    }
    assert generated == written


def test_every_message_has_the_platforms_numbers_and_types():
    """Compared field by field with the descriptors of the platform's own SDK."""
    theirs = pytest.importorskip(SDK_NAMES)
    for name in proto.MESSAGES:
        ours = getattr(proto, name).DESCRIPTOR
        assert fields_of(ours) == fields_of(getattr(theirs, name).DESCRIPTOR), name


@pytest.mark.parametrize(
    "order", [("maximem_synap", "synap_integrations.wire.proto"), ("synap_integrations.wire.proto", "maximem_synap")]
)
def test_both_packages_load_in_one_process(order):
    """Whichever is imported first, neither refuses the other's messages, and bytes pass between them."""
    pytest.importorskip("maximem_synap")
    code = f"""
import {order[0]}, {order[1]}
from {SDK_NAMES} import StreamEvent as Theirs, ConversationEvent as TheirEvent
from synap_integrations.wire.proto import StreamEvent as Ours
theirs = Theirs(conversation_event=TheirEvent(event_id="e", metadata={{"k": "v"}}, timestamp_ms=7))
ours = Ours.FromString(theirs.SerializeToString())
assert ours.conversation_event.metadata["k"] == "v"
assert Theirs.FromString(ours.SerializeToString()) == theirs
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
