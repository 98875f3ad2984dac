"""weir's native API as a stock gRPC client has it, without generated code: what the messages are
is asked of the server's reflection, which is tried by that."""

import google.protobuf.json_format as json_format
import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICES = ("Streams", "Records", "Groups", "Inspect", "Events")


class Native:
    """The services of `weir.v1` at an address: `native.Append(stream=…, records=[…])`."""

    def __init__(self, address, options=()):
        self.channel = grpc.insecure_channel(address, options)
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.database)
        self.methods = {
            method.name: (service.full_name, method)
            for name in map("weir.v1.{}".format, SERVICES)
            for service in [self.pool.FindServiceByName(name)]
            for method in service.methods
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def call(self, name):
        """The method of that name, of the kind that it has."""
        service, method = self.methods[name]
        answer = GetMessageClass(method.output_type)
        kind = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, True): self.channel.stream_stream,
        }[method.client_streaming, method.server_streaming]
        return kind(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    def request(self, name, /, **members):
        """A request of that method."""
        return GetMessageClass(self.methods[name][1].input_type)(**members)

    def __getattr__(self, name):
        if name.startswith("_") or name not in self.methods:
            raise AttributeError(name)
        return lambda **members: self.call(name)(self.request(name, **members), timeout=30)

    def detail(self, error):
        """The `weir.v1.ErrorDetail` of a refused call, by its members."""
        status = dict(error.trailing_metadata())["grpc-status-details-bin"]
        detail = GetMessageClass(self.pool.FindMessageTypeByName("weir.v1.ErrorDetail"))
        at = status.index(b"type.googleapis.com/weir.v1.ErrorDetail")
        # Behind the type's name comes the value: its tag, its length, itself.
        value = status[at + len(b"type.googleapis.com/weir.v1.ErrorDetail") :]
        length, begin = value[1] & 0x7F, 2
        if value[1] & 0x80:
            length, begin = length + (value[2] << 7), 3
        assert value[0] == 0x12 and len(value) == begin + length, value
        message = detail.FromString(value[begin:])
        return json_format.MessageToDict(message)
