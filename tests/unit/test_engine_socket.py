"""The plan's one question over a local socket: what is an answer, and what is none."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tasker_build.engine.docker import DockerEngine
from tasker_build.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BODY = json.dumps([{"Id": "sha256:1", "RepoTags": ["a:1"], "Labels": None, "Created": 1}]).encode()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., DockerEngine]]:
    """Answer one question with the given pieces."""
    path = tmp_path / "s"
    threads: list[threading.Thread] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()

        def start(*pieces: bytes) -> DockerEngine:
            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    for piece in pieces:
                        connection.sendall(piece)

            threads.append(threading.Thread(target=answer))
            threads[-1].start()
            return DockerEngine(f"unix://{path}")

        yield start
        for thread in threads:
            thread.join()


def head(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.0 {status}", *lines, "", ""]).encode()


def test_an_answer_in_pieces(serve: Callable[..., DockerEngine]) -> None:
    engine = serve(head("200 OK", f"Content-Length: {len(BODY)}")[:9], b" 200 OK\r\n\r\n"[1:] + BODY[:5], BODY[5:])
    assert [image.references for image in engine.images()] == [("a:1",)]


def test_what_registries_call_an_image_is_kept(serve: Callable[..., DockerEngine]) -> None:
    rows = [
        {"Id": "sha256:1", "RepoTags": [], "RepoDigests": ["a@sha256:9"], "Labels": None, "Created": 1},  # pulled by digest
        {"Id": "sha256:2", "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"], "Labels": None, "Created": 1},
        {"Id": "sha256:3", "RepoTags": ["b:1"], "RepoDigests": None, "Labels": None, "Created": 1},
    ]
    found = serve(head("200 OK") + json.dumps(rows).encode()).images()
    assert [(image.id, image.digests) for image in found] == [("sha256:1", ("a@sha256:9",)), ("sha256:3", ())]


def test_an_answer_without_its_length(serve: Callable[..., DockerEngine]) -> None:
    assert len(serve(head("200 OK") + BODY).images()) == 1


def test_what_is_not_there(serve: Callable[..., DockerEngine]) -> None:
    assert serve(head("404 Not Found") + b"{}").image("x:1") is None


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([head("500 Internal Server Error") + b"out of order"], "answered 500: out of order"),
        ([head("200 OK", f"Content-Length: {len(BODY)}") + BODY[:-3]], "cut short"),
        ([head("200 OK", "Transfer-Encoding: chunked") + b"5\r\n" + BODY], "cut short"),
        ([head("200 OK") + b"<html>"], "no JSON"),
        ([b"SSH-2.0-OpenSSH\r\n"], "does not speak HTTP"),
        ([], "does not speak HTTP"),
    ],
)
def test_no_answer_is_an_error_of_the_engine(serve: Callable[..., DockerEngine], pieces: list[bytes], words: str) -> None:
    with pytest.raises(EngineError) as caught:
        serve(*pieces).images()
    assert words in caught.value.draw()
