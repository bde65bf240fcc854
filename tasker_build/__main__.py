"""Entry point. Answers `--version` and completes names of commands before anything heavy is imported: both are asked often."""

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        from tasker_build import __version__  # noqa: PLC0415 - start-up is a feature

        sys.stdout.write(f"tasker-build {__version__}\n")
        return
    if "_TASKER_BUILD_COMPLETE" in os.environ:
        from tasker_build.commands import complete  # noqa: PLC0415

        answer = complete(os.environ)
        if answer is not None:
            sys.stdout.write(answer + "\n")
            return
    import atexit  # noqa: PLC0415
    import gc  # noqa: PLC0415

    from tasker_build.cli import run  # noqa: PLC0415

    # A plan makes very many values and hardly a cycle: looking for cycles less often saves a tenth of it.
    gc.set_threshold(200_000, 20, 20)
    # Nor is it worth it to look for them at the end.
    atexit.register(gc.freeze)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
