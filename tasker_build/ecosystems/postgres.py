"""PostgreSQL: how a value becomes a part of its SQL. Its images build nothing of the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasker_build.ecosystems.api import Ecosystem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def to_sql(value: Any) -> str:
    """Write a text as an SQL literal.

    Raises:
        ValueError: NUL, which PostgreSQL text cannot hold.
    """
    text = str(value)
    if "\0" in text:
        raise ValueError("SQL text cannot hold NUL")
    return ("E" if "\\" in text else "") + "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def to_identifier(value: Any) -> str:
    """Write a name as a quoted SQL identifier."""
    return '"' + str(value).replace('"', '""') + '"'


class PostgresEcosystem(Ecosystem):
    """PostgreSQL, as the rest of the package asks for it."""

    name = "postgres"

    def filters(self) -> Mapping[str, Callable[..., str]]:
        return {"sql": to_sql, "sqlname": to_identifier}


ECOSYSTEM = PostgresEcosystem()
