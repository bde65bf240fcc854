"""Timings of tasker-build beside `docker buildx bake` and beside the hand-written way, measured in one run.

    python benchmarks/run.py [--dry-run] [noop] [edit] [cold] [plan]     default: noop plan

Only the command lines are compared; nothing of tasker-build is imported. Everything made is removed again: temporary folders, and
images below `tasker-bench-…`. BuildKit keeps what it cached, because it cannot forget selectively.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
HANDWRITTEN = ROOT / "benchmarks" / "handwritten"
EXAMPLE = ROOT / "examples" / "tasker"
COMPOSE_FILE = EXAMPLE / "docker" / "docker-compose.integration.yml"
TOOL = str(Path(sys.executable).with_name("tasker-build"))
# Names of this run alone, so that two runs never remove each other's images; the third is fixed by a FROM.
BAKE_REPOSITORY, OURS_REPOSITORY = f"tasker-bench-bake-{os.getpid()}", f"tasker-bench-ours-{os.getpid()}"
HAND_REPOSITORY = "tasker-bench-handwritten"
HAND_IMAGES = {"build": "builder-base", "orchestration": "tasker-orchestration", "worker": "tasker-worker-rust"}
SERVICES = ("deploy/orchestration", "deploy/workers/rust")
EDITED = {
    "worker": "workers/rust/src/lib.rs",
    "shared": "tasker-shared/src/lib.rs",
    "orchestration": "tasker-orchestration/src/lib.rs",
}
SHAPES = ("wide", "chain", "layers")
COMPILING = re.compile(r"Compiling (\S+) v\S+( \(/app)?")


class BenchError(Exception):
    """A measurement that cannot be made; its text says why."""


# --- one command, measured -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One command that ended: wall time, peak memory of it and of its children, and what it printed."""

    seconds: float
    megabytes: float
    load: float
    output: str
    code: int = 0


@dataclass(slots=True)
class Bench:
    """How commands are run: for real, or only shown."""

    dry_run: bool
    runs: int
    made_ids: list[str] = field(default_factory=list)

    def time(self, command: Sequence[str], *, ok: Sequence[int] = (0,)) -> Outcome:
        """Run a command and measure it.

        Raises:
            BenchError: it ended with a code that is not in `ok`.
        """
        if self.dry_run:
            print(f"  $ {shlex.join(command)}")
            return Outcome(seconds=0, megabytes=0, load=0, output="")
        load = os.getloadavg()[0]
        # A file, not a pipe: nothing has to read along while the clock runs.
        with tempfile.TemporaryFile() as output:
            began = time.perf_counter()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.terminate()
                process.wait()
                raise
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().decode(errors="replace")
        if process.returncode not in ok:
            tail = "\n".join(text.splitlines()[-15:])
            raise BenchError(f"exit code {process.returncode} from {shlex.join(command)}\n{tail}")
        return Outcome(seconds=seconds, megabytes=usage.ru_maxrss / 1024, load=load, output=text, code=process.returncode)

    def repeat(self, *commands: Sequence[str]) -> list[list[Outcome]]:
        """Run the commands in turn, `runs` rounds, so that a busy moment of the machine meets all of them."""
        rounds = [[self.time(command) for command in commands] for _ in range(1 if self.dry_run else self.runs)]
        return [list(column) for column in zip(*rounds, strict=True)]


def ask(*command: str) -> str:
    """What a command prints; "" when it fails. Not measured, and run in a dry run, too."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip() if done.returncode == 0 else ""


# --- tables --------------------------------------------------------------------------------------------------


class Table:
    """A table printed row by row, so that a long run shows what it has."""

    def __init__(self, bench: Bench, title: str, *columns: str) -> None:
        self.silent = bench.dry_run
        self.widths = [max(len(column), 34 if i == 0 else 9) for i, column in enumerate(columns)]
        print(f"\n{title}")
        if not self.silent:
            self.row(*columns)

    def row(self, *cells: str) -> None:
        if not self.silent:
            first, *rest = (cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, self.widths)))  # noqa: B905
            print("  " + "  ".join([first, *rest]), flush=True)

    def times(self, name: str, outcomes: Sequence[Outcome], against: Sequence[Outcome] | None = None) -> None:
        """One row of times; the ratio is this row's median over that of `against`."""
        if self.silent:
            return
        seconds = [outcome.seconds for outcome in outcomes]
        ratio = f"{median(seconds) / median(o.seconds for o in against):.2f}" if against else ""
        load = f"{outcomes[0].load:.1f}"
        self.row(name, load, f"{median(seconds):.3f} s", f"{min(seconds):.3f}", f"{max(seconds):.3f}", str(len(seconds)), ratio)


TIMES = ("load", "median", "min", "max", "runs")


# --- what is cleaned up --------------------------------------------------------------------------------------


def image_ids() -> set[str]:
    return set(ask("docker", "image", "ls", "--all", "--quiet", "--no-trunc").split())


@contextmanager
def images(bench: Bench) -> Iterator[None]:
    """After it, what was built is removed: by its exact names, and by its id where a newer one took its name."""
    before = image_ids()
    try:
        yield
    finally:
        if not bench.dry_run:
            names = [f"{HAND_REPOSITORY}/{image}:latest" for image in HAND_IMAGES.values()] if bench.made_ids else []
            for repository in (BAKE_REPOSITORY, OURS_REPOSITORY):
                names += ask("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{repository}/*").split()
            for image in (*names, *(image for image in reversed(bench.made_ids) if image not in before)):
                ask("docker", "image", "rm", image)
            bench.made_ids.clear()


def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tasker-bench-")


# --- noop: nothing to do -------------------------------------------------------------------------------------


def secret_flags() -> list[str]:
    bundle = os.environ.get("TASKER_BUILD_CA_BUNDLE")
    return [f"id=ca_bundle,src={bundle}"] if bundle else []


def bake_file(targets: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The bake file of the rendered Dockerfiles, by way of the compose file rendered beside them, and its target names.

    Raises:
        BenchError: no such rendered file.
    """
    config = ask("docker", "compose", "--file", str(COMPOSE_FILE), "config", "--format", "json")
    if not config:
        raise BenchError(f"{COMPOSE_FILE} cannot be read: render first")
    services: Mapping[str, Any] = json.loads(config)["services"]
    listed: Sequence[Mapping[str, str]] = json.loads(ask(TOOL, "ls", "--format", "json"))["targets"]
    wanted = {row["image"]: row["target"] for row in listed if not targets or row["target"] in targets}
    rows: dict[str, Any] = {}
    chosen: dict[str, str] = {}
    for name, service in services.items():
        build, repository = service.get("build"), str(service.get("image", "")).rpartition(":")[0]
        if build is None:
            continue
        links = {key: value.replace("service:", "target:") for key, value in build.get("additional_contexts", {}).items()}
        rows[name] = {
            "context": build["context"],
            "dockerfile": build["dockerfile"],
            "target": build["target"],
            "contexts": links,
            "tags": [f"{BAKE_REPOSITORY}/{repository.rpartition('/')[2]}:latest"],
            "secret": secret_flags(),
            "output": ["type=docker"],
        }
        if repository in wanted:
            chosen.setdefault(repository, name)
    if missing := set(wanted.values()) - {wanted[repository] for repository in chosen}:
        raise BenchError(f"not in {COMPOSE_FILE.name}: {', '.join(sorted(missing))}; choose with --targets")
    return {"target": rows}, sorted(chosen.values())


def noop(bench: Bench, options: argparse.Namespace) -> None:
    """Both ways when nothing is to do."""
    targets: Sequence[str] = options.targets
    apply = [TOOL, "apply", *targets]
    with scratch() as name, images(bench):
        folder = Path(name)
        content, names = bake_file(targets)
        file = folder / "bake.json"
        file.write_text(json.dumps(content, indent=1))
        # Both the secret and the context lie outside the folder of the bake file; without this it asks.
        bake = ["docker", "buildx", "bake", "--allow=fs.read=*", "--file", str(file)]
        table = Table(bench, f"noop: nothing to do, {len(names)} targets of the example, all cached", "", *TIMES, "÷ apply")
        state = bench.time([TOOL, "plan", "--detailed-exitcode", *targets], ok=(0, 2))
        if state.code == 2:
            raise BenchError("noop: there is something to build; run `tasker-build apply` first\n" + state.output)
        bench.time(apply)
        warm = bench.time([*bake, "--progress=plain", *names])
        if count := len(COMPILING.findall(warm.output)):
            print(f"  (bake's warm run compiled {count} crates and took {warm.seconds:.1f} s; from here on it is cached)")
        ours, peer = bench.repeat(apply, [*bake, *names])
        if any("nothing to do" not in outcome.output for outcome in ours) and not bench.dry_run:
            raise BenchError("noop: something changed while measuring; run again")
        table.times("tasker-build apply", ours)
        table.times("docker buildx bake", peer, ours)
        plan, shown, version = bench.repeat([TOOL, "plan", *targets], [*bake, "--print", *names], [TOOL, "--version"])
        table.times("tasker-build plan", plan, ours)
        table.times("docker buildx bake --print", shown, ours)
        table.times("tasker-build --version", version, ours)


# --- edit and cold: real builds ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Crates:
    """How many crates a build compiled."""

    workspace: int
    others: int

    @classmethod
    def of(cls, logs: str) -> Crates:
        found = COMPILING.findall(logs)
        workspace = sum(bool(inside) for _, inside in found)
        return cls(workspace=workspace, others=len(found) - workspace)


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the example with a spec of its own, so that no image and no record of the user's is touched."""

    folder: Path
    bench: Bench

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def make(self) -> None:
        shutil.copytree(EXAMPLE, self.workspace, ignore=shutil.ignore_patterns("target", ".git"))
        shutil.copy(ROOT / "stacks.yaml", self.folder)
        (self.folder / "bench.yaml").write_text(f"project: tasker-bench\nregistry: {OURS_REPOSITORY}\n")

    def ours(self, *options: str) -> tuple[Outcome, Crates]:
        spec = ["--file", str(self.folder / "stacks.yaml"), "--file", str(self.folder / "bench.yaml")]
        command = [TOOL, *spec, "--workspace", str(self.workspace), "apply", "--progress=quiet", *options, *SERVICES]
        outcome = self.bench.time(command)
        runs = sorted((self.folder / ".tasker-build" / "runs").glob("*"))
        logs = "".join(log.read_text(errors="replace") for log in runs[-1].glob("*.log")) if runs else ""
        return outcome, Crates.of(logs)

    def by_hand(self, *options: str) -> tuple[Outcome, Crates]:
        """The three Dockerfiles in order, each by tag: as the hand-written script did it."""
        outcomes = []
        for name, image in HAND_IMAGES.items():
            command = [
                "docker",
                "buildx",
                "build",
                "--progress=plain",
                "--load",
                "--file",
                str(HANDWRITTEN / f"{name}.Dockerfile"),
            ]
            command += [word for secret in secret_flags() for word in ("--secret", secret)]
            command += ["--tag", f"{HAND_REPOSITORY}/{image}:latest", "--iidfile", str(self.folder / "iid"), *options]
            outcomes.append(self.bench.time([*command, str(self.workspace)]))
            if not self.bench.dry_run:
                self.bench.made_ids.append((self.folder / "iid").read_text().strip())
        whole = Outcome(
            seconds=sum(outcome.seconds for outcome in outcomes),
            megabytes=max(outcome.megabytes for outcome in outcomes),
            load=outcomes[0].load,
            output="".join(outcome.output for outcome in outcomes),
        )
        return whole, Crates.of(whole.output)

    def edit(self, path: str, number: int) -> None:
        """Add one line of real code that no earlier build has seen."""
        line = f"#[doc(hidden)] pub const BENCH_{time.time_ns()}: u32 = {number};"
        if self.bench.dry_run:
            print(f"  $ echo {shlex.quote(line)} >> {self.workspace / path}")
            return
        with (self.workspace / path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def edit(bench: Bench, options: argparse.Namespace) -> None:
    """One line changed in a copy of the example, both ways warm."""
    with scratch() as folder, images(bench):
        copy = Copy(Path(folder), bench)
        copy.make()
        table = Table(bench, "edit: one line changed, everything else cached", "", *TIMES, "÷ ours", "own", "others")
        copy.ours()
        copy.by_hand()
        for where in options.edit or ["worker"]:
            ways: dict[str, list[tuple[Outcome, Crates]]] = {"ours": [], "by hand": []}
            for number in range(1 if bench.dry_run else options.runs):
                copy.edit(EDITED[where], number)
                turns: list[tuple[str, Callable[[], tuple[Outcome, Crates]]]] = [("ours", copy.ours), ("by hand", copy.by_hand)]
                # Nobody always goes second, to files that are in memory by then.
                for way, build in turns[:: 1 if number % 2 == 0 else -1]:
                    ways[way].append(build())
            builds_rows(table, f" ({EDITED[where]})", ways)


def cold(bench: Bench, _options: argparse.Namespace) -> None:
    """Everything of their own built again, both ways; base images and downloads of BuildKit's own stay."""
    with scratch() as folder, images(bench):
        copy = Copy(Path(folder), bench)
        copy.make()
        table = Table(bench, "cold: every step run again, once each", "", *TIMES, "÷ ours", "own", "others")
        ways = {"ours": [copy.ours("--rebuild", "build", "--rebuild", "deploy/*")]}
        ways["by hand"] = [copy.by_hand("--no-cache")]
        builds_rows(table, "", ways)


def builds_rows(table: Table, about: str, ways: Mapping[str, Sequence[tuple[Outcome, Crates]]]) -> None:
    """Rows of real builds, with the crates they compiled: the workspace's own and all others."""
    if table.silent:
        return
    ours = median(outcome.seconds for outcome, _ in ways["ours"])
    for way, results in ways.items():
        seconds = [outcome.seconds for outcome, _ in results]
        own, others = (median(values) for values in zip(*((c.workspace, c.others) for _, c in results), strict=True))
        cells = (f"{median(seconds):.1f} s", f"{min(seconds):.1f}", f"{max(seconds):.1f}", str(len(seconds)))
        ratio = f"{median(seconds) / ours:.2f}"
        table.row(way + about, f"{results[0][0].load:.1f}", *cells, ratio, f"{own:.0f}", f"{others:.0f}")


# --- plan: how it grows --------------------------------------------------------------------------------------

TEMPLATE = """\
{% for argument, reference, _ in images %}
ARG {{ argument }}={{ reference }}
{% endfor %}
FROM {{ image("first") }} AS runtime
{% if "second" in target.from_ %}
COPY --from={{ target.vars.second }} /src/ /src/
{% endif %}
COPY {{ target.name }}/ /src/{{ target.name }}/
"""
FILES_EACH, FILE_SIZE, LAYERS = 20, 2048, 10


def parents_of(shape: str, number: int, count: int) -> list[int]:
    """Whom a target is built from: nobody, the one before, or two of the layer below."""
    if shape == "chain":
        return [number - 1] if number else []
    width = max(1, count // LAYERS)
    if shape == "layers" and number >= width:
        below = number // width * width - width
        return sorted({below + number % width, below + (number + 1) % width})
    return []


def synthetic(folder: Path, shape: str, count: int) -> None:
    """Write a spec, its workspace and its template, and a bake file that says the same."""
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "plain.Dockerfile.j2").write_text(TEMPLATE)
    targets: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    for number in range(count):
        name = f"t{number:04}"
        context = folder / "workspace" / name
        context.mkdir(parents=True)
        for i in range(FILES_EACH):
            (context / f"file{i:02}").write_text(f"{name} {i}\n".ljust(FILE_SIZE, "x"))
        parents = [f"t{parent:04}" for parent in parents_of(shape, number, count)]
        references = {parent: f"tasker-bench-synthetic/{parent}:latest" for parent in parents}
        roles = dict(zip(("first", "second"), parents or ["debian"], strict=False))
        target: dict[str, Any] = {"template": "plain.Dockerfile.j2", "image": name, "stage": "runtime", "from": roles}
        target["context"] = [name]
        if len(parents) > 1:
            target["vars"] = {"second": references[parents[1]]}
        targets[name] = target
        rows[name] = {
            "context": "workspace",
            "dockerfile": f"docker/{name}/Dockerfile",
            "target": "runtime",
            # BuildKit looks a name up without `:latest`; with it the link would silently be the image of that name.
            "contexts": {ref.removesuffix(":latest"): f"target:{parent}" for parent, ref in references.items()},
            "tags": [f"tasker-bench-synthetic/{name}:latest"],
        }
    spec = {
        "version": 1,
        "project": "tasker-bench-synthetic",
        "workspace": "workspace",
        "templates": "recipes",
        "registry": "tasker-bench-synthetic",
        "bases": {"debian": "debian:trixie-slim"},
        "targets": targets,
    }
    # JSON is YAML.
    (folder / "stacks.yaml").write_text(json.dumps(spec, indent=1))
    (folder / "bake.json").write_text(json.dumps({"group": {"default": {"targets": list(rows)}}, "target": rows}, indent=1))


def plan(bench: Bench, options: argparse.Namespace) -> None:
    """Planning of synthetic graphs. Bake prints its file back; we render and hash every file of every context as well."""
    title = f"plan: {FILES_EACH} files of {FILE_SIZE} bytes a target"
    table = Table(bench, title, "", "load", "median", "min", "max", "runs", "ms/target", "peak MB", "kB/target")
    for count in (10, 100, 1000) if options.large else (10, 100):
        for shape in SHAPES:
            with scratch() as folder:
                synthetic(Path(folder), shape, count)
                ours = [TOOL, "--directory", folder, "plan"]
                bake = ["docker", "buildx", "bake", "--print", "--file", f"{folder}/bake.json"]
                bench.time([*ours, "--offline"])
                results = bench.repeat([*ours, "--offline"], ours, bake)
            for name, outcomes in zip(("plan --offline", "plan", "bake --print"), results, strict=True):
                seconds = sorted(outcome.seconds for outcome in outcomes)
                megabytes = median(outcome.megabytes for outcome in outcomes)
                cells = [f"{median(seconds):.3f} s", f"{seconds[0]:.3f}", f"{seconds[-1]:.3f}", str(len(seconds))]
                cells += [f"{median(seconds) / count * 1000:.2f}", f"{megabytes:.0f}", f"{megabytes * 1024 / count:.0f}"]
                table.row(f"{count:5} {shape:6} {name}", f"{outcomes[0].load:.1f}", *cells)


# --- the command line ----------------------------------------------------------------------------------------

SECTIONS: Mapping[str, Callable[[Bench, argparse.Namespace], None]] = {"noop": noop, "edit": edit, "cold": cold, "plan": plan}


def versions() -> None:
    print(f"engine {ask('docker', 'version', '--format', '{{.Server.Version}}') or 'none'}")
    print(f"{ask('docker', 'buildx', 'version') or 'no buildx'}")
    print(f"{ask(TOOL, '--version')}, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    print("load is the machine's before the row's first run; ÷ is the ratio of medians, above 1 means slower")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="noop|edit|cold|plan", help="what to measure (default: noop plan)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands instead of running them")
    parser.add_argument("--runs", type=int, default=5, help="runs of each command (default: 5)")
    parser.add_argument("--targets", nargs="+", default=[], metavar="TARGET", help="noop: only these targets")
    parser.add_argument("--edit", action="append", choices=list(EDITED), help="edit: where the line goes (default: worker)")
    parser.add_argument("--large", action="store_true", help="plan: 1000 targets, too")
    options = parser.parse_args(arguments)
    sections: Sequence[str] = options.sections or ["noop", "plan"]
    if unknown := [section for section in sections if section not in SECTIONS]:
        parser.error(f"no section `{unknown[0]}`; there are {', '.join(SECTIONS)}")
    bench = Bench(dry_run=options.dry_run, runs=max(1, options.runs))
    versions()
    failed = False
    for section in sections:
        try:
            SECTIONS[section](bench, options)
        except BenchError as error:
            failed = True
            print(f"\n{section}: not measured: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
