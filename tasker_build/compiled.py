"""Compiled templates in the user's own cache; jinja checks that they belong to the template's text."""

from __future__ import annotations

from contextlib import suppress
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import jinja2

from tasker_build import __version__
from tasker_build.cache import Cache

if TYPE_CHECKING:
    from jinja2.bccache import Bucket


class TemplateCache(jinja2.BytecodeCache):
    """Compiled templates: code that is run, so what others may write is not used."""

    def __init__(self) -> None:
        self._cache = Cache(f"templates-{__version__}")

    def load_bytecode(self, bucket: Bucket) -> None:
        data = self._cache.read(bucket.key)
        if data is not None:
            try:
                bucket.bytecode_from_string(data)
            except (ValueError, EOFError, TypeError, UnpicklingError):
                bucket.reset()  # cut or damaged: compiled anew

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(RuntimeError):
            self._cache.write(bucket.key, bucket.bytecode_to_string())
