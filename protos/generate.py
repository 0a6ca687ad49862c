"""Turn ``synap_stream.proto`` into the package data of ``synap_integrations.wire.proto``.

Writes the serialized descriptors (``synap_stream.binpb``) and a stub that types the messages (``__init__.pyi``). No
generated Python code is involved, so any protobuf runtime can load the result, whatever compiler made it.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

HERE = Path(__file__).parent
TARGET = HERE.parent / "synap_integrations" / "wire" / "proto"
SOURCE = HERE / "synap_stream.proto"

SCALARS = {
    FieldDescriptorProto.TYPE_STRING: "str",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_INT32: "int",
    FieldDescriptorProto.TYPE_INT64: "int",
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_DOUBLE: "float",
}

HEAD = '''\
"""Made by protos/generate.py from protos/synap_stream.proto: edit that one."""

from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence
from typing import Final, Self

class DecodeError(Exception): ...

class Message:
    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...
    def ByteSize(self) -> int: ...
    @classmethod
    def FromString(cls, data: bytes) -> Self: ...
    def CopyFrom(self, other: Self) -> None: ...
    def HasField(self, field_name: str) -> bool: ...
    def WhichOneof(self, oneof_group: str) -> str | None: ...
    def Clear(self) -> None: ...
'''


def descriptors() -> bytes:
    """The serialized ``FileDescriptorSet`` of the .proto file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        if protoc.main(["protoc", f"-I{HERE}", f"--descriptor_set_out={out}", str(SOURCE)]):
            sys.exit("protoc refused the file")
        return out.read_bytes()


def stub(file: FileDescriptorProto) -> str:
    """Typed declarations of every message of the file."""
    names = ", ".join(f'"{name}"' for name in sorted(message.name for message in file.message_type))
    body = "".join(f"\n{declaration(message)}" for message in file.message_type)
    return f"{HEAD}{body}\nMESSAGES: Final = ({names})\n"


def declaration(message: DescriptorProto) -> str:
    """One message class: its fields, and what its constructor takes."""
    maps = {entry.name: entry for entry in message.nested_type}
    shapes = [(field.name, *shape(field, maps)) for field in message.field]
    fields = "".join(f"    {name}: {held}\n" for name, held, _ in shapes)
    arguments = "".join(f"        {name}: {given} | None = ...,\n" for name, _, given in shapes)
    init = f"    def __init__(\n        self,\n        *,\n{arguments}    ) -> None: ...\n"
    return f"class {message.name}(Message):\n{fields}{init}"


def shape(field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> tuple[str, str]:
    """The type a field has, and the type its constructor argument may have."""
    name = field.type_name.rpartition(".")[2] or SCALARS[field.type]
    if name in maps:
        key, value = (shape(part, {})[0] for part in maps[name].field)
        return f"MutableMapping[{key}, {value}]", f"Mapping[{key}, {value}]"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"MutableSequence[{name}]", f"Iterable[{name}]"
    return name, name


if __name__ == "__main__":
    data = descriptors()
    (TARGET / "synap_stream.binpb").write_bytes(data)
    (file,) = FileDescriptorSet.FromString(data).file
    (TARGET / "__init__.pyi").write_text(stub(file), encoding="utf-8")
