"""Server reflection: our own service as it is, and Feast's under Feast's names."""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format, timestamp_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from pedigree.serving.v1 import pedigree_pb2, serving_pb2, value_pb2

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

RENAMED = (
    ("pedigree.compat.types.v1", "feast.types"),
    ("pedigree.compat.serving.v1", "feast.serving"),
    ("pedigree/serving/v1/value.proto", "feast/types/Value.proto"),
    ("pedigree/serving/v1/serving.proto", "feast/serving/ServingService.proto"),
)


def descriptor_pool() -> DescriptorPool:
    """A pool with our own service, health and reflection, and with the messages of Feast's service under Feast's names."""
    pool = DescriptorPool()
    for module in (timestamp_pb2, health_pb2, reflection_pb2, value_pb2, pedigree_pb2):
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


def reflection_servicer(*services: str) -> Any:
    """A servicer that describes `services`, health and itself."""
    names = (*services, HEALTH, reflection.SERVICE_NAME)
    return reflection.aio.ReflectionServicer(service_names=names, pool=descriptor_pool())
