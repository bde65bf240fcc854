"""Entry point. Answers `--version` before anything heavy is imported: completion and prompts call it often."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        from tasker_build import __version__  # noqa: PLC0415 - start-up is a feature

        sys.stdout.write(f"tasker-build {__version__}\n")
        return
    from tasker_build.cli import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
