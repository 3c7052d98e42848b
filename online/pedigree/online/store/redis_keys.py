"""Names of everything in Redis, built in one place. All start with the project, which Feast lets have no colon.

| key | holds |
|---|---|
| `<project>:<join keys>:<values>` | a hash per entity key: one packed record per view, in a field of four bytes |
| `<project>:marks` | a hash: per view what is loaded of it |
| `<project>:loads`, `<project>:last-load` | a hash: who wrote the records with a load's number; the last number |
| `<project>:progress` | a hash: how many rows are done, of each load that is under way |
| `<project>:open-loads{<project>:marks}` | a hash: the loads that have begun and not ended well; beside the marks in a cluster |
| `<project>:alive-<number>` | whether a load that is under way is still heard of; it goes by itself |
| `<project>:evictions` | a hash: per field of a view what Redis had evicted when it was filled |
| `<project>:schemas` | a hash: the layouts of records, by fingerprint |
| `<project>:plan` | the serving plan |

No other key starts as an entity's do: join keys are quoted, so they have no brace, and no other key has a second colon before
one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from urllib.parse import quote

from pedigree.online.errors import UnstorableNameError

FORBIDDEN = frozenset(":,~")
FIELD_BYTES = 4

ZEROS = {
    tag + struct.pack(form, -0.0): tag + struct.pack(form, 0.0) for tag, form in ((b"\x29", "<d"), (b"\x35", "<f"))
}
"""Of the serialized `Value`s of −0.0, a double and a float, those of 0.0, which they equal."""


def entity_prefix(project: str, join_keys: Sequence[str]) -> bytes:
    """What the keys of all entities with these join keys start with; the values follow, each as a serialized `Value`.

    A serialized value says where it ends, so no two entities have one key.
    """
    names = ",".join(quote(name, safe="") for name in join_keys)
    return f"{checked('project', project)}:{names}:".encode()


def project_prefix(project: str) -> bytes:
    """What the keys of all of a project's entities start with, and nothing of another project's."""
    return f"{checked('project', project)}:".encode()


def entity_key(prefix: bytes, values: Sequence[bytes]) -> bytes:
    """The key of one entity.

    Args:
        values: the serialized `Value` of each join key, in the order of the join keys' names.
    """
    return prefix + b"".join(values)


def key_value(value: bytes) -> bytes:
    """The serialized `Value` of a join key, in the one form that it is stored and looked up in: −0.0 is 0.0."""
    return ZEROS.get(value, value)


def is_entity_key(key: bytes) -> bool:
    """Whether a key is an entity's: no other key of a project has a second colon, but in braces."""
    return key.partition(b"{")[0].count(b":") > 1


def field(view: str, generation: int) -> bytes:
    """The field of an entity's hash that holds a view's record: four bytes that stand for its name.

    Every entity repeats it, so it is short. A full refresh is built in a generation of its own.
    """
    name = blake2b(checked("view", view).encode(), digest_size=FIELD_BYTES).digest()
    return name + b"~%d" % generation if generation else name


def marks_key(project: str) -> bytes:
    """Per view: what is loaded of it."""
    return f"{checked('project', project)}:marks".encode()


def loads_key(project: str) -> bytes:
    """Per number of a load: who wrote the records that bear it."""
    return f"{checked('project', project)}:loads".encode()


def last_load_key(project: str) -> bytes:
    """The last number that was given to a load."""
    return f"{checked('project', project)}:last-load".encode()


def progress_key(project: str) -> bytes:
    """Per number of a load that is under way: how many rows are done."""
    return f"{checked('project', project)}:progress".encode()


def open_loads_key(project: str) -> bytes:
    """Per number: the loads that have begun and not ended well. In a cluster it lies where the marks do: one script has both."""
    return f"{checked('project', project)}:open-loads{{{project}:marks}}".encode()


def alive_key(project: str, number: int) -> bytes:
    """There as long as a load that is under way is heard of."""
    return f"{checked('project', project)}:alive-{number}".encode()


def evictions_key(project: str) -> bytes:
    """Per field of a view: how much Redis had evicted when it was filled."""
    return f"{checked('project', project)}:evictions".encode()


def schemas_key(project: str) -> bytes:
    """Per fingerprint: the layout of records."""
    return f"{checked('project', project)}:schemas".encode()


def plan_key(project: str) -> bytes:
    """The serving plan."""
    return f"{checked('project', project)}:plan".encode()


def checked(kind: str, name: str) -> str:
    """The name, where it can be told from its neighbours in a key."""
    if not is_storable(name):
        raise UnstorableNameError(kind, name)
    return name


def is_storable(name: str) -> bool:
    """Whether a name can be told from its neighbours in a key."""
    return bool(name) and not FORBIDDEN & set(name)
