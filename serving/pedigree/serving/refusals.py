"""Why somebody is not answered: who they are, what they may read, or how much they ask at once."""

from __future__ import annotations

from pedigree.serving.errors import ServingError


class UnauthenticatedError(ServingError):
    """There is no token, or none that is taken here. `reason` is for the log; the caller is told nothing of the token."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            "There is no token with this request, or none that is taken here. Send the metadata `authorization: Bearer …` "
            "with a token that has not expired, of the issuer and for the audience of this server."
        )


class KeysUnavailableError(ServingError):
    """Nobody's token can be verified now."""

    transient = True

    def __init__(self) -> None:
        super().__init__(
            "The issuer's keys cannot be had, so that no token can be verified. Nothing was read; try again."
        )


class DeniedError(ServingError):
    """The principal may not read what it asks for, or there is no such thing: nobody learns which."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(
            f"There is no {kind} {name!r} that you may read. Ask those who run the feature store for a Feast `Permission` "
            "with READ_ONLINE on it, or check the name."
        )


class StoppingError(ServingError):
    """This process stops, and takes nothing new."""

    transient = True

    def __init__(self) -> None:
        super().__init__("This server is stopping. Nothing was read; try again, and another one answers.")


class ExhaustedError(ServingError):
    """This process has enough to do, or this principal has asked enough. `retry_after_ms`: when to come again."""

    transient = True

    def __init__(self, reason: str, retry_after_ms: int) -> None:
        self.reason = reason
        self.retry_after_ms = retry_after_ms
        super().__init__(f"{reason} Nothing was read; try again in {retry_after_ms} ms.")


class CrowdedError(ExhaustedError):
    """As many requests are under way as may be."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} requests are under way here, and that is the limit.", 100)


class LargeReplyError(ServingError):
    """The reply is larger than clients take."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"The reply has {size:,} bytes, and the limit is {limit:,}. Ask for fewer rows or features at once; or raise "
            "PEDIGREE_SERVING_MAX_REPLY_BYTES on the server and grpc.max_receive_message_length on the client."
        )


class TooFastError(ExhaustedError):
    """A principal asks faster than it may."""

    def __init__(self, rate: float, retry_after_ms: int) -> None:
        super().__init__(f"You may make {rate:g} requests a second here, and have made more.", retry_after_ms)
