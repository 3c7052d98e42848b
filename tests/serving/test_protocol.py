"""Our messages are Feast's messages: the same descriptions, the same bytes, beside each other in one process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feast.protos.feast.serving import ServingService_pb2 as feast_serving
from feast.protos.feast.types import Value_pb2 as feast_types
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pedigree.serving.transport.reflection import as_feast
from pedigree.serving.v1 import serving_pb2, value_pb2

from ..distributions import ROOT

PAIRS = [(value_pb2, feast_types), (serving_pb2, feast_serving)]

Draw = Callable[[st.SearchStrategy[Any]], Any]

WHOLE = {"min_value": -(2**31), "max_value": 2**31 - 1}
LONG = {"min_value": -(2**63), "max_value": 2**63 - 1}
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_STRING: st.text(max_size=20),
    FieldDescriptor.TYPE_INT32: st.integers(**WHOLE),
    FieldDescriptor.TYPE_INT64: st.integers(**LONG),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False),
    FieldDescriptor.TYPE_FLOAT: st.floats(allow_nan=False, width=32),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_ENUM: st.just(0),
}
CASES = [field.name for field in feast_types.Value.DESCRIPTOR.oneofs_by_name["val"].fields]


def described(file: FileDescriptorProto) -> FileDescriptorProto:
    """A description without what no reader of bytes cares for: language options and the order of declarations."""
    file.ClearField("options")
    file.ClearField("dependency")
    for declared in (file.message_type, file.enum_type):
        declared.sort(key=lambda one: str(one.name))
    return file


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_our_files_describe_what_feast_s_describe(ours: Any, theirs: Any) -> None:
    """Every message, field, number, type, oneof, enum and method of Feast's two files is in ours, and nothing else is."""
    expected = FileDescriptorProto()
    theirs.DESCRIPTOR.CopyToProto(expected)
    assert described(as_feast(ours.DESCRIPTOR)) == described(expected)


def fill(draw: Draw, message: Any, depth: int) -> None:
    """Set the fields of `message` to something drawn, and one field of each of its oneofs."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is None:
            fill_field(draw, message, field=field, depth=depth)
    for oneof in message.DESCRIPTOR.oneofs:
        fill_field(draw, message, field=draw(st.sampled_from(list(oneof.fields))), depth=depth)


def fill_field(draw: Draw, message: Any, *, field: Any, depth: int) -> None:
    """Set one field to something drawn; messages in messages end after `depth` levels."""
    value = getattr(message, field.name)
    if field.message_type is None:
        if field.is_repeated:
            value.extend(draw(st.lists(SCALARS[field.type], max_size=3)))
        else:
            setattr(message, field.name, draw(SCALARS[field.type]))
    elif not field.is_repeated:
        value.SetInParent()
        if depth:
            fill(draw, value, depth - 1)
    elif depth and field.message_type.GetOptions().map_entry:
        for name in draw(st.lists(st.text(max_size=5), max_size=2)):
            fill(draw, value[name], depth - 1)
    elif depth:
        for _ in range(draw(st.integers(0, 2))):
            fill(draw, value.add(), depth - 1)


@pytest.mark.parametrize("case", CASES)
def test_every_case_of_a_value_survives_the_way_through_our_messages(case: str) -> None:
    """For each case of Value, any value that Feast writes is read by us as that case and written with the same bytes."""

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def survives(data: st.DataObject) -> None:
        theirs = feast_types.Value()
        fill_field(data.draw, theirs, field=theirs.DESCRIPTOR.fields_by_name[case], depth=3)
        ours = value_pb2.Value.FromString(theirs.SerializeToString(deterministic=True))
        assert ours.WhichOneof("val") == case
        assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
        assert feast_types.Value.FromString(ours.SerializeToString()) == theirs

    survives()


@pytest.mark.parametrize("name", ["GetOnlineFeaturesRequest", "GetOnlineFeaturesResponse"])
def test_requests_and_responses_have_the_same_bytes(name: str) -> None:
    """Any request or response that Feast writes is written by us with the same bytes, and read back by Feast as it was."""
    theirs_kind, ours_kind = getattr(feast_serving, name), getattr(serving_pb2, name)

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(data=st.data())
    def same(data: st.DataObject) -> None:
        theirs = theirs_kind()
        fill(data.draw, theirs, 3)
        ours = ours_kind.FromString(theirs.SerializeToString(deterministic=True))
        assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
        assert theirs_kind.FromString(ours.SerializeToString()) == theirs

    same()


def test_the_generated_code_is_what_the_protos_generate(tmp_path: Path) -> None:
    """Generating the messages anew yields the files that are kept, byte for byte."""
    protos = ["pedigree/serving/v1/value.proto", "pedigree/serving/v1/serving.proto"]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, *protos], cwd=ROOT / "serving", check=True)
    generated = {path.relative_to(tmp_path): path.read_text() for path in sorted(tmp_path.rglob("*.py*"))}
    assert len(generated) == 4
    assert generated == {name: (ROOT / "serving" / name).read_text() for name in generated}
