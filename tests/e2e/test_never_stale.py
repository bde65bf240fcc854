"""The machine of tests/property on a real engine: random steps, and every image beside a build without any cache.

TASKER_REAL_STEPS sets how many steps, other ones every time (--hypothesis-seed repeats one); without it they are always the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import traceback
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from tasker_build.engine.docker import DockerEngine
from tests.property.machine import Machine

from .conftest import docker

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS = int(os.environ.get("TASKER_REAL_STEPS", "50"))
LENGTH = 25
DEBIAN = "debian:trixie-slim"


class RealStack(Machine):
    """The machine on the engine that DOCKER_HOST names, with image names of its own."""

    def start(self) -> None:
        self.project = f"proof{uuid.uuid4().hex[:10]}"
        self.engine = DockerEngine.connect()
        self.seen: dict[str, str] = {}  # image id → what it holds
        self.built_clean: dict[str, tuple[str, str]] = {}  # what a clean build is made from → its tag and what it holds
        self.clean_now: dict[str, str] = {}  # base or target reference → the clean image that stands for it

    def teardown(self) -> None:
        super().teardown()
        listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
        for reference in listed:
            if reference.startswith((f"{self.project}-", f"clean-{self.project}:")):
                docker("image", "rm", reference, check=False)

    def apply(self, *selection: str, forced: tuple[str, ...] = ()) -> None:
        try:
            super().apply(*selection, forced=forced)
        except Exception:
            # Hypothesis tries a failing run again, and an engine need not fail the same way twice.
            traceback.print_exc()
            raise

    def names(self) -> dict[str, str]:
        """Only our own: others may work on the same engine."""
        own = (f"{self.project}-", f"clean-{self.project}:")
        return {reference: image_id for reference, image_id in super().names().items() if reference.startswith(own)}

    def set_base(self, name: str, data: bytes) -> None:
        docker(
            "build", "--tag", self.reference(name), "-", text=f"FROM {DEBIAN}\nRUN mkdir /t && echo {data.decode()} > /t/base\n"
        )
        self.clean_now[self.reference(name)] = self.reference(name)

    def clean(self, target: str, text: str, files: Mapping[str, bytes], args: Mapping[str, str], stage: str | None) -> str:
        names = self.names()
        stands_on = {name: names[clean] for name, clean in self.clean_now.items() if name in text}
        made_from = repr((text, sorted(files.items()), sorted(args.items()), stage, sorted(stands_on.items())))
        if made_from not in self.built_clean:
            tag = f"clean-{self.project}:{len(self.built_clean)}"
            # Every line that names an image is the default of an ARG; the clean images take their place.
            given = [
                (line.split("=")[0].removeprefix("ARG "), line.split("=")[1]) for line in text.split("\n") if "_IMAGE=" in line
            ]
            values = {**args, **{argument: self.clean_now[reference] for argument, reference in given}}
            command = ["docker", "buildx", "build", "--quiet", "--no-cache", "--load", "--tag", tag, "--file", "Dockerfile"]
            command += [word for argument, value in values.items() for word in ("--build-arg", f"{argument}={value}")]
            command += ["--target", stage] if stage else []
            done = subprocess.run([*command, "-"], input=_tar(files, text), capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()
            self.built_clean[made_from] = (tag, self.content(self.names()[tag]))
        tag, holds = self.built_clean[made_from]
        self.clean_now[f"{self.project}-{target}:latest"] = tag
        return holds

    def content(self, image_id: str) -> str:
        if image_id not in self.seen:
            container = docker("create", image_id, "true").stdout.strip()
            try:
                done = subprocess.run(["docker", "cp", f"{container}:/t", "-"], capture_output=True, check=True)
            finally:
                docker("rm", container)
            environment = json.loads(docker("image", "inspect", "--format", "{{json .Config.Env}}", image_id).stdout)
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
                rows = [
                    (member.name, member.mode, member.linkname, hashlib.sha256(file.read() if file else b"").hexdigest())
                    for member in sorted(tar.getmembers(), key=lambda member: member.name)
                    for file in [tar.extractfile(member) if member.isfile() else None]
                ]
            self.seen[image_id] = repr((rows, sorted(environment)))
        return self.seen[image_id]

    def forge(self, reference: str) -> None:
        docker("build", "--no-cache", "--tag", reference, "-", text=f"FROM {reference}\nRUN echo by hand > /t/by-hand\n")

    def untag(self, reference: str) -> None:
        docker("image", "rm", reference)


def _tar(files: Mapping[str, bytes], dockerfile: str) -> bytes:
    """A context as a person would send it: files as they are, with their modes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in {**files, "Dockerfile": b"-" + dockerfile.encode()}.items():
            sign, rest = data[:1], data[1:]
            header = tarfile.TarInfo(path)
            header.mode = 0o755 if sign in {b"x", b"d"} else 0o644
            if sign in {b"m", b"D"}:
                header.mode, rest = int(rest[:4], 8), rest[4:]
            if sign in {b"d", b"D"}:
                header.type = tarfile.DIRTYPE
            elif sign == b"l":
                header.type, header.linkname = tarfile.SYMTYPE, os.fsdecode(rest)
            else:
                header.size = len(rest)
            tar.addfile(header, io.BytesIO(rest) if header.isfile() else None)
    return out.getvalue()


RealStack.TestCase.settings = settings(
    max_examples=STEPS // LENGTH + 1,  # the first one is always the simplest there is
    stateful_step_count=LENGTH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
    derandomize="TASKER_REAL_STEPS" not in os.environ,
)
TestNeverStaleOnAnEngine = RealStack.TestCase
pytestmark = [pytest.mark.engine, pytest.mark.long]
