"""Between the official messages and the engine's own types."""

from uuid import UUID

import grpc
import numpy
import qdrant_edge as edge
from qdrant_client import grpc as wire

DISTANCES = {
    wire.Distance.Cosine: edge.Distance.Cosine,
    wire.Distance.Euclid: edge.Distance.Euclid,
    wire.Distance.Dot: edge.Distance.Dot,
    wire.Distance.Manhattan: edge.Distance.Manhattan,
}
UPDATE_MODES = {
    wire.UpdateMode.Upsert: edge.UpdateMode.Upsert,
    wire.UpdateMode.InsertOnly: edge.UpdateMode.InsertOnly,
    wire.UpdateMode.UpdateOnly: edge.UpdateMode.UpdateOnly,
}


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, text: str):
        super().__init__(text)
        self.code = code


def wrong_input(text: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Wrong input: {text}")


# === ids, payloads, vectors ===


def point_id(given: wire.PointId) -> int | UUID:
    match given.WhichOneof("point_id_options"):
        case "num":
            return given.num
        case "uuid":
            try:
                return UUID(given.uuid)
            except ValueError:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Unable to parse UUID: {given.uuid}") from None
    raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "No ID options provided")


def wire_id(given) -> wire.PointId:
    return wire.PointId(num=given) if isinstance(given, int) else wire.PointId(uuid=str(given))


def plain(value: wire.Value):
    match value.WhichOneof("kind"):
        case "integer_value":
            return value.integer_value
        case "double_value":
            return value.double_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return payload(value.struct_value.fields)
        case "list_value":
            return [plain(one) for one in value.list_value.values]
    return None


def payload(fields) -> dict:
    return {name: plain(value) for name, value in fields.items()}


def wire_value(value) -> wire.Value:
    match value:
        case None:
            return wire.Value(null_value=wire.NullValue.NULL_VALUE)
        case bool():
            return wire.Value(bool_value=value)
        case int():
            return wire.Value(integer_value=value)
        case float():
            return wire.Value(double_value=value)
        case str():
            return wire.Value(string_value=value)
        case dict():
            return wire.Value(struct_value=wire.Struct(fields=wire_payload(value)))
    return wire.Value(list_value=wire.ListValue(values=[wire_value(one) for one in value]))


def wire_payload(fields: dict | None) -> dict:
    return {name: wire_value(value) for name, value in (fields or {}).items()}


def dense(vector: wire.Vector) -> list[float]:
    match vector.WhichOneof("vector"):
        case "dense":
            return list(vector.dense.data)
        case None if vector.data and not vector.HasField("indices"):
            return list(vector.data)
    raise Refused(grpc.StatusCode.UNIMPLEMENTED, "only dense vectors are to be had here")


def vectors(given: wire.Vectors, sizes: dict[str, int]):
    """The vectors of a point, each of the size that the collection has it in; one without a name has the empty one."""
    if given.WhichOneof("vectors_options") == "vectors":
        named = {name: dense(vector) for name, vector in given.vectors.vectors.items()}
    elif given.WhichOneof("vectors_options") == "vector":
        named = {"": dense(given.vector)}
    else:
        named = {}
    for name, vector in named.items():
        if name not in sizes:
            raise wrong_input(f"Not existing vector name error: {name}")
        if len(vector) != sizes[name]:
            raise wrong_input(f"Vector dimension error: expected dim: {sizes[name]}, got {len(vector)}")
    return named[""] if list(named) == [""] else named


def wire_vectors(given) -> wire.VectorsOutput | None:
    if given is None:
        return None
    if isinstance(given, dict):
        if list(given) != [""]:
            named = {name: wire_vector(vector) for name, vector in given.items()}
            return wire.VectorsOutput(vectors=wire.NamedVectorsOutput(vectors=named))
        given = given[""]
    return wire.VectorsOutput(vector=wire_vector(given))


def wire_vector(given: list[float]) -> wire.VectorOutput:
    return wire.VectorOutput(dense=wire.DenseVector(data=given))


def point(given: wire.PointStruct, sizes: dict[str, int]) -> edge.Point:
    return edge.Point(point_id(given.id), vectors(given.vectors, sizes), payload(given.payload))


# === selectors ===


def with_payload(message, default: bool):
    """`message` has the field; what is not given is the call's own default."""
    if not message.HasField("with_payload"):
        return default
    selector = message.with_payload
    match selector.WhichOneof("selector_options"):
        case "include":
            return edge.PayloadSelector.Include(list(selector.include.fields))
        case "exclude":
            return edge.PayloadSelector.Exclude(list(selector.exclude.fields))
    return selector.enable


def with_vectors(message):
    if not message.HasField("with_vectors"):
        return False
    selector = message.with_vectors
    return list(selector.include.names) if selector.WhichOneof("selector_options") == "include" else selector.enable


# === filters ===


def filter_of(message, field: str) -> edge.Filter | None:
    return a_filter(getattr(message, field)) if message.HasField(field) else None


def a_filter(given: wire.Filter) -> edge.Filter:
    at_least = None
    if given.HasField("min_should"):
        at_least = edge.MinShould([condition(one) for one in given.min_should.conditions], given.min_should.min_count)
    return edge.Filter(
        must=[condition(one) for one in given.must] or None,
        should=[condition(one) for one in given.should] or None,
        must_not=[condition(one) for one in given.must_not] or None,
        min_should=at_least,
    )


def condition(given: wire.Condition):
    match given.WhichOneof("condition_one_of"):
        case "field":
            return field_condition(given.field)
        case "is_empty":
            return edge.IsEmptyCondition(given.is_empty.key)
        case "is_null":
            return edge.IsNullCondition(given.is_null.key)
        case "has_id":
            return edge.HasIdCondition({point_id(one) for one in given.has_id.has_id})
        case "has_vector":
            return edge.HasVectorCondition(given.has_vector.has_vector)
        case "nested":
            return edge.NestedCondition(given.nested.key, a_filter(given.nested.filter))
        case "filter":
            return a_filter(given.filter)
    raise Refused(grpc.StatusCode.UNIMPLEMENTED, "that condition is not to be had here")


def field_condition(given: wire.FieldCondition) -> edge.FieldCondition:
    parts = {}
    if given.HasField("match"):
        parts["match"] = match_of(given.match)
    if given.HasField("range"):
        parts["range"] = edge.RangeFloat(**bounds(given.range, float))
    if given.HasField("datetime_range"):
        parts["range"] = edge.RangeDateTime(**bounds(given.datetime_range, lambda moment: moment.ToJsonString()))
    if given.HasField("values_count"):
        parts["values_count"] = edge.ValuesCount(**bounds(given.values_count, int))
    if given.HasField("is_empty"):
        parts["is_empty"] = given.is_empty
    if given.HasField("is_null"):
        parts["is_null"] = given.is_null
    if not parts:
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, "that condition of a field is not to be had here")
    return edge.FieldCondition(given.key, **parts)


def bounds(message, convert) -> dict:
    return {name: convert(getattr(message, name)) for name in ("lt", "gt", "gte", "lte") if message.HasField(name)}


def match_of(given: wire.Match):
    match given.WhichOneof("match_value"):
        case "keyword":
            return edge.MatchValue(given.keyword)
        case "integer":
            return edge.MatchValue(given.integer)
        case "boolean":
            # The engine would take Python's own for a number, and find nothing.
            return edge.MatchValue(numpy.bool_(given.boolean))
        case "text":
            return edge.MatchText(given.text)
        case "keywords":
            return edge.MatchAny(list(given.keywords.strings))
        case "integers":
            return edge.MatchAny(list(given.integers.integers))
        case "except_keywords":
            return edge.MatchExcept(list(given.except_keywords.strings))
        case "except_integers":
            return edge.MatchExcept(list(given.except_integers.integers))
    raise Refused(grpc.StatusCode.UNIMPLEMENTED, "that match is not to be had here")
