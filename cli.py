"""The command line: `tacoglow COMMAND`, and `export-onnx` and `trt-infer` as commands of their own.

A command's module imports what it needs when it runs. What the user got wrong ends here in one line and exit code 2.
"""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn, TextIO, cast

import typer

from . import __version__
from .benchmarks.cli import bench
from .export.cli import export_onnx
from .export.convert import convert
from .export.torchscript_cli import export_torchscript
from .export.triton.cli import export_triton
from .runtime.cli import infer
from .runtime.doctor import doctor
from .runtime.engines.cli import build_engines
from .runtime.inspect import inspect
from .runtime.serving.cli import say

DEBUG_HINT = "Add --debug to any command to see the traceback behind an error."
# What typer raises for a command line that it cannot read. Typer has no name for it, and its home moves.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)


def _version(show: bool) -> None:
    if show:
        print(f"tacoglow {__version__}")
        raise typer.Exit


def _app(help_text: str | None = None) -> typer.Typer:
    return typer.Typer(
        help=help_text, epilog=DEBUG_HINT, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )


def main() -> None:
    app = _app("Take a trained Tacotron 2 + WaveGlow voice to production.")

    @app.callback()
    def options(
        version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    ) -> None:
        pass

    app.command("export-onnx")(export_onnx)
    app.command("export-torchscript")(export_torchscript)
    app.command("export-triton")(export_triton)
    app.command("convert")(convert)
    app.command("build-engines")(build_engines)
    app.command("infer")(infer)
    app.command("say")(say)
    app.command("inspect")(inspect)
    app.command("doctor")(doctor)
    app.command("bench")(bench)
    _run(app)


def export_onnx_main() -> None:
    app = _app()
    app.command(epilog=DEBUG_HINT, no_args_is_help=True)(export_onnx)
    _run(app)


def trt_infer_main() -> None:
    app = _app()
    app.command(epilog=DEBUG_HINT, no_args_is_help=True)(infer)
    _run(app)


def _run(app: typer.Typer) -> None:
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    warnings.showwarning = _show_warning
    try:
        sys.exit(app(standalone_mode=False))
    except _UsageError as error:
        _refuse_usage(error)
    except typer.Abort:
        print("interrupted", file=sys.stderr)
        sys.exit(130)  # as shells report an end by SIGINT
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


def _refuse_usage(error: typer.BadParameter) -> NoReturn:
    if not sys.argv[1:]:
        error.show()  # the help
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
