from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "k", "history", "exclude", "exclude_seen", "filter", "timeout_ms", "explain", "context", "goals")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class GoalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    GOALS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    k: int
    history: _containers.RepeatedScalarFieldContainer[str]
    exclude: _containers.RepeatedScalarFieldContainer[str]
    exclude_seen: bool
    filter: _struct_pb2.Struct
    timeout_ms: int
    explain: bool
    context: _containers.ScalarMap[str, str]
    goals: _containers.ScalarMap[str, float]
    def __init__(self, user_id: _Optional[str] = ..., k: _Optional[int] = ..., history: _Optional[_Iterable[str]] = ..., exclude: _Optional[_Iterable[str]] = ..., exclude_seen: _Optional[bool] = ..., filter: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., timeout_ms: _Optional[int] = ..., explain: _Optional[bool] = ..., context: _Optional[_Mapping[str, str]] = ..., goals: _Optional[_Mapping[str, float]] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[RecommendRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[RecommendRequest, _Mapping]]] = ...) -> None: ...

class SimilarRequest(_message.Message):
    __slots__ = ("item_ids", "features", "k", "exclude", "filter", "timeout_ms")
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    features: _struct_pb2.Struct
    k: int
    exclude: _containers.RepeatedScalarFieldContainer[str]
    filter: _struct_pb2.Struct
    timeout_ms: int
    def __init__(self, item_ids: _Optional[_Iterable[str]] = ..., features: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., k: _Optional[int] = ..., exclude: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class NearestItem(_message.Message):
    __slots__ = ("id", "cosine")
    ID_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    id: str
    cosine: float
    def __init__(self, id: _Optional[str] = ..., cosine: _Optional[float] = ...) -> None: ...

class ItemExplanation(_message.Message):
    __slots__ = ("retrieval_rank", "retrieval_score", "rerank_score", "nearest_history")
    RETRIEVAL_RANK_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_SCORE_FIELD_NUMBER: _ClassVar[int]
    RERANK_SCORE_FIELD_NUMBER: _ClassVar[int]
    NEAREST_HISTORY_FIELD_NUMBER: _ClassVar[int]
    retrieval_rank: int
    retrieval_score: float
    rerank_score: float
    nearest_history: _containers.RepeatedCompositeFieldContainer[NearestItem]
    def __init__(self, retrieval_rank: _Optional[int] = ..., retrieval_score: _Optional[float] = ..., rerank_score: _Optional[float] = ..., nearest_history: _Optional[_Iterable[_Union[NearestItem, _Mapping]]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("id", "title", "score", "features", "explanation")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    score: float
    features: _struct_pb2.Struct
    explanation: ItemExplanation
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., score: _Optional[float] = ..., features: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., explanation: _Optional[_Union[ItemExplanation, _Mapping]] = ...) -> None: ...

class AnswerExplanation(_message.Message):
    __slots__ = ("filter", "num_excluded", "num_candidates")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    NUM_EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    NUM_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    filter: _struct_pb2.Struct
    num_excluded: int
    num_candidates: int
    def __init__(self, filter: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., num_excluded: _Optional[int] = ..., num_candidates: _Optional[int] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("request_id", "release_id", "source", "degraded", "reasons", "unknown_items", "items", "timings_ms", "explained", "unknown_context", "experiment", "variant", "stale")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ITEMS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    release_id: str
    source: str
    degraded: bool
    reasons: _containers.RepeatedScalarFieldContainer[str]
    unknown_items: _containers.RepeatedScalarFieldContainer[str]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    timings_ms: _containers.ScalarMap[str, float]
    explained: AnswerExplanation
    unknown_context: _containers.RepeatedScalarFieldContainer[str]
    experiment: str
    variant: str
    stale: bool
    def __init__(self, request_id: _Optional[str] = ..., release_id: _Optional[str] = ..., source: _Optional[str] = ..., degraded: _Optional[bool] = ..., reasons: _Optional[_Iterable[str]] = ..., unknown_items: _Optional[_Iterable[str]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., explained: _Optional[_Union[AnswerExplanation, _Mapping]] = ..., unknown_context: _Optional[_Iterable[str]] = ..., experiment: _Optional[str] = ..., variant: _Optional[str] = ..., stale: _Optional[bool] = ...) -> None: ...

class BatchResponse(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[RecommendResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[RecommendResponse, _Mapping]]] = ...) -> None: ...

class SimilarResponse(_message.Message):
    __slots__ = ("request_id", "release_id", "source", "degraded", "reasons", "unknown_items", "items", "timings_ms", "stale")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ITEMS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    release_id: str
    source: str
    degraded: bool
    reasons: _containers.RepeatedScalarFieldContainer[str]
    unknown_items: _containers.RepeatedScalarFieldContainer[str]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    timings_ms: _containers.ScalarMap[str, float]
    stale: bool
    def __init__(self, request_id: _Optional[str] = ..., release_id: _Optional[str] = ..., source: _Optional[str] = ..., degraded: _Optional[bool] = ..., reasons: _Optional[_Iterable[str]] = ..., unknown_items: _Optional[_Iterable[str]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., stale: _Optional[bool] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("event_id", "user_id", "item_id", "type", "time", "value", "context", "request_id")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    user_id: str
    item_id: str
    type: str
    time: float
    value: float
    context: _containers.ScalarMap[str, str]
    request_id: str
    def __init__(self, event_id: _Optional[str] = ..., user_id: _Optional[str] = ..., item_id: _Optional[str] = ..., type: _Optional[str] = ..., time: _Optional[float] = ..., value: _Optional[float] = ..., context: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class EventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class EventsResponse(_message.Message):
    __slots__ = ("accepted", "duplicates")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    duplicates: int
    def __init__(self, accepted: _Optional[int] = ..., duplicates: _Optional[int] = ...) -> None: ...

class UserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class KnownEvent(_message.Message):
    __slots__ = ("item_id", "type", "time", "value", "context")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    type: str
    time: str
    value: float
    context: _containers.ScalarMap[str, str]
    def __init__(self, item_id: _Optional[str] = ..., type: _Optional[str] = ..., time: _Optional[str] = ..., value: _Optional[float] = ..., context: _Optional[_Mapping[str, str]] = ...) -> None: ...

class TypeCount(_message.Message):
    __slots__ = ("total", "decayed", "last")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DECAYED_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    total: int
    decayed: float
    last: str
    def __init__(self, total: _Optional[int] = ..., decayed: _Optional[float] = ..., last: _Optional[str] = ...) -> None: ...

class UserResponse(_message.Message):
    __slots__ = ("user_id", "events", "seen", "counts", "forgotten", "release_id", "release_history")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TypeCount
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TypeCount, _Mapping]] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_HISTORY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    events: _containers.RepeatedCompositeFieldContainer[KnownEvent]
    seen: _containers.RepeatedScalarFieldContainer[str]
    counts: _containers.MessageMap[str, TypeCount]
    forgotten: str
    release_id: str
    release_history: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_id: _Optional[str] = ..., events: _Optional[_Iterable[_Union[KnownEvent, _Mapping]]] = ..., seen: _Optional[_Iterable[str]] = ..., counts: _Optional[_Mapping[str, TypeCount]] = ..., forgotten: _Optional[str] = ..., release_id: _Optional[str] = ..., release_history: _Optional[_Iterable[str]] = ...) -> None: ...

class ForgottenResponse(_message.Message):
    __slots__ = ("user_id", "forgotten")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    forgotten: str
    def __init__(self, user_id: _Optional[str] = ..., forgotten: _Optional[str] = ...) -> None: ...
