"""Asks registries which digest a reference stands for. Knows no lock and no spec; the standard library is enough.

Source: the OCI distribution specification ("Pulling manifests") and the token flow that registries answer 401 with. Credentials
are those that `docker login` keeps in config.json itself; they go to the registry or the token service it names, over HTTPS or
on this machine, and into no message.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import ipaddress
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tasker_build.registries.trouble import RegistryError, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import Message

TIMEOUT = 20.0
"""Seconds for one question, the token included."""
_LARGEST = 4 << 20  # what registries themselves allow for a manifest
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")

# A reference without a host means this registry; its API and its place in config.json have names of their own.
_DEFAULT = "docker.io"
_DEFAULT_API = "registry-1.docker.io"
_DEFAULT_CONFIG = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image reference, taken apart."""

    host: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Take `[host/]name[:tag]` apart, with what docker fills in."""
        name = text.partition("@")[0]
        first, slash, rest = name.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            host, path = first, rest
        else:
            host, path = _DEFAULT, name
        path, _, tag = path.partition(":")
        if host in {_DEFAULT, f"index.{_DEFAULT}"}:
            host, path = _DEFAULT, path if "/" in path else f"library/{path}"
        return cls(host=host, repository=path, tag=tag or "latest")

    @property
    def api(self) -> str:
        """Base URL of the registry's API: plain http for a registry on this machine, as docker does."""
        host = _DEFAULT_API if self.host == _DEFAULT else self.host
        return f"{'http' if is_loopback(urlsplit(f'//{host}').hostname) else 'https'}://{host}"


def is_loopback(host: str | None) -> bool:
    """Whether a host name means this machine without asking anybody."""
    if not host or host == "localhost":
        return host == "localhost"
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a registry has under a reference."""

    digest: str
    platforms: Mapping[str, str]  # os/architecture[/variant] → digest; those listed twice are left out


@dataclass(slots=True)
class _Answer:
    status: int
    headers: Message
    body: bytes


@dataclass(slots=True)
class Registries:
    """Asks registries, each with its own credentials; one that does not answer is not asked again."""

    timeout: float = TIMEOUT
    config: Path | None = None  # docker's config.json
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    dead: dict[str, RegistryError] = field(default_factory=dict)

    def digest(self, base: str, reference: str) -> str:
        """The digest of a reference now; `base` names it in messages. A HEAD request, which no registry counts as a pull.

        Raises:
            RegistryError: why there is none.
        """
        parsed = Reference.parse(reference)
        answer = self._manifest(base, parsed, parsed.tag, "HEAD")
        digest = str(answer.headers.get("Docker-Content-Digest") or "")
        return digest if _DIGEST.fullmatch(digest) else self.served(base, reference).digest

    def served(self, base: str, reference: str, digest: str = "") -> Served:
        """What a reference stands for on every platform, or what an earlier `digest` of it stood for.

        Raises:
            RegistryError: why that cannot be said.
        """
        parsed = Reference.parse(reference)
        answer = self._manifest(base, parsed, digest or parsed.tag, "GET")
        # The bytes are the truth; a header is only a word about them.
        found = "sha256:" + hashlib.sha256(answer.body).hexdigest()
        told = str(answer.headers.get("Docker-Content-Digest") or found)
        if found != told or (digest and found != digest):
            raise self._broken(base, parsed, f"sent other bytes than those of {digest or told}")
        manifest = _json(answer.body)
        kind = str(manifest.get("mediaType") or answer.headers.get_content_type())
        if kind in _INDEXES or "manifests" in manifest:
            return Served(digest=found, platforms=_platforms(manifest))
        config = manifest.get("config")
        blob = config.get("digest") if isinstance(config, dict) else None
        if not isinstance(blob, str) or not _DIGEST.fullmatch(blob):
            raise self._broken(base, parsed, f"sent a manifest of a kind that is not supported ({kind})")
        url = f"{parsed.api}/v2/{quote(parsed.repository)}/blobs/{blob}"
        platform = _platform(_json(self._get(base, parsed, url, "GET").body))
        return Served(digest=found, platforms={platform: found} if platform else {})

    def _manifest(self, base: str, reference: Reference, what: str, method: str) -> _Answer:
        return self._get(
            base, reference, f"{reference.api}/v2/{quote(reference.repository)}/manifests/{quote(what, safe=':')}", method
        )

    def _get(self, base: str, reference: Reference, url: str, method: str) -> _Answer:
        """Ask, with a token or password where the registry wants one.

        Raises:
            RegistryError: it does not answer, or answers with an error.
        """
        if reference.host in self.dead:
            known = self.dead[reference.host]
            raise RegistryError(_said(base, reference, "does not answer"), known.trouble, hints=known.hints)
        deadline = time.monotonic() + self.timeout
        scope = (reference.host, reference.repository)
        try:
            answer = _ask(url, method, self.tokens.get(scope), deadline)
            if answer.status == http.HTTPStatus.UNAUTHORIZED and scope not in self.tokens:
                authorization = self._authorization(base, reference, answer.headers, deadline)
                if authorization:
                    self.tokens[scope] = authorization
                    answer = _ask(url, method, authorization, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            failure = _unreachable(base, reference, error, self.timeout)
            self.dead[reference.host] = failure
            raise failure from error
        if answer.status != http.HTTPStatus.OK:
            raise self._refused(base, reference, answer)
        return answer

    def _authorization(self, base: str, reference: Reference, headers: Message, deadline: float) -> str | None:
        """Answer a challenge: the value of the Authorization header, None where there is nothing to answer with."""
        challenges = [_challenge(text) for text in headers.get_all("WWW-Authenticate") or ()]
        password = self._password(reference.host)
        for scheme, values in challenges:
            if scheme == "bearer" and values.get("realm"):
                return self._token(base, reference, values, password, deadline)
        if password and any(scheme == "basic" for scheme, _ in challenges):
            return f"Basic {password}"
        return None

    def _token(
        self, base: str, reference: Reference, values: Mapping[str, str], password: str | None, deadline: float
    ) -> str | None:
        realm = urlsplit(values["realm"])
        if realm.scheme != "https" and not (realm.scheme == "http" and is_loopback(realm.hostname)):
            raise self._broken(base, reference, "names a token service that is not reached by https")
        query = {"scope": f"repository:{reference.repository}:pull"}
        query |= {name: values[name] for name in ("service", "scope") if name in values}
        url = f"{values['realm']}{'&' if realm.query else '?'}{urlencode(sorted(query.items()))}"
        answer = _ask(url, "GET", f"Basic {password}" if password else None, deadline)
        if answer.status != http.HTTPStatus.OK:
            raise self._refused(base, reference, answer, by=" (its token service)")
        document = _json(answer.body)
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise self._broken(base, reference, "has a token service that gave no token")
        return f"Bearer {token}"

    def _password(self, host: str) -> str | None:
        """What `docker login` keeps for a host, as the word that HTTP's Basic scheme wants; helpers are not asked."""
        names = [_DEFAULT_CONFIG, _DEFAULT] if host == _DEFAULT else [host, f"https://{host}", f"https://{host}/v1/"]
        auths = self._settings().get("auths")
        for name in names:
            entry = auths.get(name) if isinstance(auths, dict) else None
            word = entry.get("auth") if isinstance(entry, dict) else None
            if isinstance(word, str) and word:
                try:
                    valid = b":" in base64.b64decode(word, validate=True)
                except ValueError:
                    valid = False
                if valid:
                    return word
        return None

    def _settings(self) -> dict[str, Any]:
        path = self.config or Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
        try:
            return _json(path.read_bytes())
        except OSError:
            return {}

    def _refused(self, base: str, reference: Reference, answer: _Answer, by: str = "") -> RegistryError:
        status = answer.status
        if status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
            helper = {"credsStore", "credHelpers"} & self._settings().keys()
            asked = "credential helpers are not asked: " if helper else ""
            host = "" if reference.host == _DEFAULT else f" {reference.host}"
            hints = (
                f"{asked}`docker login{host}` with the password in config.json",
                "is the name right? registries say so of unknown names, too",
            )
            return RegistryError(_said(base, reference, f"refuses access{by}: {status}"), Trouble.DENIED, hints=hints)
        if status == http.HTTPStatus.NOT_FOUND:
            message = _said(base, reference, f"has no {reference.repository}:{reference.tag}{by}")
            return RegistryError(message, Trouble.MISSING, hints=("correct the reference under `bases`",))
        if status == http.HTTPStatus.TOO_MANY_REQUESTS:
            wait = str(answer.headers.get("Retry-After") or "")
            hint = f"try again in {wait} seconds" if wait.isdigit() else "try again later, or log in: the limit is higher then"
            return RegistryError(_said(base, reference, f"says too many requests{by}: 429"), Trouble.LIMITED, hints=(hint,))
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            message = _said(base, reference, f"has a problem of its own{by}: {status}")
            return RegistryError(message, Trouble.BROKEN, hints=("try again later",))
        return RegistryError(_said(base, reference, f"answered {status}{by}"), Trouble.BROKEN)

    @staticmethod
    def _broken(base: str, reference: Reference, what: str) -> RegistryError:
        return RegistryError(_said(base, reference, what), Trouble.BROKEN)


def _said(base: str, reference: Reference, what: str) -> str:
    return f"base `{base}`: the registry {reference.host} {what}"


def _unreachable(base: str, reference: Reference, error: BaseException, seconds: float) -> RegistryError:
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLError):
        hints: tuple[str, ...] = ("a proxy with a CA of its own? set TASKER_BUILD_CA_BUNDLE or SSL_CERT_FILE to its bundle",)
    else:
        hints = ("is this machine allowed to reach it? HTTPS_PROXY and NO_PROXY are honoured",)
    if isinstance(cause, str):
        why = cause
    elif isinstance(cause, TimeoutError):
        why = f"no answer within {seconds:g} s"
    else:
        why = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or type(cause).__name__
    return RegistryError(_said(base, reference, f"cannot be reached: {why}"), Trouble.UNREACHABLE, hints=hints)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but takes no credentials to another host and never leaves https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        target, origin = urlsplit(urljoin(req.full_url, newurl)), urlsplit(req.full_url)
        if origin.scheme == "https" and target.scheme != "https":
            raise urllib.error.URLError("it redirects to a place that is not https")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and target.netloc != origin.netloc:
            request.remove_header("Authorization")
        return request


def _ask(url: str, method: str, authorization: str | None, deadline: float) -> _Answer:
    """One request; errors of HTTP are answers, anything else is an OSError, HTTPException or ValueError."""
    request = urllib.request.Request(url, method=method)  # noqa: S310 - the scheme is http or https, by `api` and `_token`
    request.add_header("Accept", ", ".join((*_INDEXES, *_MANIFESTS)))
    request.add_header("User-Agent", "tasker-build")
    if authorization:
        # Not an "unredirected" header: `_Redirects` decides where it may go.
        request.add_header("Authorization", authorization)
    handlers: list[urllib.request.BaseHandler] = [_Redirects()]
    # Plain http is this machine itself: no proxy, and no CAs to read.
    handlers += [urllib.request.HTTPSHandler(context=_trust()) if url.startswith("https:") else urllib.request.ProxyHandler({})]
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    try:
        response = urllib.request.build_opener(*handlers).open(request, timeout=left)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return _Answer(response.status, response.headers, b"".join(_chunks(response, deadline)))


def _trust() -> ssl.SSLContext:
    """The system's CAs, and the site's bundle that builds trust, too."""
    context = ssl.create_default_context()
    bundle = os.environ.get("TASKER_BUILD_CA_BUNDLE")
    if bundle and Path(bundle).is_file():
        context.load_verify_locations(bundle)
    return context


def _chunks(response: Any, deadline: float) -> Iterator[bytes]:
    """The body, bounded in size and in time: a registry that sends a byte a second must not keep us."""
    size = 0
    while data := response.read1(1 << 16):
        size += len(data)
        if size > _LARGEST:
            raise OSError(errno.EFBIG, "the answer is too large")
        if time.monotonic() > deadline:
            raise TimeoutError
        yield data


_CHALLENGE = re.compile(r'([A-Za-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def _challenge(text: str) -> tuple[str, Mapping[str, str]]:
    """`Bearer realm="…",service="…"` → scheme and values, both in lower case where case does not count."""
    scheme, _, rest = text.strip().partition(" ")
    return scheme.lower(), {match[1].lower(): match[2] or match[3] or "" for match in _CHALLENGE.finditer(rest)}


def _json(data: bytes) -> dict[str, Any]:
    """A JSON object; whatever else it is counts as an empty one."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _platforms(index: Mapping[str, Any]) -> Mapping[str, str]:
    """Platform → digest; attestations are no platform, and one that is listed twice is not ours to choose from."""
    found: dict[str, list[str]] = {}
    manifests = index.get("manifests")
    for row in manifests if isinstance(manifests, list) else ():
        if not isinstance(row, dict):
            continue
        described, digest = row.get("platform"), row.get("digest")
        platform = _platform(described) if isinstance(described, dict) else None
        if platform and isinstance(digest, str) and _DIGEST.fullmatch(digest):
            found.setdefault(platform, []).append(digest)
    return {platform: digests[0] for platform, digests in sorted(found.items()) if len(set(digests)) == 1}


_WORD = re.compile(r"[a-z0-9][A-Za-z0-9_.-]*")
_VARIANT_OF = {"arm64": "v8", "amd64": "v1"}


def _platform(row: Mapping[str, Any]) -> str | None:
    """`linux/arm64`, `linux/arm/v7`; the variant that an architecture always has is left out."""
    words = [row.get("os"), row.get("architecture")]
    variant = row.get("variant")
    if variant and variant != _VARIANT_OF.get(str(words[1])):
        words.append(variant)
    good = all(isinstance(word, str) and _WORD.fullmatch(word) and word != "unknown" for word in words)
    return "/".join(map(str, words)) if good else None
