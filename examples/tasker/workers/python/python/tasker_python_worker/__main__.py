"""python -m tasker_python_worker [healthcheck]: work until SIGTERM or SIGINT, or ask the running worker whether it is ready."""

import sys

from tasker_python_worker._core import healthcheck
from tasker_python_worker.handlers import HANDLERS
from tasker_python_worker.worker import Worker

match sys.argv[1:]:
    case []:
        sys.exit(Worker(HANDLERS).run())
    case ["healthcheck"]:
        sys.exit(0 if healthcheck() else 1)
    case _:
        sys.stderr.write("usage: python -m tasker_python_worker [healthcheck]\n")
        sys.exit(64)
