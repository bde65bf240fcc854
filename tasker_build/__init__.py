"""tasker-build: a declarative build-graph engine for container images."""

__version__ = "0.1.0"
