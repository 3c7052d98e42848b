"""What can go wrong at the door, and the one place that knows which errors are told to a user in one line."""

from __future__ import annotations

from collections.abc import Sequence


class PedigreeError(Exception):
    """Root of every error of `pedigree`; the message ends with what to do next."""


class NoRepositoryError(PedigreeError):
    """The command was run outside a feature repository."""


class RoleMissingError(PedigreeError):
    """The command belongs to a role that is not installed."""

    def __init__(self, module: str, *, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"This command needs {module}, which is not installed. "
            f"Install it with: pip install 'pedigree-feature-store[{extra}]' (with [all] for every command)"
        )


class NotInitialisedError(PedigreeError):
    """A new repository could not be written."""


class ServiceFailedError(PedigreeError):
    """A service of the local stack did not come up."""

    def __init__(self, name: str, *, log: str, last_words: str) -> None:
        self.name = name
        super().__init__(f"{name} did not start. Its last words ({log}):\n{last_words}")


class NoRedisError(PedigreeError):
    """The settings name no Redis."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} names no Redis to start. Its online_store must have "
            "`type: pedigree.online.feast_plugin.PedigreeOnlineStore` and a `connection_string` such as 127.0.0.1:16379."
        )


class PortTakenError(PedigreeError):
    """Something else listens where a service of the local stack should."""

    def __init__(self, name: str, *, address: str, setting: str) -> None:
        self.name = name
        self.address = address
        super().__init__(
            f"{name} cannot start: another program listens on {address}. "
            f"Stop that program, or choose another address by {setting}."
        )


class FeastFailedError(PedigreeError):
    """A stock Feast command failed."""

    def __init__(self, command: str, *, output: str) -> None:
        super().__init__(f"`{command}` failed:\n{output}\nFix what it names and run it again.")


class NoViewsError(PedigreeError):
    """The registry has no feature view."""

    def __init__(self) -> None:
        super().__init__("The registry has no feature view, so nothing was done. Run `feast apply` first.")


class UnknownViewError(PedigreeError):
    """A view was named that the registry does not have."""

    def __init__(self, view: str, *, known: Sequence[str]) -> None:
        super().__init__(
            f"There is no feature view {view!r} in the registry, which has: {', '.join(known)}. Name one of those, or run "
            "`feast apply` first."
        )


class KeyTypesUnreadError(PedigreeError):
    """The types of the keys of a service, by which text is read, are in the online store, which does not answer."""

    transient = True

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"The online store at {address} does not answer ({reason.rstrip('.')}), and it says of which type each key is. "
            "Nothing was asked. Start it (on a laptop: `pedigree up`), then ask again."
        )


class EntityRowError(PedigreeError):
    """The text of a key is no value of the key's type."""

    def __init__(self, name: str, text: str, *, value_type: str, example: str) -> None:
        super().__init__(f"{name} is of type {value_type}, and {text!r} is none. Give {example}: {name}=….")


class AskedInVainError(PedigreeError):
    """The server refused a request, or is not there; the same request may be answered later where that says so."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        self.transient = transient
        super().__init__(message)


class UnexplainedError(PedigreeError):
    """The way back from a value breaks off."""
