"""protobuf messages with long lists, read a piece at a time: parsed objects are many times their bytes.

The messages are described here instead of in generated code. Fields without a description are skipped by protobuf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.formats.wire_fields import WITH_LENGTH, Unreadable, read_varint, skip_field
from nordiq_watch.json_lists.lenient import too_many

PIECE_BYTES, PIECE_ELEMENTS = 64 * 1024, 1_000

_SCALARS = {
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
}

Fields: TypeAlias = "Sequence[tuple[str, int, str]]"
"""Of one message: name, number and type. A message's name stands for a message, `[]` behind a type for a list of it."""


def describe_messages(package: str, messages: Mapping[str, Fields], *, top: str) -> Any:
    """The class of the message `top`, for protobuf to read.

    Text is best described as bytes: protobuf refuses the whole message for one text that is not UTF-8.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field_name, number, written in fields:
            kind = written.removesuffix("[]")
            field = message.field.add(name=field_name, number=number)
            field.label = field.LABEL_OPTIONAL if kind == written else field.LABEL_REPEATED
            field.type = _SCALARS.get(kind, field.TYPE_MESSAGE)
            if kind not in _SCALARS:
                field.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{top}"))


@dataclass(frozen=True, slots=True)
class Limit:
    """Number of fields that are called `what` in messages. slack: more that may be there, because they are others."""

    most: int
    what: str
    slack: int = 0

    def check(self, count: int) -> None:
        if count > self.most + self.slack:
            raise too_many(self.what, self.most)


@dataclass(frozen=True, slots=True)
class PieceReader:
    """Cuts messages of one kind along one of their lists. unreadable: the error for what is no such message."""

    message: Any
    name: str
    number: int
    unreadable: Callable[[], RequestError]

    def cut(self, body: bytes, *, elements: Limit, others: Limit, inside: Limit | None = None) -> list[bytes]:
        """Several messages with a few elements of the list each: any run of a message's fields is a message. Other
        fields are left out. Raises TooManyRecords before anything is parsed.

        inside: limits the fields of one long element.
        """
        try:
            return self._cut(body, elements, others, inside)
        except Unreadable:
            raise self.unreadable() from None

    def _cut(self, body: bytes, elements: Limit, others: Limit, inside: Limit | None) -> list[bytes]:
        element = self.number << 3 | WITH_LENGTH
        pieces: list[bytes] = []
        begin = position = held = count = count_others = 0
        while position < len(body):
            start = position
            tag, position = read_varint(body, position)
            if tag == element:
                length, position = read_varint(body, position)
                if length > PIECE_BYTES and inside is not None:
                    self._count_inside(body, position, position + length, inside)
                position, held, count, end = position + length, held + 1, count + 1, position + length
            else:
                position, end, count_others = skip_field(body, tag, position), start, count_others + 1
            elements.check(count)
            others.check(count_others)
            if tag != element or held == PIECE_ELEMENTS or position - begin > PIECE_BYTES:
                if held:
                    pieces.append(body[begin:end])
                begin, held = position, 0
        if position > len(body):
            raise Unreadable("a field is longer than its message")
        return [*pieces, body[begin:]] if held else pieces

    def parse(self, pieces: Iterable[bytes]) -> Iterator[Sequence[Any]]:
        """The elements of each piece; only those of one exist at a time."""
        for piece in pieces:
            message = self.message()
            try:
                message.ParseFromString(piece)
            except DecodeError:
                raise self.unreadable() from None
            yield getattr(message, self.name)

    def _count_inside(self, body: bytes, position: int, end: int, limit: Limit) -> None:
        """Counts the labels and samples of one long series, which take few bytes each."""
        count = 0
        while position < min(end, len(body)):
            tag, position = read_varint(body, position)
            position = skip_field(body, tag, position)
            count += 1
            limit.check(count)
