"""What a registry may answer, and what is made of it: a small registry of our own on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tasker_build.registries.images import Reference, Registries, is_loopback
from tasker_build.registries.trouble import RegistryError, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SECRET = "s3cr3t-canary"
TOKEN = "t0k3n-canary"


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Fake:
    """A registry: path → (content type, body), and how it behaves."""

    port: int = 0
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    status: int = 0  # answer everything with this
    headers: dict[str, str] = field(default_factory=dict)
    auth: str = ""  # "", "bearer", "basic"
    login: str = ""  # the token service wants this login
    realm: str = ""
    delay: float = 0.0
    drip: bool = False
    redirect: str = ""
    no_digest_header: bool = False
    wrong_digest_header: bool = False
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, repository: str, tag: str, document: dict[str, Any], kind: str = INDEX) -> str:
        body = json.dumps(document).encode()
        for name in (tag, sha(body)):
            self.files[f"/v2/{repository}/manifests/{name}"] = (kind, body)
        return sha(body)

    def blob(self, repository: str, document: dict[str, Any]) -> str:
        body = json.dumps(document).encode()
        self.files[f"/v2/{repository}/blobs/{sha(body)}"] = ("application/json", body)
        return sha(body)


class Handler(BaseHTTPRequestHandler):
    fake: Fake

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        with suppress(OSError):  # the other side may have had enough
            for i in range(0, len(body), 1 if self.fake.drip else 1 << 16):
                self.wfile.write(body[i : i + (1 if self.fake.drip else 1 << 16)])
                time.sleep(0.05 if self.fake.drip else 0)

    def do_GET(self) -> None:
        fake, sent = self.fake, self.headers.get("Authorization")
        fake.asked.append((self.command, self.path, sent))
        time.sleep(fake.delay)
        login = f"Basic {base64.b64encode(fake.login.encode()).decode()}" if fake.login else None
        with suppress(OSError):
            if self.path.startswith("/token"):
                self.answer(200 if sent == login else 401, {}, json.dumps({"token": TOKEN}).encode())
            elif fake.status:
                self.answer(fake.status, fake.headers, b"{}")
            elif fake.auth == "bearer" and sent != f"Bearer {TOKEN}":
                realm = fake.realm or f"http://{fake.host}/token"
                challenge = f'Bearer realm="{realm}",service="fake, with comma",scope="repository:x:pull"'
                self.answer(401, {"WWW-Authenticate": challenge}, b"")
            elif fake.auth == "basic" and (sent is None or sent != login):
                self.answer(401, {"WWW-Authenticate": 'Basic realm="fake"'}, b"")
            elif fake.redirect and "/blobs/" in self.path:
                self.answer(307, {"Location": fake.redirect + self.path}, b"")
            else:
                self.file()

    def file(self) -> None:
        if self.path not in self.fake.files:
            self.answer(404, {}, b'{"errors": []}')
            return
        kind, body = self.fake.files[self.path]
        headers = {"Content-Type": kind}
        if "/manifests/" in self.path and not self.fake.no_digest_header:
            headers["Docker-Content-Digest"] = sha(b"other" if self.fake.wrong_digest_header else body)
        self.answer(200, headers, body)

    do_HEAD = do_GET  # noqa: N815


@contextmanager
def serving(fake: Fake) -> Iterator[Fake]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), {"fake": fake}))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.port = server.server_address[1]
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # nothing on this machine is asked through a proxy
    with serving(Fake()) as fake:
        yield fake


@pytest.fixture
def registries(tmp_path: Path) -> Registries:
    return Registries(timeout=5, config=tmp_path / "config.json")


def entry(platform: str, digest: str = "sha256:" + "1" * 64) -> dict[str, Any]:
    os, architecture, *variant = platform.split("/")
    return {"digest": digest, "platform": {"os": os, "architecture": architecture} | ({"variant": variant[0]} if variant else {})}


def trouble(registries: Registries, reference: str) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        registries.served("rust", reference)
    text = caught.value.draw()
    assert SECRET not in text
    assert TOKEN not in text
    assert base64.b64encode(f"me:{SECRET}".encode()).decode() not in text
    assert "`rust`" in text
    return caught.value


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag"),
    [
        ("rust", "docker.io", "library/rust", "latest"),
        ("rust:1.89-trixie", "docker.io", "library/rust", "1.89-trixie"),
        ("docker.io/rust:1", "docker.io", "library/rust", "1"),
        ("me/app:2", "docker.io", "me/app", "2"),
        ("example.org/a/b/c:3", "example.org", "a/b/c", "3"),
        ("localhost/x", "localhost", "x", "latest"),
        ("127.0.0.1:5000/debian:x", "127.0.0.1:5000", "debian", "x"),
        ("example.org:5000/x", "example.org:5000", "x", "latest"),
        ("rust:1@sha256:" + "0" * 64, "docker.io", "library/rust", "1"),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, host: str, repository: str, tag: str) -> None:
    assert Reference.parse(text) == Reference(host=host, repository=repository, tag=tag)


def test_only_this_machine_is_asked_without_tls() -> None:
    assert Reference.parse("127.0.0.1:5000/x").api == "http://127.0.0.1:5000"
    assert Reference.parse("localhost:5000/x").api == "http://localhost:5000"
    assert Reference.parse("127.0.0.1.example.org/x").api == "https://127.0.0.1.example.org"
    assert Reference.parse("10.0.0.1:5000/x").api == "https://10.0.0.1:5000"
    assert [is_loopback(host) for host in ("::1", "127.9.9.9", "localhost.example.org", None, "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_an_index_gives_its_digest_and_its_platforms(fake: Fake, registries: Registries) -> None:
    digests = {f"linux/{name}": sha(name.encode()) for name in ("amd64", "arm64", "arm/v7")}
    rows = [entry("linux/amd64", digests["linux/amd64"]), entry("linux/arm64/v8", digests["linux/arm64"])]
    rows += [entry("linux/arm/v7", digests["linux/arm/v7"]), entry("unknown/unknown")]
    rows += [entry("windows/amd64", sha(b"1")), entry("windows/amd64", sha(b"2"))]
    digest = fake.put("rust", "1", {"manifests": [*rows, "no row", {"digest": 3}]})
    served = registries.served("rust", f"{fake.host}/rust:1")
    assert served.digest == digest
    assert served.platforms == digests


def test_a_single_manifest_takes_its_platform_from_its_config(fake: Fake, registries: Registries) -> None:
    config = fake.blob("debian", {"os": "linux", "architecture": "arm64", "variant": "v8"})
    digest = fake.put("debian", "x", {"mediaType": MANIFEST, "config": {"digest": config}}, MANIFEST)
    served = registries.served("debian", f"{fake.host}/debian:x")
    assert (served.digest, served.platforms) == (digest, {"linux/arm64": digest})


def test_a_digest_is_asked_for_with_head_alone(fake: Fake, registries: Registries) -> None:
    digest = fake.put("rust", "1", {"manifests": []})
    assert registries.digest("rust", f"{fake.host}/rust:1") == digest
    assert [method for method, _, _ in fake.asked] == ["HEAD"]
    fake.no_digest_header = True
    assert registries.digest("rust", f"{fake.host}/rust:1") == digest


def test_an_earlier_digest_can_be_asked_for(fake: Fake, registries: Registries) -> None:
    old = fake.put("rust", "1", {"manifests": [entry("linux/amd64")]})
    fake.put("rust", "1", {"manifests": []})
    assert registries.served("rust", f"{fake.host}/rust:1", old).platforms == {"linux/amd64": "sha256:" + "1" * 64}


def test_bytes_that_are_not_those_of_the_digest_are_refused(fake: Fake, registries: Registries) -> None:
    fake.put("rust", "1", {"manifests": []})
    fake.wrong_digest_header = True
    assert "other bytes" in trouble(registries, f"{fake.host}/rust:1").message


def test_a_token_is_fetched_without_any_login_and_used_again(fake: Fake, registries: Registries) -> None:
    fake.auth = "bearer"
    digest = fake.put("rust", "1", {"manifests": []})
    assert registries.served("rust", f"{fake.host}/rust:1").digest == digest
    assert registries.digest("rust", f"{fake.host}/rust:1") == digest
    paths = [path.partition("?")[0] for _, path, _ in fake.asked]
    assert paths == ["/v2/rust/manifests/1", "/token", "/v2/rust/manifests/1", "/v2/rust/manifests/1"]
    assert "service=fake%2C+with+comma" in fake.asked[1][1]
    assert "scope=repository%3Ax%3Apull" in fake.asked[1][1]


def test_the_login_of_docker_is_used_and_never_said(fake: Fake, registries: Registries) -> None:
    fake.auth, fake.login = "bearer", f"me:{SECRET}"
    digest = fake.put("rust", "1", {"manifests": []})
    assert trouble(registries, f"{fake.host}/rust:1").trouble is Trouble.DENIED
    assert registries.config is not None
    word = base64.b64encode(fake.login.encode()).decode()
    registries.config.write_text(json.dumps({"auths": {fake.host: {"auth": word}}}))
    assert registries.served("rust", f"{fake.host}/rust:1").digest == digest
    # The password goes to the token service, the token to the registry.
    assert {path[:6] for _, path, sent in fake.asked if sent == f"Basic {word}"} == {"/token"}


def test_a_registry_with_passwords_alone(fake: Fake, registries: Registries) -> None:
    fake.auth, fake.login = "basic", f"me:{SECRET}"
    digest = fake.put("rust", "1", {"manifests": []})
    assert registries.config is not None
    registries.config.write_text(json.dumps({"auths": {f"https://{fake.host}": {"auth": "bm90aGluZw=="}}}))  # no colon
    assert trouble(registries, f"{fake.host}/rust:1").trouble is Trouble.DENIED
    registries.config.write_text(json.dumps({"auths": {fake.host: {"auth": base64.b64encode(fake.login.encode()).decode()}}}))
    assert registries.served("rust", f"{fake.host}/rust:1").digest == digest


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"auths": 3}', '{"auths": {"127.0.0.1": 5}}', '{"auths": {"x": {"auth": "???"}}}']
)
def test_a_damaged_config_is_as_none(fake: Fake, registries: Registries, text: str) -> None:
    assert registries.config is not None
    registries.config.write_text(text)
    fake.auth = "basic"
    assert trouble(registries, f"{fake.host}/rust:1").trouble is Trouble.DENIED


def test_a_helper_that_is_not_asked_is_named(fake: Fake, registries: Registries) -> None:
    assert registries.config is not None
    registries.config.write_text('{"credsStore": "desktop"}')
    fake.status = 401
    assert "credential helpers are not asked" in trouble(registries, f"{fake.host}/rust:1").draw()


@pytest.mark.parametrize("realm", ["http://example.org/token", "file:///etc/passwd", "ftp://127.0.0.1/x", "nothing"])
def test_passwords_go_to_no_open_place(fake: Fake, registries: Registries, realm: str) -> None:
    fake.auth, fake.realm = "bearer", realm
    assert "not reached by https" in trouble(registries, f"{fake.host}/rust:1").message


def test_a_redirect_takes_no_password_to_another_host(fake: Fake, registries: Registries) -> None:
    fake.auth, fake.login = "basic", f"me:{SECRET}"
    word = base64.b64encode(fake.login.encode()).decode()
    assert registries.config is not None
    registries.config.write_text(json.dumps({"auths": {fake.host: {"auth": word}}}))
    config = fake.blob("rust", {"os": "linux", "architecture": "amd64"})
    digest = fake.put("rust", "1", {"mediaType": MANIFEST, "config": {"digest": config}}, MANIFEST)
    with serving(Fake(files=fake.files)) as other:
        fake.redirect = f"http://{other.host}"
        assert registries.served("rust", f"{fake.host}/rust:1").platforms == {"linux/amd64": digest}
        assert [sent for _, _, sent in other.asked] == [None]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "said"),
    [
        (401, {}, Trouble.DENIED, "refuses access: 401"),
        (403, {}, Trouble.DENIED, "refuses access: 403"),
        (404, {}, Trouble.MISSING, "has no rust:1"),
        (429, {"Retry-After": "17"}, Trouble.LIMITED, "try again in 17 seconds"),
        (429, {}, Trouble.LIMITED, "too many requests"),
        (500, {}, Trouble.BROKEN, "a problem of its own: 500"),
        (503, {}, Trouble.BROKEN, "a problem of its own: 503"),
        (418, {}, Trouble.BROKEN, "answered 418"),
    ],
)
def test_refusals_name_the_base_the_registry_and_the_next_step(
    fake: Fake, registries: Registries, status: int, headers: dict[str, str], kind: Trouble, said: str
) -> None:
    fake.status, fake.headers = status, headers
    error = trouble(registries, f"{fake.host}/rust:1")
    assert error.trouble is kind
    assert said in error.draw()
    assert fake.host in error.message


def test_a_registry_that_does_not_answer_is_left_after_a_while_and_not_asked_again(fake: Fake, registries: Registries) -> None:
    fake.delay, registries.timeout = 2.0, 0.3
    began = time.monotonic()
    assert "no answer within 0.3 s" in trouble(registries, f"{fake.host}/rust:1").message
    assert trouble(registries, f"{fake.host}/debian:1").trouble is Trouble.UNREACHABLE
    assert time.monotonic() - began < 1.5
    assert len(fake.asked) == 1


def test_a_registry_that_sends_a_byte_at_a_time_does_not_keep_us(fake: Fake, registries: Registries) -> None:
    fake.drip, registries.timeout = True, 0.5
    fake.put("rust", "1", {"manifests": [entry("linux/amd64")] * 20})
    began = time.monotonic()
    assert trouble(registries, f"{fake.host}/rust:1").trouble is Trouble.UNREACHABLE
    assert time.monotonic() - began < 2


def test_an_answer_without_end_is_not_read(fake: Fake, registries: Registries) -> None:
    fake.files["/v2/rust/manifests/1"] = (INDEX, b" " * (5 << 20))
    assert "too large" in trouble(registries, f"{fake.host}/rust:1").message


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"\xff", b'{"config": 3}', b'{"schemaVersion": 1}', b"[" * 9000])
def test_an_answer_that_is_no_manifest_is_said_to_be_none(fake: Fake, registries: Registries, body: bytes) -> None:
    fake.files["/v2/rust/manifests/1"] = ("text/html", body)
    assert "not supported" in trouble(registries, f"{fake.host}/rust:1").message


def test_nobody_listens(registries: Registries) -> None:
    error = trouble(registries, "127.0.0.1:1/rust:1")
    assert error.trouble is Trouble.UNREACHABLE
    assert "refused" in error.message
