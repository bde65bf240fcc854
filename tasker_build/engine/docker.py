"""The real engine: its HTTP API for what is there, `docker buildx build` for what is made. One endpoint for both and for compose.

The plan's one question goes over the socket with the standard library: importing the SDK costs more than the answer. Everything
rarer (tag, version, endpoints that are no local socket) goes through the docker SDK.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tasker_build.engine.api import LABEL, BuildRequest, Image, ImageLabel
from tasker_build.errors import BuildError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasker_build.engine.child import Child

_TIMEOUT = 30
_DEFAULT_HOST = "unix:///var/run/docker.sock"
_NOT_FOUND, _OK_BELOW = 404, 300
_FIXES = (
    "is the engine running? `tasker-build doctor` says what is there",
    "another engine: set DOCKER_HOST or `docker context use NAME`",
    "on a bare Debian machine: `tools/engine up`",
)


class DockerEngine:
    """An engine at one endpoint."""

    def __init__(self, endpoint: str, builder: str | None = None) -> None:
        self.endpoint = endpoint
        self.builder = builder

    @classmethod
    def connect(cls, builder: str | None = None) -> DockerEngine:
        """Resolve the endpoint as the docker command does: DOCKER_HOST, then the current context, then the default socket.

        Raises:
            EngineError: the current context cannot be read.
        """
        return cls(os.environ.get("DOCKER_HOST") or _context_endpoint() or _DEFAULT_HOST, builder)

    def images(self) -> Sequence[Image]:
        images = map(_image, self._get("/images/json"))
        return [image for image in images if image.references or image.digests or image.label]

    def image(self, reference: str) -> Image | None:
        raw = self._get(f"/images/{quote(reference, safe='/:@')}/json", missing_is_none=True)
        if raw is None:
            return None
        config = raw.get("Config") or {}
        labels = config.get("Labels") or {}
        others = {name: value for name, value in labels.items() if name != LABEL}
        content = json.dumps([(raw.get("RootFS") or {}).get("Layers"), config | {"Labels": others}], sort_keys=True)
        image = _image({**raw, "Labels": labels, "Created": 0})
        return replace(image, content=sha256(content.encode()).hexdigest())

    def tag(self, image_id: str, reference: str) -> None:
        repository, _, tag = reference.rpartition(":")
        self._sdk.tag(image_id, repository, tag)

    def push(self, reference: str) -> None:
        """Push a tag with the docker command, which knows where its user's credentials are.

        Raises:
            BuildError: the registry says no, or nobody answers there.
        """
        import subprocess  # noqa: PLC0415 - only what builds runs programs

        command = ["docker", "push", "--quiet", reference]
        done = subprocess.run(command, env=dict(self.environment()), capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise BuildError(f"{reference} cannot be pushed: {said}", hints=("docker login, if the registry wants it",))

    def version(self) -> Mapping[str, Any]:
        """The engine's own account of its version.

        Raises:
            EngineError: it does not answer.
        """
        answer: Mapping[str, Any] = self._get("/version")
        return answer

    def identity(self) -> str:
        """The engine's own id: the same whatever endpoint it is reached by.

        Raises:
            EngineError: it does not answer.
        """
        return str(self._get("/info").get("ID") or "")

    def details(self, reference: str) -> Mapping[str, Any] | None:
        """Everything the engine knows of an image, in its own words; None when it has none of that name.

        Raises:
            EngineError: it does not answer.
        """
        raw: Mapping[str, Any] | None = self._get(f"/images/{quote(reference, safe='/:@')}/json", missing_is_none=True)
        return raw

    def check_builder(self) -> None:
        from tasker_build.engine.programs import buildx  # noqa: PLC0415 - only a build needs it

        buildx()

    def start(self, request: BuildRequest) -> Child:
        from tasker_build.engine.child import Child  # noqa: PLC0415 - only what builds runs programs

        with request.context.open("rb") as context:
            return Child(self._build_command(request), self.environment(), context)

    def _build_command(self, request: BuildRequest) -> Sequence[str]:
        """The command that builds the request from standard input and reports on standard error as rawjson."""
        from tasker_build.context import DOCKERFILE  # noqa: PLC0415 - a plan packs nothing
        from tasker_build.engine.programs import buildx  # noqa: PLC0415

        command = [
            *buildx(),
            "build",
            "--progress=rawjson",
            "--metadata-file",
            str(request.metadata),
            "--file",
            DOCKERFILE,
        ]
        command += ["--builder", self.builder or os.environ.get("BUILDX_BUILDER") or self._default_builder()]
        command += ["--target", request.stage, "--tag", request.tag, "--label", f"{LABEL}={request.label}"]
        command += ["--network", request.network] if request.network != "default" else []
        command += ["--platform", request.platform] if request.platform else []
        for secret, path in sorted(request.secrets.items()):
            command += ["--secret", f"id={secret},src={path}"]
        if request.no_cache_stages:
            command += ["--no-cache-filter", ",".join(request.no_cache_stages)]
        return [*command, "-"]

    def environment(self) -> Mapping[str, str]:
        """The caller's environment, tied to this endpoint, without what would change a build behind our back."""
        dropped = {
            "BUILDKIT_PROGRESS",
            "DOCKER_DEFAULT_PLATFORM",
            "BUILDX_BUILDER",
            "DOCKER_CONTEXT",
            "SOURCE_DATE_EPOCH",
        }
        values = {name: value for name, value in os.environ.items() if name not in dropped}
        return values | {
            "DOCKER_HOST": self.endpoint,
            "BUILDX_GIT_INFO": "0",
            "BUILDX_METADATA_PROVENANCE": "disabled",
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }

    @staticmethod
    def _default_builder() -> str:
        # DOCKER_HOST is always set for the child, and buildx calls the builder of that endpoint `default`.
        return "default"

    @functools.cached_property
    def _sdk(self) -> Any:
        from docker import APIClient  # noqa: PLC0415 - 110 ms that a plan does not pay
        from docker.errors import DockerException  # noqa: PLC0415

        try:
            return APIClient(base_url=self.endpoint, timeout=_TIMEOUT, version="auto")
        except DockerException as error:
            raise _unreachable(self.endpoint, error) from error

    def _get(self, path: str, *, missing_is_none: bool = False) -> Any:
        if not self.endpoint.startswith("unix://"):
            return self._sdk_get(path, missing_is_none)
        try:
            status, body = _get(self.endpoint.removeprefix("unix://"), path)
        except (OSError, ValueError) as error:
            raise _unreachable(self.endpoint, error) from error
        if status == _NOT_FOUND and missing_is_none:
            return None
        if status >= _OK_BELOW:
            raise EngineError(f"the engine at {self.endpoint} answered {status}: {body.decode(errors='replace')[:200]}")
        try:
            return json.loads(body)
        except ValueError as error:
            raise EngineError(f"the engine at {self.endpoint} answered something that is no JSON") from error

    def _sdk_get(self, path: str, missing_is_none: bool) -> Any:  # noqa: FBT001
        from docker.errors import DockerException, NotFound  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        try:
            sdk = self._sdk
            if path == "/images/json":
                return sdk.images()
            if path == "/info":
                return sdk.info()
            return sdk.version() if path == "/version" else sdk.inspect_image(path.removeprefix("/images/").removesuffix("/json"))
        except NotFound:
            if missing_is_none:
                return None
            raise
        except (DockerException, RequestException) as error:
            raise _unreachable(self.endpoint, error) from error


def _get(socket_path: str, path: str) -> tuple[int, bytes]:
    """Ask a server at a local socket, and return the status and the body of its answer.

    HTTP 1.0: the answer comes in one piece and ends with the connection, so that nothing of `http.client`, whose import takes
    longer than the question, is needed.

    Raises:
        ValueError: the answer is no HTTP, or shorter than it says.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(socket_path)
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        chunks: list[bytes] = []
        while chunk := connection.recv(1 << 16):
            chunks.append(chunk)
    head, _, body = b"".join(chunks).partition(b"\r\n\r\n")
    first, *headers = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        raise ValueError("it does not speak HTTP")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
    if "chunked" in fields.get("transfer-encoding", "") or int(fields.get("content-length", len(body))) != len(body):
        raise ValueError("its answer is cut short")
    return int(first.split()[1]), body


def _unreachable(endpoint: str, error: BaseException) -> EngineError:
    reason = getattr(error, "strerror", None) or str(error)
    return EngineError(f"no engine answers at {endpoint}: {reason}", hints=_FIXES)


def _image(raw: Mapping[str, Any]) -> Image:
    text = (raw.get("Labels") or {}).get(LABEL)
    references = tuple(sorted(name for name in raw.get("RepoTags") or () if name != "<none>:<none>"))
    digests = tuple(sorted(name for name in raw.get("RepoDigests") or () if not name.startswith("<none>@")))
    label = ImageLabel.parse(text) if text else None
    created = int(raw.get("Created") or 0)
    return Image(id=str(raw["Id"]), references=references, label=label, created=created, digests=digests)


def _context_endpoint() -> str | None:
    """The endpoint of the current docker context; None when it is the default one."""
    config = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        name = os.environ.get("DOCKER_CONTEXT") or json.loads(config.read_text()).get("currentContext")
    except (OSError, ValueError, AttributeError):
        name = os.environ.get("DOCKER_CONTEXT")
    if not name or name == "default":
        return None
    import subprocess  # noqa: PLC0415 - most engines are found without it

    command = ["docker", "context", "inspect", name, "--format", "{{.Endpoints.docker.Host}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(f"the docker context `{name}` cannot be read", hints=_FIXES) from error
    return done.stdout.strip() or None
