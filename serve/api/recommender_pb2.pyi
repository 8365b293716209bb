from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "k", "history", "exclude", "exclude_seen", "filter", "timeout_ms", "explain", "context")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    k: int
    history: _containers.RepeatedScalarFieldContainer[str]
    exclude: _containers.RepeatedScalarFieldContainer[str]
    exclude_seen: bool
    filter: _struct_pb2.Struct
    timeout_ms: int
    explain: bool
    context: _containers.ScalarMap[str, str]
    def __init__(self, user_id: _Optional[str] = ..., k: _Optional[int] = ..., history: _Optional[_Iterable[str]] = ..., exclude: _Optional[_Iterable[str]] = ..., exclude_seen: _Optional[bool] = ..., filter: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., timeout_ms: _Optional[int] = ..., explain: _Optional[bool] = ..., context: _Optional[_Mapping[str, str]] = ...) -> None: ...

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
