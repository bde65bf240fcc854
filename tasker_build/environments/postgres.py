"""What we know of PostgreSQL: its checks, its data folder, and how one database takes the place of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_build.engine import programs
from tasker_build.errors import RefusedError
from tasker_build.spec.model import TargetName, image_variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasker_build.engine.api import Engine
    from tasker_build.project import Project
    from tasker_build.spec.model import Service, Stack

CHECKS = {
    "PGMQ: create a queue, send, read, drop it": (
        "SELECT pgmq.create('test_queue'); SELECT pgmq.send('test_queue', '{}'); "
        "SELECT 1 / (count(*) = 1)::int FROM pgmq.read('test_queue', 0, 1); SELECT pgmq.drop_queue('test_queue')"
    ),
    "UUID version 7": "SELECT 1 / (substr(uuid_generate_v7()::text, 15, 1) = '7')::int",
}
EXTENSIONS = "SELECT string_agg(extname, ', ' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'"
RESTORING, REPLACED = "tasker_build_restoring", "tasker_build_replaced"
"""Databases of ours: the one that a dump is put into, and the one whose place it took."""
ADOPT = f"if command -v database-adopt >/dev/null; then database-adopt {RESTORING}; fi"
"""Bring the dump of an older image's database up to date, if the image knows how."""
SWAP_TRIES = 5


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def swap(database: str) -> str:
    """One transaction that puts RESTORING in the place of a database.

    Whoever uses the database is sent away first. Nobody comes back in between: RENAME locks the name until the transaction ends.
    If somebody is faster than RENAME, it fails, nothing has changed, and it can be tried again.
    """
    literal = "'" + database.replace("'", "''") + "'"
    statements = (
        f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = {literal}",  # noqa: S608 - quoted
        f"ALTER DATABASE {quoted(database)} RENAME TO {REPLACED}",
        f"ALTER DATABASE {RESTORING} RENAME TO {quoted(database)}",
    )
    return "; ".join(statements)


def data_volume(project: Project, stack: Stack, service: Service) -> tuple[str, bool]:
    """The volume that a service keeps its data in, the first of the stack's that it mounts, and whether it is the stack's own."""
    for mount in service.volumes:
        key = mount.split(":", 1)[0]
        if key in stack.volumes:
            options = stack.volumes[key] or {}
            return str(options.get("name") or f"{project.spec.project_name(stack)}_{key}"), not options.get("external")
    return "", False


def refuse_data_of_another_version(project: Project, stack: Stack, engine: Engine, images: Mapping[str, str]) -> None:
    """Look into the volumes of databases before a server of another version meets them.

    Raises:
        RefusedError: a volume holds data of another PostgreSQL than the spec asks for.
    """
    for service in stack.services.values():
        target = project.spec.targets.get(TargetName(service.target or ""))
        if target is None or target.kind != "postgres" or image_variable(target) not in images:
            continue
        volume, _ = data_volume(project, stack, service)
        if not volume or not volume_exists(engine, volume):
            continue
        found, wanted = _versions(engine, volume, images[image_variable(target)]), str(target.vars.get("major", ""))
        if found and wanted not in found:
            place = target.at["vars"]
            raise RefusedError(
                f"the volume {volume} holds data of PostgreSQL {', '.join(found)}, and the target `{target.name}` "
                f"({place.file}:{place.line}) is PostgreSQL {wanted}",
                hints=(
                    "dump it with the old version and restore the dump into a volume of the new one's own",
                    f"or go back to PostgreSQL {found[-1]} in the spec",
                ),
            )


def _versions(engine: Engine, volume: str, image: str) -> list[str]:
    """The PostgreSQL versions whose data lies in a volume."""
    words = ["run", "--rm", "--network", "none", "--volume", f"{volume}:/data:ro", "--entrypoint", "sh", image]
    return programs.docker(
        engine.endpoint, *words, "-c", "cat /data/PG_VERSION /data/*/docker/PG_VERSION 2>/dev/null"
    ).out.split()


def volume_exists(engine: Engine, volume: str) -> bool:
    """Whether the engine has a volume of that name."""
    return programs.docker(engine.endpoint, "volume", "inspect", volume).code == 0
