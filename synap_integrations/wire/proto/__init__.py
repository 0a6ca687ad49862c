"""The messages of the stream, built at import from ``synap_stream.binpb`` in a descriptor pool of their own.

A private pool, because two packages that register the same messages in protobuf's default pool cannot live in one
process; descriptors instead of generated code, because generated code is tied to the protobuf release that made it.
"""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

_pool = DescriptorPool()
(_file,) = FileDescriptorSet.FromString(Path(__file__).with_name("synap_stream.binpb").read_bytes()).file
_pool.AddSerializedFile(_file.SerializeToString())

MESSAGES = tuple(sorted(message.name for message in _file.message_type))
for _name in MESSAGES:
    globals()[_name] = GetMessageClass(_pool.FindMessageTypeByName(f"{_file.package}.{_name}"))

__all__ = ["MESSAGES", "DecodeError", "Message", *MESSAGES]
