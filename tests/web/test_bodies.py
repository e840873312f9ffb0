from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from support.web_world import ApiResponse, BuildWorld, World

from nordiq_watch.config.schema import ServerSettings

SMALL = ServerSettings(max_body_mb=0.001)  # 1000 bytes
EMPTY_FEED = b'{"records": []}'
PACKED = gzip.compress(EMPTY_FEED)


def padded(size: int) -> bytes:
    return EMPTY_FEED + b" " * (size - len(EMPTY_FEED))


@pytest.fixture
def small(build_world: BuildWorld) -> World:
    return build_world(server=SMALL)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_gzip_body_is_unpacked(small: World, encoding: str) -> None:
    answer = small.client.post("/feed/data", data=gzip.compress(EMPTY_FEED), headers={"Content-Encoding": encoding})
    assert answer.json == {"status": "ignored", "reason": "empty batch"}


def test_so_is_a_deflated_one(small: World) -> None:
    headers = {"Content-Encoding": "deflate"}
    answer = small.client.post("/feed/data", data=zlib.compress(EMPTY_FEED), headers=headers)
    assert answer.json == {"status": "ignored", "reason": "empty batch"}
    broken = small.client.post("/feed/data", data=EMPTY_FEED, headers=headers)
    assert (broken.status_code, broken.json["detail"]) == (400, "Content-Encoding says deflate, but the body is not")


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(small: World, packed: bool) -> None:
    def send(size: int) -> ApiResponse:
        data = gzip.compress(padded(size)) if packed else padded(size)
        return small.client.post("/feed/data", data=data, headers={"Content-Encoding": "gzip"} if packed else {})

    assert send(1000).status_code == 200
    refused = send(1001)
    assert refused.status_code == 413
    assert refused.json == {
        "error": "Body too large",
        "detail": "bodies may have 1000 bytes (server.max_body_mb), also unpacked. Send smaller batches.",
    }


def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(small: World) -> None:
    bomb = gzip.compress(b" " * 500_000)
    assert len(bomb) < 1000
    assert small.client.post("/feed/data", data=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413


def test_a_bomb_is_never_unpacked_further_than_the_limit(small: World) -> None:
    bomb = gzip.compress(b" " * 900_000, compresslevel=9)
    tracemalloc.start()
    try:
        assert small.client.post("/feed/data", data=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 500_000


@pytest.mark.parametrize(
    "body",
    [b"", b"plain", PACKED[:-1], PACKED + b"x", PACKED * 2],
    ids=["empty", "plain", "cut short", "something behind it", "two streams"],
)
def test_what_is_not_one_whole_gzip_stream_is_refused(small: World, body: bytes) -> None:
    answer = small.client.post("/feed/data", data=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    assert "gzip" in answer.json["detail"]


def test_an_encoding_that_is_not_known_is_refused(small: World) -> None:
    answer = small.client.post("/feed/data", data=EMPTY_FEED, headers={"Content-Encoding": "br"})
    assert (answer.status_code, answer.json["error"]) == (415, "Unsupported media type")
    assert answer.json["detail"] == "Content-Encoding must be gzip, deflate or absent."


def test_a_reload_with_a_huge_body_is_refused_and_not_begun(small: World) -> None:
    answer = small.client.post("/admin/reload-model", data=b"x" * 1001)
    assert (answer.status_code, answer.json["success"]) == (413, False)
    assert small.reloads.jobs == []
