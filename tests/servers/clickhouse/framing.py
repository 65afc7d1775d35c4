"""Compression on ClickHouse's HTTP interface: its own block framing, and what HTTP's encodings carry.

A block: CityHash128 (version 1.0.2) of what follows, method, compressed size with these 9 bytes, plain size, payload.
"""

import gzip
import struct
import zlib

import lz4.block
import lz4.frame
from backports import zstd
from clickhouse_cityhash import cityhash

METHOD_LZ4 = 0x82
METHOD_NONE = 0x02
# As a real server: bigger plain blocks are taken for garbage.
BLOCK_BYTES_MAX = 1 << 30


class Broken(Exception):
    """Bytes that are not what they are said to be."""


def blocks(read_exactly):
    """Unpacks blocks until the input ends; `read_exactly(n)` gives n bytes, or fewer at the end."""
    while checksum := read_exactly(16):
        header = read_exactly(9)
        if len(checksum) < 16 or len(header) < 9:
            raise Broken("a compressed block breaks off in its header")
        method, packed_size, plain_size = struct.unpack("<BII", header)
        if packed_size < 9 or plain_size > BLOCK_BYTES_MAX:
            raise Broken(f"a compressed block claims {packed_size} packed and {plain_size} plain bytes")
        payload = read_exactly(packed_size - 9)
        if len(payload) < packed_size - 9:
            raise Broken("a compressed block breaks off")
        if hash_bytes(header + payload) != checksum:
            raise Broken("Checksum doesn't match: corrupted data")
        if method == METHOD_LZ4:
            yield lz4.block.decompress(payload, uncompressed_size=plain_size)
        elif method == METHOD_NONE:
            yield payload
        else:
            raise Broken(f"compression method {method:#x} is not known here")


def pack(plain: bytes) -> bytes:
    """One LZ4 block after the other, as an answer with compress=1 has them."""
    packed = bytearray()
    for start in range(0, len(plain), 1 << 20):
        part = plain[start : start + (1 << 20)]
        payload = lz4.block.compress(part, store_size=False)
        body = struct.pack("<BII", METHOD_LZ4, len(payload) + 9, len(part)) + payload
        packed += hash_bytes(body) + body
    return bytes(packed)


def hash_bytes(data: bytes) -> bytes:
    value = cityhash.CityHash128(data)
    # The library gives the two halves the other way round than the wire has them.
    return struct.pack("<QQ", value >> 64, value & 0xFFFFFFFFFFFFFFFF)


def decompressor(encoding: str):
    """A stream decompressor (`.decompress(bytes)`) for a request's Content-Encoding."""
    match encoding:
        case "gzip":
            return zlib.decompressobj(wbits=31)
        case "deflate":
            return zlib.decompressobj()
        case "lz4":
            return lz4.frame.LZ4FrameDecompressor()
        case "zstd":
            return zstd.ZstdDecompressor()
    raise Broken(f"Content-Encoding {encoding} is not known here")


def encode(plain: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The answer in an encoding that the client takes, and its name; nothing where it takes none of them."""
    offered = {part.partition(";")[0].strip() for part in accepted.split(",")}
    if "lz4" in offered:
        return lz4.frame.compress(plain), "lz4"
    if "zstd" in offered:
        return zstd.compress(plain), "zstd"
    if "gzip" in offered:
        return gzip.compress(plain, compresslevel=1), "gzip"
    return plain, None
