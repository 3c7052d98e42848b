"""What can go wrong in serving. Everything a caller may read is in the message; everything else stays in the log."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from itertools import chain, islice

LONGEST_COMPARED, LENGTHS_APART, COMPARED = 64, 8, 200
"""Characters of a name for which similar ones are looked for; how many they may have more or fewer; how many are looked at."""


class ServingError(Exception):
    """Root of every error of `serving`. `transient`: the same request may be answered later."""

    transient = False


class ServingSettingsError(ServingError):
    """Some settings cannot be used."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"The settings cannot be used: {'; '.join(self.problems)}. Nothing was started.")


class OtherStoreError(ServingSettingsError):
    """The online store of `feature_store.yaml` is not Pedigree's."""


class NotAppliedError(ServingError):
    """There is no plan to serve by."""

    def __init__(self, project: str, path: str) -> None:
        self.project = project
        self.path = path
        super().__init__(
            f"The online store of {path} has no serving plan of the project {project!r}, or one without a feature view, and "
            f"none is kept from an earlier start. Nothing was started. Run `feast -f {path} apply` first."
        )


class StoreUnreachableError(ServingError):
    """The server cannot start: its store cannot be read, and it has no plan from an earlier start."""

    transient = True

    def __init__(self, path: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The online store of {path} cannot be read: {reason.rstrip('.')}. No serving plan is kept from an earlier start, so "
            "nothing was started. Put `online_store` right, or start again when the store is back."
        )


class AddressTakenError(ServingError):
    """The server cannot listen where it was told to."""

    def __init__(self, address: str, setting: str = "PEDIGREE_SERVING_ADDRESS") -> None:
        self.address = address
        super().__init__(
            f"Cannot listen on {address}: the port is taken, or the address is not one of this machine. "
            f"Nothing was started. Stop the other server, or set {setting} to another address."
        )


class InvalidRequestError(ServingError):
    """The request can never be answered as it stands; the message says how to put it right."""


class UnknownNameError(ServingError):
    """The registry has no such service, view or feature."""

    def __init__(self, kind: str, name: str, known: Collection[str]) -> None:
        self.kind = kind
        self.name = name
        close = similar_names(name, known)
        hint = f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
        super().__init__(
            f"There is no {kind} {name!r}.{hint} A definition that was applied after this server started is "
            "not known to it yet; it looks every few seconds."
        )


def similar_names(name: str, known: Collection[str]) -> list[str]:
    """A few known names that a name may have been meant for. Comparing takes time: few names are compared, and short ones."""
    if len(name) > LONGEST_COMPARED:
        return []
    near = (one for one in known if one[:1] == name[:1] and abs(len(one) - len(name)) <= LENGTHS_APART)
    others = (one for one in known if one[:1] != name[:1] and abs(len(one) - len(name)) <= LENGTHS_APART)
    return difflib.get_close_matches(name, list(islice(chain(near, others), COMPARED)), n=3)


class NotServedError(ServingError):
    """The name is known, but its kind of feature is not served here."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{name!r} is not served: {reason}.")


class NotReadyError(ServingError):
    """The name is known, but somebody has to put the registry in order before it can be served."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{name!r} cannot be served now: {reason}, and start the server anew.")


class NotComputedError(ServingError):
    """An on-demand feature's function is not defined for the values of a row. They are not told: not everybody may read them."""

    def __init__(self, view: str, feature: str, *, row: int, reason: str) -> None:
        self.view = view
        self.feature = feature
        self.row = row
        super().__init__(
            f"{view}:{feature} cannot be computed for row {row} of this request: {reason}. Nothing is answered. Leave the row "
            "out, send other request data, or have the function of the view say what holds then."
        )


class StoreUnavailableError(ServingError):
    """The online store refused, or did not answer in its time."""

    transient = True

    def __init__(self) -> None:
        super().__init__("The online store does not answer. Nothing was changed; try again.")


class DeadlinePassedError(ServingError):
    """The request ran out of time."""

    transient = True

    def __init__(self) -> None:
        super().__init__("The deadline passed before every feature was read. Try again, or allow more time.")


class ViewNotLoadedError(ServingError):
    """A view that is asked for is not loaded, so nobody knows what is missing."""

    transient = True

    def __init__(self, view: str) -> None:
        self.view = view
        super().__init__(
            f"The feature view {view!r} is not loaded: it was never materialized to the end, or the online store was emptied. "
            f"Nothing is answered for it until it is: pedigree rebuild {view}, or feast materialize."
        )


class EvictedRowError(ServingError):
    """A row is missing, and the store may have evicted it."""

    transient = True

    def __init__(self, view: str) -> None:
        self.view = view
        super().__init__(
            f"A row of the feature view {view!r} is missing, and the online store has evicted keys since the view was filled, so "
            f"nobody knows whether it ever was there. Nothing is answered until it is filled again: pedigree rebuild {view}."
        )


class LineageAwayError(ServingError):
    """The lineage backend cannot say where a value came from."""

    transient = True

    def __init__(self) -> None:
        super().__init__(
            "The lineage backend does not answer, so it is not known where the value came from. The value itself is still "
            "served. Try again, or check PEDIGREE_LINEAGE_URL of the server."
        )
