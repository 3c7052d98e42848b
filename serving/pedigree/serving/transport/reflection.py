"""Server reflection under Feast's names: our messages, described as the `feast.…` files that they stand for."""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format, timestamp_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from pedigree.serving.v1 import serving_pb2, value_pb2

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

RENAMED = (
    ("pedigree.compat.types.v1", "feast.types"),
    ("pedigree.compat.serving.v1", "feast.serving"),
    ("pedigree/serving/v1/value.proto", "feast/types/Value.proto"),
    ("pedigree/serving/v1/serving.proto", "feast/serving/ServingService.proto"),
)


def feast_pool() -> DescriptorPool:
    """A pool of its own in which our messages bear Feast's names, beside health and reflection."""
    pool = DescriptorPool()
    for module in (timestamp_pb2, health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for ours in (value_pb2.DESCRIPTOR, serving_pb2.DESCRIPTOR):
        pool.AddSerializedFile(as_feast(ours).SerializeToString())
    return pool


def as_feast(ours: FileDescriptor) -> FileDescriptorProto:
    """The description of one of our files as the Feast file that it stands for."""
    proto = FileDescriptorProto()
    ours.CopyToProto(proto)
    text = text_format.MessageToString(proto)
    for name, feast_name in RENAMED:
        text = text.replace(name, feast_name)
    return text_format.Parse(text, FileDescriptorProto())


def reflection_servicer(service: str) -> Any:
    """What answers reflection for `service`, health and itself."""
    names = (service, HEALTH, reflection.SERVICE_NAME)
    return reflection.aio.ReflectionServicer(service_names=names, pool=feast_pool())
