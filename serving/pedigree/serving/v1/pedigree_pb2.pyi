import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pedigree.serving.v1 import value_pb2 as _value_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRECISION_DOUBLE: _ClassVar[Precision]
    PRECISION_FLOAT: _ClassVar[Precision]
PRECISION_DOUBLE: Precision
PRECISION_FLOAT: Precision

class FeatureNames(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class Keys(_message.Message):
    __slots__ = ("name", "ints", "strings", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INTS_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    ints: _containers.RepeatedScalarFieldContainer[int]
    strings: _containers.RepeatedScalarFieldContainer[str]
    values: _containers.RepeatedCompositeFieldContainer[_value_pb2.Value]
    def __init__(self, name: _Optional[str] = ..., ints: _Optional[_Iterable[int]] = ..., strings: _Optional[_Iterable[str]] = ..., values: _Optional[_Iterable[_Union[_value_pb2.Value, _Mapping]]] = ...) -> None: ...

class GetVectorsRequest(_message.Message):
    __slots__ = ("feature_service", "features", "keys", "include_provenance", "precision")
    FEATURE_SERVICE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    feature_service: str
    features: FeatureNames
    keys: _containers.RepeatedCompositeFieldContainer[Keys]
    include_provenance: bool
    precision: Precision
    def __init__(self, feature_service: _Optional[str] = ..., features: _Optional[_Union[FeatureNames, _Mapping]] = ..., keys: _Optional[_Iterable[_Union[Keys, _Mapping]]] = ..., include_provenance: _Optional[bool] = ..., precision: _Optional[_Union[Precision, str]] = ...) -> None: ...

class GetVectorsResponse(_message.Message):
    __slots__ = ("names", "rows", "values", "floats", "statuses", "others", "provenance", "loads", "plan_version")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FLOATS_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    LOADS_FIELD_NUMBER: _ClassVar[int]
    PLAN_VERSION_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    rows: int
    values: _containers.RepeatedScalarFieldContainer[float]
    floats: _containers.RepeatedScalarFieldContainer[float]
    statuses: bytes
    others: _containers.RepeatedCompositeFieldContainer[Column]
    provenance: _containers.RepeatedCompositeFieldContainer[Provenance]
    loads: _containers.RepeatedCompositeFieldContainer[Load]
    plan_version: str
    def __init__(self, names: _Optional[_Iterable[str]] = ..., rows: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ..., floats: _Optional[_Iterable[float]] = ..., statuses: _Optional[bytes] = ..., others: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., provenance: _Optional[_Iterable[_Union[Provenance, _Mapping]]] = ..., loads: _Optional[_Iterable[_Union[Load, _Mapping]]] = ..., plan_version: _Optional[str] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "values", "statuses")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedCompositeFieldContainer[_value_pb2.Value]
    statuses: bytes
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[_Union[_value_pb2.Value, _Mapping]]] = ..., statuses: _Optional[bytes] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("view", "event_times_us", "loads")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMES_US_FIELD_NUMBER: _ClassVar[int]
    LOADS_FIELD_NUMBER: _ClassVar[int]
    view: str
    event_times_us: _containers.RepeatedScalarFieldContainer[int]
    loads: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, view: _Optional[str] = ..., event_times_us: _Optional[_Iterable[int]] = ..., loads: _Optional[_Iterable[int]] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("number", "run_id", "table", "version")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    number: int
    run_id: str
    table: str
    version: int
    def __init__(self, number: _Optional[int] = ..., run_id: _Optional[str] = ..., table: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("feature_service", "feature", "entity")
    class EntityEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _value_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_value_pb2.Value, _Mapping]] = ...) -> None: ...
    FEATURE_SERVICE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    feature_service: str
    feature: str
    entity: _containers.MessageMap[str, _value_pb2.Value]
    def __init__(self, feature_service: _Optional[str] = ..., feature: _Optional[str] = ..., entity: _Optional[_Mapping[str, _value_pb2.Value]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("feature", "value", "status", "event_time", "created_time", "load", "built_by", "built_version", "verdict", "sources", "stored_in", "loaded", "built")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    BUILT_BY_FIELD_NUMBER: _ClassVar[int]
    BUILT_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    STORED_IN_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    BUILT_FIELD_NUMBER: _ClassVar[int]
    feature: str
    value: _value_pb2.Value
    status: int
    event_time: _timestamp_pb2.Timestamp
    created_time: _timestamp_pb2.Timestamp
    load: Load
    built_by: str
    built_version: int
    verdict: Verdict
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    stored_in: Dataset
    loaded: Run
    built: Run
    def __init__(self, feature: _Optional[str] = ..., value: _Optional[_Union[_value_pb2.Value, _Mapping]] = ..., status: _Optional[int] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., built_by: _Optional[str] = ..., built_version: _Optional[int] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ..., sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ..., stored_in: _Optional[_Union[Dataset, _Mapping]] = ..., loaded: _Optional[_Union[Run, _Mapping]] = ..., built: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("id", "job", "state", "ended_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    job: str
    state: str
    ended_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., job: _Optional[str] = ..., state: _Optional[str] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("namespace", "name", "version")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    version: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("rules", "held", "rows_published", "rows_quarantined", "broken_rows", "results")
    RULES_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    ROWS_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    ROWS_QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    BROKEN_ROWS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    rules: int
    held: int
    rows_published: int
    rows_quarantined: int
    broken_rows: int
    results: _containers.RepeatedCompositeFieldContainer[RuleResult]
    def __init__(self, rules: _Optional[int] = ..., held: _Optional[int] = ..., rows_published: _Optional[int] = ..., rows_quarantined: _Optional[int] = ..., broken_rows: _Optional[int] = ..., results: _Optional[_Iterable[_Union[RuleResult, _Mapping]]] = ...) -> None: ...

class RuleResult(_message.Message):
    __slots__ = ("rule", "held", "broken_rows")
    RULE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    BROKEN_ROWS_FIELD_NUMBER: _ClassVar[int]
    rule: str
    held: bool
    broken_rows: int
    def __init__(self, rule: _Optional[str] = ..., held: _Optional[bool] = ..., broken_rows: _Optional[int] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("namespace", "name", "version", "columns", "landed", "landed_from")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    LANDED_FIELD_NUMBER: _ClassVar[int]
    LANDED_FROM_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    version: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    landed: Run
    landed_from: _containers.RepeatedCompositeFieldContainer[Dataset]
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ..., landed: _Optional[_Union[Run, _Mapping]] = ..., landed_from: _Optional[_Iterable[_Union[Dataset, _Mapping]]] = ...) -> None: ...
