"""The service of points: what a collection holds."""

import convert
import grpc
import qdrant_edge as edge
from answer import answer, writes
from collections_kept import Collection, Collections
from convert import Refused, a_filter, filter_of, point_id, wire_id, wire_payload, wire_vectors
from qdrant_client import grpc as wire
from qdrant_client.grpc import points_service_pb2_grpc as services
from wishes import Wishes

INDEX_TYPES = {
    wire.FieldType.FieldTypeKeyword: edge.PayloadSchemaType.Keyword,
    wire.FieldType.FieldTypeInteger: edge.PayloadSchemaType.Integer,
    wire.FieldType.FieldTypeFloat: edge.PayloadSchemaType.Float,
    wire.FieldType.FieldTypeGeo: edge.PayloadSchemaType.Geo,
    wire.FieldType.FieldTypeText: edge.PayloadSchemaType.Text,
    wire.FieldType.FieldTypeBool: edge.PayloadSchemaType.Bool,
    wire.FieldType.FieldTypeDatetime: edge.PayloadSchemaType.Datetime,
    wire.FieldType.FieldTypeUuid: edge.PayloadSchemaType.Uuid,
}
# What the protocol gives a caller who names no number.
LIMIT_DEFAULT = 10


class PointsService(services.PointsServicer):
    def __init__(self, kept: Collections, wishes: Wishes):
        self.kept = kept
        self.wishes = wishes

    # === writing ===

    @writes
    def Upsert(self, request):
        collection = self.kept.get(request.collection_name)
        return self.done(request, self.upsert(collection, request))

    @writes
    def Delete(self, request):
        collection = self.kept.get(request.collection_name)
        return self.done(request, self.delete(collection, request.points))

    @writes
    def SetPayload(self, request):
        collection = self.kept.get(request.collection_name)
        return self.done(request, self.set_payload(collection, request))

    @writes
    def OverwritePayload(self, request):
        collection = self.kept.get(request.collection_name)
        return self.done(request, self.overwrite_payload(collection, request))

    @writes
    def DeletePayload(self, request):
        collection = self.kept.get(request.collection_name)
        return self.done(request, self.delete_payload(collection, request))

    @writes
    def ClearPayload(self, request):
        collection = self.kept.get(request.collection_name)
        return self.done(request, self.clear_payload(collection, request.points))

    @writes
    def UpdateBatch(self, request):
        """One after the other; what stands before a refused one stays, as in a real server."""
        collection = self.kept.get(request.collection_name)
        results = []
        for operation in request.operations:
            results.append(self.result(request, self.operate(collection, operation)))
        return wire.UpdateBatchResponse(result=results)

    def operate(self, collection: Collection, operation: wire.PointsUpdateOperation) -> int:
        kind = operation.WhichOneof("operation")
        inner = getattr(operation, kind) if kind else None
        match kind:
            case "upsert":
                return self.upsert(collection, inner)
            case "delete_points":
                return self.delete(collection, inner.points)
            case "set_payload":
                return self.set_payload(collection, inner)
            case "overwrite_payload":
                return self.overwrite_payload(collection, inner)
            case "delete_payload":
                return self.delete_payload(collection, inner)
            case "clear_payload":
                return self.clear_payload(collection, inner.points)
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"an update of kind {kind} is not to be had here")

    def upsert(self, collection: Collection, given) -> int:
        """All points are looked at first: one that is wrong leaves none of them behind."""
        points = [convert.point(one, collection.sizes) for one in given.points]
        self.wishes.refuse_poison(given.points)
        condition, mode = None, None
        # Servers before 1.16 pass over a condition that they do not know.
        if self.wishes.is_conditional():
            condition = filter_of(given, "update_filter")
            mode = convert.UPDATE_MODES[given.update_mode] if given.HasField("update_mode") else None
        return collection.update(edge.UpdateOperation.upsert_points(points, condition, mode))

    def delete(self, collection: Collection, selector: wire.PointsSelector) -> int:
        by_id, by_filter = edge.UpdateOperation.delete_points, edge.UpdateOperation.delete_points_by_filter
        return collection.update(selected(selector, by_id, by_filter))

    def set_payload(self, collection: Collection, given) -> int:
        by_id, by_filter = edge.UpdateOperation.set_payload, edge.UpdateOperation.set_payload_by_filter
        key = given.key if given.HasField("key") else None
        return collection.update(selected(given.points_selector, by_id, by_filter, convert.payload(given.payload), key))

    def overwrite_payload(self, collection: Collection, given) -> int:
        by_id, by_filter = edge.UpdateOperation.overwrite_payload, edge.UpdateOperation.overwrite_payload_by_filter
        key = given.key if given.HasField("key") else None
        return collection.update(selected(given.points_selector, by_id, by_filter, convert.payload(given.payload), key))

    def delete_payload(self, collection: Collection, given) -> int:
        by_id, by_filter = edge.UpdateOperation.delete_payload, edge.UpdateOperation.delete_payload_by_filter
        return collection.update(selected(given.points_selector, by_id, by_filter, list(given.keys)))

    def clear_payload(self, collection: Collection, selector: wire.PointsSelector) -> int:
        by_id, by_filter = edge.UpdateOperation.clear_payload, edge.UpdateOperation.clear_payload_by_filter
        return collection.update(selected(selector, by_id, by_filter))

    @answer
    def CreateFieldIndex(self, request):
        collection = self.kept.get(request.collection_name)
        operation = edge.UpdateOperation.create_field_index(request.field_name, INDEX_TYPES[request.field_type])
        return self.done(request, collection.update(operation))

    @answer
    def DeleteFieldIndex(self, request):
        collection = self.kept.get(request.collection_name)
        return self.done(request, collection.update(edge.UpdateOperation.delete_field_index(request.field_name)))

    def done(self, request, number: int):
        return wire.PointsOperationResponse(result=self.result(request, number))

    def result(self, request, number: int):
        status = wire.UpdateStatus.Completed if request.wait else wire.UpdateStatus.Acknowledged
        return wire.UpdateResult(operation_id=number, status=status)

    # === reading ===

    @answer
    def Get(self, request):
        collection = self.kept.get(request.collection_name)
        ids = [point_id(one) for one in request.ids]
        records = collection.shard.retrieve(ids, convert.with_payload(request, False), convert.with_vectors(request))
        return wire.GetResponse(result=[retrieved(one) for one in records])

    @answer
    def Scroll(self, request):
        collection = self.kept.get(request.collection_name)
        scroll = edge.ScrollRequest(
            offset=point_id(request.offset) if request.HasField("offset") else None,
            limit=request.limit if request.HasField("limit") else LIMIT_DEFAULT,
            filter=filter_of(request, "filter"),
            with_payload=convert.with_payload(request, True),
            with_vector=convert.with_vectors(request),
            order_by=order_by(request.order_by) if request.HasField("order_by") else None,
        )
        records, following = collection.shard.scroll(scroll)
        offset = None if following is None else wire_id(following)
        return wire.ScrollResponse(next_page_offset=offset, result=[retrieved(one) for one in records])

    @answer
    def Count(self, request):
        collection = self.kept.get(request.collection_name)
        count = collection.shard.count(edge.CountRequest(exact=True, filter=filter_of(request, "filter")))
        return wire.CountResponse(result=wire.CountResult(count=count))

    @answer
    def Search(self, request):
        collection = self.kept.get(request.collection_name)
        query = edge.Query.Nearest(list(request.vector), request.vector_name or None)
        found = collection.shard.query(self.query_request(request, query, filter_of(request, "filter"), request.limit))
        return wire.SearchResponse(result=[scored(one) for one in found])

    @answer
    def Query(self, request):
        return wire.QueryResponse(result=self.query(request))

    @answer
    def QueryBatch(self, request):
        results = [wire.BatchResult(result=self.query(one)) for one in request.query_points]
        return wire.QueryBatchResponse(result=results)

    def query(self, request: wire.QueryPoints) -> list:
        collection = self.kept.get(request.collection_name)
        if request.prefetch:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, "prefetch is not to be had here")
        condition = filter_of(request, "filter")
        query = None
        if request.HasField("query"):
            query, seen = self.scoring(collection, request)
            if seen is not None:
                # A point is not near to itself.
                known = [condition] if condition is not None else None
                condition = edge.Filter(must=known, must_not=[edge.HasIdCondition({seen})])
        limit = request.limit if request.HasField("limit") else LIMIT_DEFAULT
        return [scored(one) for one in collection.shard.query(self.query_request(request, query, condition, limit))]

    def scoring(self, collection: Collection, request: wire.QueryPoints):
        """The engine's query, and the point that it starts from."""
        using = request.using or None
        match request.query.WhichOneof("variant"):
            case "order_by":
                return order_by(request.query.order_by), None
            case "nearest" if request.query.nearest.WhichOneof("variant") == "dense":
                return edge.Query.Nearest(list(request.query.nearest.dense.data), using), None
            case "nearest" if request.query.nearest.WhichOneof("variant") == "id":
                start = point_id(request.query.nearest.id)
                records = collection.shard.retrieve([start], False, True)
                if not records:
                    raise Refused(grpc.StatusCode.NOT_FOUND, f"Not found: No point with id {start} found")
                vector = records[0].vector
                return edge.Query.Nearest(vector[using or ""] if isinstance(vector, dict) else vector, using), start
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, "that query is not to be had here")

    def query_request(self, request, query, condition, limit: int) -> edge.QueryRequest:
        return edge.QueryRequest(
            limit=limit,
            offset=request.offset if request.HasField("offset") else None,
            query=query,
            filter=condition,
            score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
            with_vector=convert.with_vectors(request),
            with_payload=convert.with_payload(request, False),
        )


def selected(selector: wire.PointsSelector, by_id, by_filter, *more):
    if selector.WhichOneof("points_selector_one_of") == "filter":
        return by_filter(a_filter(selector.filter), *more)
    return by_id([point_id(one) for one in selector.points.ids], *more)


def order_by(given: wire.OrderBy) -> edge.OrderBy:
    direction = edge.Direction.Desc if given.direction == wire.Direction.Desc else edge.Direction.Asc
    start = None
    if given.HasField("start_from"):
        start = getattr(given.start_from, given.start_from.WhichOneof("value"))
    return edge.OrderBy(given.key, direction, start)


def retrieved(record) -> wire.RetrievedPoint:
    return wire.RetrievedPoint(id=wire_id(record.id), payload=wire_payload(record.payload), vectors=wire_vectors(record.vector))


def scored(one) -> wire.ScoredPoint:
    fields = {"id": wire_id(one.id), "payload": wire_payload(one.payload), "score": one.score, "version": one.version}
    return wire.ScoredPoint(**fields, vectors=wire_vectors(one.vector))
