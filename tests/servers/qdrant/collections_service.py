"""The service of collections: create, describe, list, delete, aliases."""

from answer import answer
from collections_kept import Collections
from qdrant_client import grpc as wire
from qdrant_client.grpc import collections_service_pb2_grpc as services

INDEX_TYPES = {
    "Keyword": wire.PayloadSchemaType.Keyword,
    "Integer": wire.PayloadSchemaType.Integer,
    "Float": wire.PayloadSchemaType.Float,
    "Geo": wire.PayloadSchemaType.Geo,
    "Text": wire.PayloadSchemaType.Text,
    "Bool": wire.PayloadSchemaType.Bool,
    "Datetime": wire.PayloadSchemaType.Datetime,
    "Uuid": wire.PayloadSchemaType.Uuid,
}


class CollectionsService(services.CollectionsServicer):
    def __init__(self, kept: Collections):
        self.kept = kept

    @answer
    def Create(self, request):
        self.kept.create(request)
        return wire.CollectionOperationResponse(result=True)

    @answer
    def Delete(self, request):
        return wire.CollectionOperationResponse(result=self.kept.delete(request.collection_name))

    @answer
    def Update(self, request):
        """Only the free fields of a collection can be changed here; tuning has no effect on this engine and is taken."""
        with self.kept.guard:
            collection = self.kept.get(request.collection_name)
            for name, value in request.metadata.items():
                collection.request.metadata[name].CopyFrom(value)
            self.kept.save()
        return wire.CollectionOperationResponse(result=True)

    @answer
    def CollectionExists(self, request):
        name = request.collection_name
        with self.kept.guard:
            exists = name in self.kept.all or name in self.kept.aliases
        return wire.CollectionExistsResponse(result=wire.CollectionExists(exists=exists))

    @answer
    def List(self, request):
        with self.kept.guard:
            return wire.ListCollectionsResponse(collections=[wire.CollectionDescription(name=name) for name in sorted(self.kept.all)])

    @answer
    def Get(self, request):
        collection = self.kept.get(request.collection_name)
        info = collection.shard.info()
        created = collection.request
        params = wire.CollectionParams(
            shard_number=created.shard_number or 1,
            on_disk_payload=True,
            vectors_config=created.vectors_config,
            replication_factor=1,
            write_consistency_factor=1,
        )
        config = wire.CollectionConfig(
            params=params,
            hnsw_config=wire.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10000, max_indexing_threads=0),
            optimizer_config=wire.OptimizersConfigDiff(
                deleted_threshold=0.2, vacuum_min_vector_number=1000, default_segment_number=0, indexing_threshold=10000, flush_interval_sec=5
            ),
            wal_config=wire.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
            metadata=created.metadata,
        )
        schema = {}
        for name, index in info.payload_schema.items():
            kind = str(index.data_type).rpartition(".")[2]
            schema[name] = wire.PayloadSchemaInfo(data_type=INDEX_TYPES[kind], points=info.points_count)
        result = wire.CollectionInfo(
            status=wire.CollectionStatus.Green,
            optimizer_status=wire.OptimizerStatus(ok=True),
            segments_count=info.segments_count,
            config=config,
            payload_schema=schema,
            points_count=info.points_count,
            indexed_vectors_count=info.indexed_vectors_count,
        )
        return wire.GetCollectionInfoResponse(result=result)

    @answer
    def UpdateAliases(self, request):
        self.kept.change_aliases(request.actions)
        return wire.CollectionOperationResponse(result=True)

    @answer
    def ListAliases(self, request):
        return self.aliases(None)

    @answer
    def ListCollectionAliases(self, request):
        self.kept.get(request.collection_name)
        return self.aliases(request.collection_name)

    def aliases(self, of: str | None):
        with self.kept.guard:
            found = [(alias, name) for alias, name in sorted(self.kept.aliases.items()) if of in (None, name)]
        return wire.ListAliasesResponse(aliases=[wire.AliasDescription(alias_name=alias, collection_name=name) for alias, name in found])
