"""Timings of tasker-build beside `docker buildx bake` and beside the hand-written way, measured in one run.

    python benchmarks/run.py [--dry-run] [noop] [built] [plan] [hash] [render] [start] [edit] [cold]

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
from contextlib import contextmanager, suppress
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
# Dockerfile → image; what is built on the base comes after it.
HAND_IMAGES = {
    "deploy": {
        "build": "builder-base:latest",
        "orchestration": "tasker-orchestration:latest",
        "worker": "tasker-worker-rust:latest",
    },
    "dev": {
        "build": "builder-base:latest",
        "orchestration-dev": "tasker-orchestration:dev",
        "worker-dev": "tasker-worker-rust:dev",
    },
}
SERVICES = {
    "deploy": ("deploy/orchestration", "deploy/workers/rust"),
    "dev": ("dev/orchestration", "dev/workers/rust"),
}
EDITED = {
    "worker": "workers/rust/src/lib.rs",
    "shared": "tasker-shared/src/lib.rs",
    "orchestration": "tasker-orchestration/src/lib.rs",
}
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
    cpu: float = 0
    code: int = 0


@dataclass(slots=True)
class Bench:
    """How commands are run: for real, or only shown."""

    dry_run: bool
    runs: int
    made_ids: list[str] = field(default_factory=list)
    goals: list[tuple[str, float, float, float]] = field(default_factory=list)
    folder: Path = ROOT

    def goal(self, work: str, measured: float, must: float, aim: float) -> None:
        """Note what was measured beside what it must be and what it should be; less is better."""
        if not self.dry_run:
            self.goals.append((work, measured, must, aim))

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
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder
            )
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
        cpu = usage.ru_utime + usage.ru_stime
        megabytes = usage.ru_maxrss / 1024
        return Outcome(seconds=seconds, megabytes=megabytes, load=load, output=text, code=process.returncode, cpu=cpu)

    def persist(self, command: Sequence[str]) -> Outcome:
        """Measure a command that succeeds; one that fails is run anew, a few times."""
        for _ in range(3):
            with suppress(BenchError):
                return self.time(command)
        return self.time(command)

    def repeat(self, *commands: Sequence[str], rounds: int = 1) -> list[list[Outcome]]:
        """Run the commands in turn, `runs` times `rounds`, so that a busy moment of the machine meets all of them.

        Where a word of a command says RUN, it gets the number of the run.
        """
        count = 1 if self.dry_run else self.runs * rounds
        columns: list[list[Outcome]] = [[] for _ in commands]
        for number in range(count):
            # Nobody always comes first.
            for i in (i if number % 2 == 0 else len(commands) - 1 - i for i in range(len(commands))):
                columns[i].append(self.persist([word.replace("RUN", str(number)) for word in commands[i]]))
        return columns

    @contextmanager
    def inside(self, folder: Path) -> Iterator[None]:
        """Start commands in a folder: bake's paths begin there."""
        before, self.folder = self.folder, folder
        try:
            yield
        finally:
            self.folder = before


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

    def times(
        self, name: str, outcomes: Sequence[Outcome], against: Sequence[Outcome] | None = None, *, cpu: bool = False
    ) -> None:
        """One row of times; the ratio is this row's median over that of `against`."""
        if self.silent:
            return
        seconds = [outcome.seconds for outcome in outcomes]
        cells = [f"{outcomes[0].load:.1f}", f"{median(seconds):.3f} s", f"{min(seconds):.3f}", f"{max(seconds):.3f}"]
        cells += [str(len(seconds))] + ([f"{median(o.cpu for o in outcomes):.3f}"] if cpu else [])
        self.row(name, *cells, f"{ratio(outcomes, against):.2f}" if against else "")


def ratio(outcomes: Sequence[Outcome], against: Sequence[Outcome]) -> float:
    """How many times longer, by medians; 0 in a dry run."""
    peer = median(outcome.seconds for outcome in against)
    return median(outcome.seconds for outcome in outcomes) / peer if peer else 0


def print_goals(bench: Bench) -> None:
    """Everything that was measured against a goal."""
    if not bench.goals:
        return
    print("\ngoals: measured, what it must be at most, what is aimed at")
    width = max(len(work) for work, *_ in bench.goals)
    for work, measured, must, aim in bench.goals:
        verdict = "aim met" if measured <= aim else "met, aim missed" if measured <= must else "MISSED"
        print(f"  {work:<{width}}  {measured:8.3f}  {must:8.3f}  {aim:8.3f}  {verdict}")


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
            made = sorted({image for images in HAND_IMAGES.values() for image in images.values()})
            names = [f"{HAND_REPOSITORY}/{image}" for image in made] if bench.made_ids else []
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
    profile: str = "deploy"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def spec(self) -> list[str]:
        files = ["--file", str(self.folder / "stacks.yaml"), "--file", str(self.folder / "bench.yaml")]
        return [*files, "--workspace", str(self.workspace)]

    def make(self) -> None:
        shutil.copytree(EXAMPLE, self.workspace, ignore=shutil.ignore_patterns("target", ".git"))
        for name in ("stacks.yaml", "stacks.lock"):
            shutil.copy(ROOT / name, self.folder)
        (self.folder / "bench.yaml").write_text(f"project: tasker-bench\nregistry: {OURS_REPOSITORY}\n")

    def ours(self, *options: str) -> tuple[Outcome, Crates]:
        command = [TOOL, *self.spec, "apply", "--progress=quiet", *options, *SERVICES[self.profile]]
        outcome = self.bench.time(command)
        runs = sorted((self.folder / ".tasker-build" / "runs").glob("*"))
        logs = "".join(log.read_text(errors="replace") for log in runs[-1].glob("*.log")) if runs else ""
        return outcome, Crates.of(logs)

    def by_hand(self, *options: str) -> tuple[Outcome, Crates]:
        """The three Dockerfiles in order, each by tag: as the hand-written script did it."""
        outcomes = []
        for name, image in HAND_IMAGES[self.profile].items():
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
            command += ["--tag", f"{HAND_REPOSITORY}/{image}", "--iidfile", str(self.folder / "iid"), *options]
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
        copy = Copy(Path(folder), bench, options.profile)
        copy.make()
        title = f"edit, {options.profile} images: one line changed, everything else cached"
        table = Table(bench, title, "", *TIMES, "÷ ours", "own", "others")
        builds_rows(table, ", first", {"ours": [copy.ours()], "by hand": [copy.by_hand()]})
        for where in options.edit or ["worker"]:
            ways: dict[str, list[tuple[Outcome, Crates]]] = {"ours": [], "by hand": []}
            for number in range(1 if bench.dry_run else options.runs):
                copy.edit(EDITED[where], number)
                turns: list[tuple[str, Callable[[], tuple[Outcome, Crates]]]] = [("ours", copy.ours), ("by hand", copy.by_hand)]
                # Nobody always goes second, to files that are in memory by then.
                for way, build in turns[:: 1 if number % 2 == 0 else -1]:
                    ways[way].append(build())
            builds_rows(table, f" ({EDITED[where]})", ways)
        sizes(bench, copy)


def sizes(bench: Bench, copy: Copy) -> None:
    """How large what was built is, image beside image."""
    table = Table(bench, "sizes, MB", "", "ours", "by hand")
    listed: Any = json.loads(ask(TOOL, *copy.spec, "ls", "--format", "json") or '{"targets": []}')
    names = {row["target"]: row["image"] for row in listed["targets"]}
    builder = "build-dev" if copy.profile == "dev" else "build"
    by_hand = [f"{HAND_REPOSITORY}/{image}" for image in HAND_IMAGES[copy.profile].values()]
    for target, reference in zip((builder, *SERVICES[copy.profile]), by_hand, strict=True):
        tag = "dev-latest" if copy.profile == "dev" else "latest"
        table.row(target, megabytes(f"{names.get(target)}:{tag}"), megabytes(reference))


def megabytes(reference: str) -> str:
    size = ask("docker", "image", "inspect", "--format", "{{.Size}}", reference)
    return f"{int(size) / 1e6:.0f}" if size else "-"


def cold(bench: Bench, _options: argparse.Namespace) -> None:
    """Everything of their own built again, both ways; base images and downloads of BuildKit's own stay."""
    with scratch() as folder, images(bench):
        copy = Copy(Path(folder), bench)
        copy.make()
        table = Table(bench, "cold: every step run again, once each", "", *TIMES, "÷ ours", "own", "others")
        ways = {"ours": [copy.ours(*(word for name in ("build", *SERVICES["deploy"]) for word in ("--rebuild", name)))]}
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


# --- synthetic specs -----------------------------------------------------------------------------------------

TEMPLATE = """\
{% for argument, reference, _ in images %}
ARG {{ argument }}={{ reference }}
{% endfor %}
FROM {{ image("first") }} AS runtime
{% for parent in target.vars.others | default([]) %}
COPY --from={{ parent }} /src/ /src/
{% endfor %}
COPY {{ target.name }}/ /src/{{ target.name }}/
"""
FILES_EACH, FILE_SIZE, LAYERS, WIDTH, PER_SPEC = 20, 2048, 10, 10, 1000


def parents_of(shape: str, number: int) -> list[int]:
    """Whom a target is built from: nobody, the one before, or all of the layer below in its block of ten by ten."""
    if shape == "chain":
        return [number - 1] if number else []
    if shape == "layers" and number % (LAYERS * WIDTH) >= WIDTH:
        below = number // WIDTH * WIDTH - WIDTH
        return list(range(below, below + WIDTH))
    return []


def write_context(folder: Path, count: int) -> None:
    """The files of all targets: the same for every shape."""
    for number in range(count):
        context = folder / "workspace" / f"t{number:05}"
        context.mkdir(parents=True)
        for i in range(FILES_EACH):
            (context / f"file{i:02}").write_text(f"{context.name} {i}\n".ljust(FILE_SIZE, "x"))


def write_spec(folder: Path, shape: str, count: int, base: str = "debian:trixie-slim") -> list[str]:
    """Write a spec and its template, and a bake file that says the same; returns the options that name the spec."""
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes" / "plain.Dockerfile.j2").write_text(TEMPLATE)
    targets: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    for number in range(count):
        name = f"t{number:05}"
        parents = [f"t{parent:05}" for parent in parents_of(shape, number)]
        references = {parent: f"{OURS_REPOSITORY}/{parent}:latest" for parent in parents}
        roles = {"first": parents[0] if parents else "base"} | {f"p{i}": parent for i, parent in enumerate(parents[1:])}
        target: dict[str, Any] = {"template": "plain.Dockerfile.j2", "image": name, "stage": "runtime", "from": roles}
        target["context"] = [name]
        if len(parents) > 1:
            target["vars"] = {"others": [references[parent] for parent in parents[1:]]}
        targets[name] = target
        rows[name] = {
            "context": "workspace",
            "dockerfile": f"docker/{name}/Dockerfile",
            "target": "runtime",
            # BuildKit looks a name up without `:latest`; with it the link would silently be the image of that name.
            "contexts": {ref.removesuffix(":latest"): f"target:{parent}" for parent, ref in references.items()},
            "tags": [f"{BAKE_REPOSITORY}/{name}:latest"],
            "output": ["type=docker"],
        }
    head = {
        "version": 1,
        "project": "tasker-bench-synthetic",
        "workspace": "workspace",
        "templates": "recipes",
        "registry": OURS_REPOSITORY,
        "bases": {"base": base},
    }
    files = []
    names = list(targets)
    for start in range(0, count, PER_SPEC):
        part = {"targets": {name: targets[name] for name in names[start : start + PER_SPEC]}}
        # JSON is YAML. A spec file has at most a megabyte, so the rest comes as overlays.
        files.append(f"{shape}-{start:05}.yaml")
        (folder / files[-1]).write_text(json.dumps(part if start else head | part, indent=1))
    (folder / f"{shape}.bake.json").write_text(json.dumps({"group": {"default": {"targets": names}}, "target": rows}, indent=1))
    return ["--directory", str(folder), *(word for file in files for word in ("--file", file))]


def settle() -> None:
    """Wait until files written just now are old enough to be remembered."""
    time.sleep(3)


# --- built: real images, nothing to do ------------------------------------------------------------------------


def built(bench: Bench, options: argparse.Namespace) -> None:
    """Synthetic targets from scratch, built for real by both; then nothing is to do."""
    for count in (8, 100) if not options.small else (8,):
        with scratch() as name, images(bench):
            folder = Path(name)
            write_context(folder, count)
            spec = [TOOL, *write_spec(folder, "wide", count, "scratch")]
            bake = ["docker", "buildx", "bake", "--file", f"{folder}/wide.bake.json"]
            title = f"built: nothing to do, {count} targets of {FILES_EACH} files, all built"
            table = Table(bench, title, "", *TIMES, "÷ bake")
            bench.time([*spec, "render"])
            bench.time([*spec, "apply", "--progress=quiet"])
            # Bake's paths start where it is run.
            with bench.inside(folder):
                # In parts: of a hundred solves at once, BuildKit loses some on a busy machine.
                for start in range(0, count, 10):
                    bench.persist([*bake, *(f"t{number:05}" for number in range(start, min(start + 10, count)))])
                settle()
                bench.time([*spec, "plan"])
                plan, apply, peer = bench.repeat([*spec, "plan"], [*spec, "apply"], bake)
            if any("nothing to do" not in outcome.output for outcome in (*plan, *apply)) and not bench.dry_run:
                raise BenchError("built: something changed while measuring")
            table.times("docker buildx bake", peer, peer)
            table.times("tasker-build plan", plan, peer)
            table.times("tasker-build apply", apply, peer)
            must, aim = (1 / 10, 1 / 25) if count > 8 else (1, 1 / 2)
            bench.goal(f"plan, nothing changed, {count} targets, engine asked ÷ bake", ratio(plan, peer), must, aim)


# --- plan: how it grows --------------------------------------------------------------------------------------


def plan(bench: Bench, options: argparse.Namespace) -> None:
    """Planning of synthetic graphs. Bake prints its file back; we fingerprint every file of every context as well."""
    title = f"plan: {FILES_EACH} files of {FILE_SIZE} bytes a target; the first plan, then later ones"
    columns = ("load", "median", "min", "max", "runs", "cpu", "ms/target", "peak MB", "kB/target")
    table = Table(bench, title, "", *columns)
    each: dict[int, tuple[float, float]] = {}
    counts = [count for count in (100, 1000, 1200, 10_000) if count <= 100 or not options.small]
    for count in counts if not options.no_huge else counts[:-1]:
        with scratch() as name:
            folder = Path(name)
            write_context(folder, count)
            settle()
            for shape in ("chain",) if count == 1200 else ("wide", "layers"):
                spec = write_spec(folder, shape, count)
                ours = [TOOL, *spec, "plan"]
                bake = ["docker", "buildx", "bake", "--print", "--file", f"{folder}/{shape}.bake.json"]
                offline = [*ours, "--offline"]
                # Nothing is remembered of any file, template or spec; Python's own compiled modules are there.
                first = ["env", f"XDG_CACHE_HOME={folder}/{shape}-RUN", *offline]
                with bench.inside(folder):
                    bench.time(offline)
                    # Bake follows every path through full layers and does not end: it is left out there.
                    results = bench.repeat(first, offline, ours, *([bake] if shape != "layers" else []))
                for label, outcomes in zip(("first plan", "plan --offline", "plan", "bake --print"), results, strict=False):
                    growth_row(table, f"{count:5} {shape:6} {label}", outcomes, count)
                if shape == "wide":
                    each[count] = (median(o.seconds for o in results[2]) / count, median(o.megabytes for o in results[2]) / count)
                if count == 1000 and shape == "wide":
                    bench.goal("first plan, 1000 targets ÷ bake --print", ratio(results[0], results[3]), 1, 1 / 2)
                    bench.goal("later plan, 1000 targets ÷ bake --print", ratio(results[2], results[3]), 1, 1 / 2)
    if 10_000 in each and 1000 in each and not bench.dry_run:
        bench.goal("time a target, 10 000 targets ÷ 1000", each[10_000][0] / each[1000][0], 1.2, 1)
        bench.goal("memory a target, 10 000 targets ÷ 1000", each[10_000][1] / each[1000][1], 1.2, 1)


def growth_row(table: Table, label: str, outcomes: Sequence[Outcome], count: int) -> None:
    seconds = sorted(outcome.seconds for outcome in outcomes)
    megabytes = median(outcome.megabytes for outcome in outcomes)
    cpu = median(outcome.cpu for outcome in outcomes)
    cells = [f"{median(seconds):.3f} s", f"{seconds[0]:.3f}", f"{seconds[-1]:.3f}", str(len(seconds)), f"{cpu:.3f}"]
    cells += [f"{median(seconds) / count * 1000:.2f}", f"{megabytes:.0f}", f"{megabytes * 1024 / count:.0f}"]
    table.row(label, f"{outcomes[0].load:.1f}", *cells)


# --- hash: one large context ---------------------------------------------------------------------------------


def hash_(bench: Bench, _options: argparse.Namespace) -> None:
    """A context of 10 000 files that did not change, beside what Git says of the same folder."""
    with scratch() as name:
        folder = Path(name)
        for number in range(10_000):
            place = folder / "workspace" / "big" / f"d{number // 100:02}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"file{number % 100:02}").write_text(f"{number}\n".ljust(FILE_SIZE, "x"))
        (folder / "few" / "big").mkdir(parents=True)
        (folder / "few" / "big" / "file").write_text("x")
        (folder / "recipes").mkdir()
        (folder / "recipes" / "plain.Dockerfile.j2").write_text(TEMPLATE.replace("{{ target.name }}/ ", "big/ "))
        target = {"template": "plain.Dockerfile.j2", "stage": "runtime", "from": {"first": "base"}, "context": ["big"]}
        head = {"version": 1, "project": "tasker-bench-hash", "workspace": "workspace", "templates": "recipes"}
        (folder / "stacks.yaml").write_text(json.dumps(head | {"bases": {"base": "scratch"}, "targets": {"t": target}}))
        git = ["git", "-C", f"{folder}/workspace"]
        for words in (
            ["init", "--quiet"],
            ["add", "."],
            ["-c", "user.name=x", "-c", "user.email=x", "-c", "gc.auto=0", "commit", "--quiet", "-m", "x"],
        ):
            subprocess.run([*git, *words], check=True, capture_output=True)
        settle()
        ours = [TOOL, "--directory", str(folder), "plan", "--offline"]
        few = [TOOL, "--directory", str(folder), "--workspace", "few", "plan", "--offline"]
        table = Table(bench, "hash: a context of 10 000 files, nothing changed", "", *TIMES, "÷ git")
        cold, _, _ = bench.time(ours), bench.time(few), bench.time([*git, "status"])
        status, all_, one = bench.repeat([*git, "status"], ours, few)
        table.times("first plan", [cold], status)
        table.times("git status", status, status)
        table.times("plan, 10 000 files", all_, status)
        table.times("plan, 1 file", one, status)
        if not bench.dry_run:
            extra = [a.seconds - b.seconds for a, b in zip(all_, one, strict=True)]
            share = median(extra) / median(o.seconds for o in status)
            table.row(
                "the 10 000 files alone",
                "",
                f"{median(extra):.3f} s",
                f"{min(extra):.3f}",
                f"{max(extra):.3f}",
                "",
                f"{share:.2f}",
            )
            bench.goal("10 000 unchanged files, the files alone ÷ git status", share, 2, 1)
            bench.goal("10 000 unchanged files, a whole plan ÷ git status", ratio(all_, status), 2, 1)


# --- render: beside Kolla ------------------------------------------------------------------------------------

KOLLA = ("kolla==23.0.0", "docker", "graphviz")
KOLLA_START = """\
import sys, kolla.image.kolla_worker as worker
from kolla.cmd.build import main
own = sys.argv.pop(1)
worker.KollaWorker._get_images_dir = lambda self: own
sys.exit(main())
"""
BODY = """\
{% block labels %}
LABEL maintainer="somebody" name="IMAGE"
{% endblock %}
{% block body %}
{% for package in ['curl', 'jq', 'less'] %}
RUN echo {{ package | upper }}
{% endfor %}
COPY FOLDERfile00 /src/
ENV A=1
WORKDIR /src
{% endblock %}
{% block footer %}{% endblock %}
"""


def render(bench: Bench, options: argparse.Namespace) -> None:
    """1000 Dockerfiles from 1000 templates of equal text; Kolla's own images are left out of it."""
    count = 100 if options.small else 1000
    with scratch() as name:
        folder = Path(name)
        python = folder / "kolla" / "bin" / "python"
        if not bench.dry_run:
            made = subprocess.run(
                [sys.executable, "-m", "venv", str(folder / "kolla")], capture_output=True, text=True, check=False
            )
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *KOLLA]
            installed = subprocess.run(pip, capture_output=True, text=True, check=False) if made.returncode == 0 else made
            if installed.returncode != 0:
                raise BenchError(f"Kolla cannot be installed: {installed.stderr.strip()[-300:]}")
        own = folder / "own"
        write_kolla(own, count)
        (folder / "start.py").write_text(KOLLA_START)
        specs = {mode: write_rendered(folder / mode, count, shared=mode == "shared") for mode in ("distinct", "shared")}
        title = f"render: {count} Dockerfiles (and as many ignore files, ours); Kolla always writes, and copies contexts"
        table = Table(bench, title, "", *TIMES, "cpu", "÷ Kolla")
        first = [bench.time([TOOL, *specs[mode], "render"]) for mode in specs]
        settle()
        rounds: dict[str, list[Outcome]] = {"kolla": [], "distinct": [], "shared": [], "fresh": []}
        for number in range(1 if bench.dry_run else bench.runs):
            out = ["--template-only", "-b", "debian", "--work-dir", str(folder / f"out{number}")]
            rounds["kolla"].append(bench.time([str(python), str(folder / "start.py"), str(own), *out]))
            for mode, spec in specs.items():
                rounds[mode].append(bench.time([TOOL, *spec, "render"]))
            rounds["fresh"].append(bench.time([TOOL, *specs["distinct"], "render", "--out", str(folder / f"fresh{number}")]))
        if not bench.dry_run:
            written = len(list((folder / "out0").rglob("Dockerfile")))
            if written < count:
                raise BenchError(f"Kolla rendered {written} of {count} files")
        peer = rounds["kolla"]
        for label, outcomes in (
            ("kolla-build --template-only", peer),
            ("render, first, a template each", first[:1]),
            ("render, first, one template", first[1:]),
            ("render, warm, a template each", rounds["distinct"]),
            ("render, warm, one template", rounds["shared"]),
            ("render, warm, into an empty folder", rounds["fresh"]),
        ):
            table.times(label, outcomes, peer, cpu=True)
        bench.goal(f"render, {count} targets, warm ÷ Kolla", ratio(rounds["distinct"], peer), 1 / 8, 1 / 20)


def write_kolla(own: Path, count: int) -> None:
    """Images for Kolla: one base, and all others on it."""
    (own / "base").mkdir(parents=True)
    (own / "base" / "Dockerfile.j2").write_text("FROM {{ base_image }}:{{ base_distro_tag }}\n")
    for number in range(count):
        place = own / f"svc{number // 10:04}" / f"svc{number // 10:04}-i{number:05}"
        place.mkdir(parents=True)
        body = BODY.replace("IMAGE", place.name).replace("FOLDER", "")
        (place / "Dockerfile.j2").write_text("FROM {{ namespace }}/{{ image_prefix }}base:{{ tag }}\n" + body)
        (place / "file00").write_text("x".ljust(FILE_SIZE, "x"))


def write_rendered(folder: Path, count: int, *, shared: bool) -> list[str]:
    """The same files as a spec of ours."""
    (folder / "recipes").mkdir(parents=True)
    targets: dict[str, Any] = {}
    for number in range(count):
        name = f"t{number:05}"
        (folder / "workspace" / name).mkdir(parents=True)
        (folder / "workspace" / name / "file00").write_text("x".ljust(FILE_SIZE, "x"))
        template = "shared.j2" if shared else f"{name}.j2"
        image, place = ("{{ target.name }}", "{{ target.name }}/") if shared else (name, f"{name}/")
        head = "ARG FIRST_IMAGE={{ images[0][1] }}\nFROM {{ image('first') }}\n"
        (folder / "recipes" / template).write_text(head + BODY.replace("IMAGE", image).replace("FOLDER", place))
        targets[name] = {"template": template, "from": {"first": "base"}, "context": [name]}
    spec = {"version": 1, "project": "tasker-bench-render", "workspace": "workspace", "templates": "recipes"}
    (folder / "stacks.yaml").write_text(
        json.dumps(spec | {"bases": {"base": "debian:trixie-slim"}, "targets": targets}, indent=1)
    )
    return ["--directory", str(folder)]


# --- start ---------------------------------------------------------------------------------------------------


def start(bench: Bench, _options: argparse.Namespace) -> None:
    """What a prompt and a shell wait for."""
    table = Table(bench, "start: the tool itself", "", *TIMES, "cpu", "÷ python")

    def completing(words: str, number: int) -> list[str]:
        asked = ["_TASKER_BUILD_COMPLETE=bash_complete", f"COMP_WORDS={words}", f"COMP_CWORD={number}"]
        return ["env", *asked, TOOL]

    commands = ([sys.executable, "-c", "pass"], [TOOL, "--version"], completing("tasker-build pl", 1))
    bare, version, complete, option, help_ = bench.repeat(
        *commands, completing("tasker-build plan --al", 2), [TOOL, "--help"], rounds=4
    )
    labels = ("python -c pass", "--version", "completion of a command", "completion of an option of plan", "--help")
    for label, outcomes in zip(labels, (bare, version, complete, option, help_), strict=True):
        table.times(label, outcomes, bare, cpu=True)
    for label, outcomes in (("--version", version), ("completion of a command", complete), ("completion of an option", option)):
        bench.goal(f"{label}, milliseconds", median(o.seconds for o in outcomes) * 1000, 60, 25)


# --- the command line ----------------------------------------------------------------------------------------

SECTIONS: Mapping[str, Callable[[Bench, argparse.Namespace], None]] = {
    "noop": noop,
    "built": built,
    "plan": plan,
    "hash": hash_,
    "render": render,
    "start": start,
    "edit": edit,
    "cold": cold,
}
DEFAULT = ("noop", "built", "plan", "hash", "render", "start")


def versions() -> None:
    print(f"engine {ask('docker', 'version', '--format', '{{.Server.Version}}') or 'none'}")
    print(f"{ask('docker', 'buildx', 'version') or 'no buildx'}")
    print(f"{ask(TOOL, '--version')}, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    print("load is the machine's before the row's first run; ÷ is the ratio of medians, above 1 means slower")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="|".join(SECTIONS), help=f"what to measure (default: {' '.join(DEFAULT)})")
    parser.add_argument("--dry-run", action="store_true", help="print the commands instead of running them")
    parser.add_argument("--runs", type=int, default=5, help="runs of each command (default: 5)")
    parser.add_argument("--targets", nargs="+", default=[], metavar="TARGET", help="noop: only these targets")
    parser.add_argument("--profile", choices=list(SERVICES), default="deploy", help="edit: which images (default: deploy)")
    parser.add_argument("--edit", action="append", choices=list(EDITED), help="edit: where the line goes (default: worker)")
    parser.add_argument("--small", action="store_true", help="built, plan, render: at most 100 targets, built: 8")
    parser.add_argument("--no-huge", action="store_true", help="plan: no 10 000 targets, which are 200 000 files")
    options = parser.parse_args(arguments)
    # What is measured is an installation that compiled its modules once, as all do where nobody forbids it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sections: Sequence[str] = options.sections or DEFAULT
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
    print_goals(bench)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
