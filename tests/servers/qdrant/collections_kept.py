"""The collections and their aliases: one engine shard for each, and a catalogue file that is replaced whole.

An acknowledged write survives a kill -9: the engine logs it before it applies it, and the pages outlive the process.
"""

import base64
import contextlib
import json
import os
import shutil
import threading
from pathlib import Path

import grpc
import qdrant_edge as edge
from convert import DISTANCES, Refused
from qdrant_client import grpc as wire


class Collection:
    def __init__(self, name: str, request: wire.CreateCollection, shard: edge.EdgeShard, folder: str):
        self.name = name
        self.request = request
        self.shard = shard
        self.folder = folder
        self.guard = threading.Lock()
        self.operations = 0
        config = request.vectors_config
        if config.WhichOneof("config") == "params_map":
            self.sizes = {vector: params.size for vector, params in config.params_map.map.items()}
        else:
            self.sizes = {"": config.params.size} if config.HasField("params") else {}

    def update(self, operation: edge.UpdateOperation) -> int:
        """Applies one operation; its number."""
        with self.guard:
            self.shard.update(operation)
            self.operations += 1
            return self.operations


class Collections:
    def __init__(self, folder: Path):
        self.folder = folder / "collections"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.catalogue = folder / "catalogue.json"
        self.guard = threading.RLock()
        self.all: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self.last_folder = 0
        if self.catalogue.exists():
            self.load()

    def load(self) -> None:
        kept = json.loads(self.catalogue.read_text())
        self.aliases = kept["aliases"]
        self.last_folder = kept["last_folder"]
        for name, entry in kept["collections"].items():
            request = wire.CreateCollection.FromString(base64.b64decode(entry["request"]))
            shard = edge.EdgeShard.load(str(self.folder / entry["folder"]))
            self.all[name] = Collection(name, request, shard, entry["folder"])

    def save(self) -> None:
        entries = {}
        for name, one in self.all.items():
            entries[name] = {"request": base64.b64encode(one.request.SerializeToString()).decode(), "folder": one.folder}
        fresh = self.catalogue.with_suffix(".new")
        fresh.write_text(json.dumps({"collections": entries, "aliases": self.aliases, "last_folder": self.last_folder}))
        os.replace(fresh, self.catalogue)

    def get(self, name: str) -> Collection:
        """By its name or an alias of it."""
        with self.guard:
            found = self.all.get(self.aliases.get(name, name))
            if found is None:
                raise not_found(name)
            return found

    def create(self, request: wire.CreateCollection) -> None:
        name = request.collection_name
        with self.guard:
            if name in self.all or name in self.aliases:
                kind = "Collection" if name in self.all else "Alias"
                raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"{kind} `{name}` already exists!")
            if request.HasField("sparse_vectors_config"):
                raise Refused(grpc.StatusCode.UNIMPLEMENTED, "only dense vectors are to be had here")
            config = request.vectors_config
            if config.WhichOneof("config") == "params_map":
                shape = {vector: vector_params(params) for vector, params in config.params_map.map.items()}
            elif config.HasField("params"):
                shape = vector_params(config.params)
            else:
                shape = {}
            self.last_folder += 1
            folder = str(self.last_folder)
            # Left by a creation that a kill cut short.
            shutil.rmtree(self.folder / folder, ignore_errors=True)
            (self.folder / folder).mkdir()
            shard = edge.EdgeShard.create(str(self.folder / folder), edge.EdgeConfig(vectors=shape))
            self.all[name] = Collection(name, request, shard, folder)
            self.save()

    def delete(self, name: str) -> bool:
        """Only by its own name; whether it was there. Its aliases go with it."""
        with self.guard:
            gone = self.all.pop(name, None)
            if gone is None:
                return False
            self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}
            self.save()
            with gone.guard:
                gone.shard.close()
            shutil.rmtree(self.folder / gone.folder, ignore_errors=True)
            return True

    def change_aliases(self, actions) -> None:
        """All of them or none."""
        with self.guard:
            aliases = dict(self.aliases)
            for action in actions:
                self.change_alias(aliases, action)
            self.aliases = aliases
            self.save()

    def change_alias(self, aliases: dict[str, str], action: wire.AliasOperations) -> None:
        match action.WhichOneof("action"):
            case "create_alias":
                wanted = action.create_alias
                if wanted.collection_name not in self.all:
                    raise not_found(wanted.collection_name)
                if wanted.alias_name in self.all:
                    text = f"Collection `{wanted.alias_name}` already exists!"
                    raise Refused(grpc.StatusCode.ALREADY_EXISTS, text)
                aliases[wanted.alias_name] = wanted.collection_name
            case "rename_alias":
                old = action.rename_alias.old_alias_name
                if old not in aliases:
                    raise Refused(grpc.StatusCode.NOT_FOUND, f"Not found: Alias {old} does not exists!")
                aliases[action.rename_alias.new_alias_name] = aliases.pop(old)
            case "delete_alias":
                # One that is not there is no error.
                with contextlib.suppress(KeyError):
                    del aliases[action.delete_alias.alias_name]


def vector_params(params: wire.VectorParams) -> edge.EdgeVectorParams:
    if params.distance not in DISTANCES or params.size == 0:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Wrong input: a vector needs a size and a distance")
    return edge.EdgeVectorParams(params.size, DISTANCES[params.distance])


def not_found(name: str) -> Refused:
    return Refused(grpc.StatusCode.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")
