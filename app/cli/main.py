"""`smm-admin`: every module here with a `register` is a command, named like its file and told by its docstring.

Only the module that was asked for is imported: the overview and `up` stay quick whatever the others need.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from app import __version__
from app.errors import Invalid, SmmError


def main() -> None:
    """Run one command. Exit codes: 0 fine, 1 not healthy or failed, 2 misuse."""
    code = run(sys.argv[1:])
    gc.freeze()  # what is left ends with the process: to look it through once more takes as long as many a command
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """`main` of these arguments; an expected error is one line on stderr."""
    try:
        result = _build(arguments)(list(arguments), prog_name="smm-admin", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Invalid as error:
        return _complain(error, 2)
    except SmmError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 1)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return int(result or 0)


def _complain(problem: object, code: int) -> int:
    sys.stderr.write(f"smm-admin: {problem}\n")
    return code


def _build(arguments: Sequence[str]) -> typer.Typer:
    cli = typer.Typer(
        name="smm-admin",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    cli.callback(help="The operations system of a social-media-marketing stack.")(_root)
    commands = summaries()
    asked = next((word for word in arguments if not word.startswith("-")), "")
    if asked in commands:
        importlib.import_module(f"app.cli.{asked.replace('-', '_')}").register(cli)
    else:
        for name, summary in commands.items():
            cli.command(name, help=summary)(_nothing)
    return cli


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _root(
    _version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version and end."
    ),
) -> None:
    """What stands before a command."""


def _nothing() -> None:
    """Stands for a command in the overview."""


def summaries() -> dict[str, str]:
    """Every command with its sentence, read from the files without importing them."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = path.read_text()
        if "\ndef register(" in text:
            sentence = text.removeprefix('"""').partition('"""')[0].partition(": ")[2].splitlines()[0]
            found[path.stem.replace("_", "-")] = sentence[:1].upper() + sentence[1:]
    return found


if __name__ == "__main__":
    main()
