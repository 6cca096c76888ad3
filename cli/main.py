"""Dispatches `tacoglow COMMAND`, `export-onnx` and `trt-infer`.

Each command is a module of this package, named after the command and imported only when the command is called. User
errors are printed here in one line, with exit code 2.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn, TextIO, cast

import typer

from .. import __version__

COMMANDS = (
    "export-onnx",
    "export-torchscript",
    "export-triton",
    "convert",
    "build-engines",
    "infer",
    "say",
    "inspect",
    "doctor",
    "bench",
)
DEBUG_HINT = "Add --debug to any command to see the traceback of an error."
# The exception that typer raises for an invalid command line. Typer does not export it, and its module varies.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)


def main() -> None:
    """The console script `tacoglow`."""
    app = _app("Deploy a trained Tacotron 2 + WaveGlow voice.")

    @app.callback()
    def options(
        version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    ) -> None:
        pass

    selected = [argument for argument in sys.argv[1:2] if argument in COMMANDS]
    for name in selected or COMMANDS:
        app.command(name)(_command(name))
    _run(app)


def export_onnx_main() -> None:
    """The console script `export-onnx`."""
    _run_alone("export-onnx")


def trt_infer_main() -> None:
    """The console script `trt-infer`."""
    _run_alone("infer")


def _run_alone(name: str) -> None:
    app = _app()
    app.command(epilog=DEBUG_HINT, no_args_is_help=True)(_command(name))
    _run(app)


def _command(name: str) -> Callable[..., Any]:
    """Import the function of a command; the module and the function are named after the command."""
    identifier = name.replace("-", "_")
    command: Callable[..., Any] = getattr(import_module(f".{identifier}", __package__), identifier)
    return command


def _version(show: bool) -> None:
    if show:
        print(f"tacoglow {__version__}")
        raise typer.Exit


def _app(help_text: str | None = None) -> typer.Typer:
    return typer.Typer(
        help=help_text, epilog=DEBUG_HINT, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )


def _run(app: typer.Typer) -> None:
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    warnings.showwarning = _show_warning
    try:
        sys.exit(app(standalone_mode=False))
    except _UsageError as error:
        _reject_usage(error)
    except typer.Abort:
        print("interrupted", file=sys.stderr)
        sys.exit(130)  # a shell's exit code for SIGINT
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if debug or (error.name or "").startswith("tacoglow"):
            raise
        print(f"error: {error.name} is not installed; see: tacoglow doctor", file=sys.stderr)
        sys.exit(2)


def _reject_usage(error: typer.BadParameter) -> NoReturn:
    if not sys.argv[1:]:
        error.show()  # prints the help
    else:
        command = error.ctx.command_path if error.ctx else sys.argv[0]
        print(f"error: {_one_line(error)}; see: {command} --help", file=sys.stderr)
    sys.exit(2)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    message = error.format_message().rstrip(".") if isinstance(error, _UsageError) else str(error)
    return " ".join(message.split())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"warning: {message}", file=sys.stderr)
