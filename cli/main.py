"""Dispatches `tacoglow COMMAND`, `export-onnx` and `trt-infer`.

Each command is a module of this package, named after the command and imported only when the command is called; `infer`
and `trt-infer` are other names of `say`. User errors are printed here in one line, with exit code 2 (failures.py).
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import typer
from typer.core import TyperCommand, TyperGroup

from ..runtime.errors import escape_control
from .shared.failures import explain
from .shared.interrupt import EXIT_CODE
from .shared.options import Version

COMMANDS = (
    "export-onnx",
    "export-torchscript",
    "export-triton",
    "convert",
    "quantize",
    "build-engines",
    "say",
    "infer",
    "serve",
    "text",
    "inspect",
    "doctor",
    "bench",
)
DEBUG_HINT = "Add --debug to any command to see the traceback of an error."
HELP = {"help_option_names": ["-h", "--help"]}
OTHER_NAMES = {"infer": "say"}
# Command -> arguments of the examples in its help.
EXAMPLES = {
    "export-onnx": ("--demo -o voice/", "--tacotron2 T.pt --waveglow W.pt --config voice.json -o voice/"),
    "export-torchscript": ("--tacotron2 T.pt --waveglow W.pt voice/", "--demo voice/"),
    "export-triton": ("voice/ -o model_repository/",),
    "convert": ("--tacotron2 T.pt --waveglow W.pt -o my-voice/",),
    "quantize": ("voice/",),
    "build-engines": ("voice/",),
    "say": (
        '--demo "Hello world." -o hello.wav',
        'voice/ "Hello world." -o hello.wav --plot hello.png',
        "voice/ -i lines.txt -o out/ --resume",
        'voice/ "Not so fast." --rate 0.75 --seed 7',
        'voice/ "Hello world." --stream -o - | aplay',
        'voice/ "Hello world." --backend onnxruntime --threads 2',
        '"Hello world." --url http://localhost:8000 -o hello.wav',
    ),
    "serve": (
        "voice/ --wyoming 10200",
        "voice/ other/ --host 0.0.0.0 --api-key SECRET",
        "--upstream grpc://triton:8001",
    ),
    "text": (r'"Dr. Smith paid \$5."', '"Grüß Gott." --bundle voice/ --json'),
    "inspect": ("voice/", "voice/ --json"),
    "doctor": ("", "--json"),
    "bench": ("voice/ --demo -o figures.json",),
}
# The exception that typer raises for an invalid command line. Typer does not export it, and its module varies.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)


class _Group(TyperGroup):
    """The command `tacoglow`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))


def _without_flag_types(parameters: list[Any]) -> list[Any]:
    """Remove <bool> from the rows of flags in the help: a flag takes no value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


def main() -> None:
    """Run the console script `tacoglow`."""
    app = typer.Typer(
        cls=_Group,
        help="Deploy a trained Tacotron 2 + WaveGlow voice.",
        epilog=f"COMMAND --help has examples. {DEBUG_HINT}",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings=HELP,
    )

    @app.callback()
    def options(version: Version = False) -> None:
        pass

    selected = [argument for argument in sys.argv[1:2] if argument in COMMANDS]
    for name in selected or COMMANDS:
        _add_command(app, name, f"tacoglow {name}")
    _run(app)


def export_onnx_main() -> None:
    """Run the console script `export-onnx`."""
    _run_alone("export-onnx", "export-onnx")


def trt_infer_main() -> None:
    """Run the console script `trt-infer`."""
    _run_alone("say", "trt-infer")


def _run_alone(name: str, program: str) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    _add_command(app, name, program, no_args_is_help=True)
    _run(app)


def _add_command(app: typer.Typer, name: str, program: str, no_args_is_help: bool = False) -> None:
    """Add a command to the app; its module is imported, in which its function has the module's name."""
    own_name = OTHER_NAMES.get(name, name)
    identifier = own_name.replace("-", "_")
    function: Callable[..., Any] = getattr(import_module(f".{identifier}", __package__), identifier)
    examples = [f"{program} {arguments}".rstrip() for arguments in EXAMPLES[own_name]]
    app.command(
        name,
        cls=_Command,
        short_help=None if own_name == name else f"Another name of {own_name}.",
        # Typer keeps only the line breaks of empty lines.
        epilog="\n\n".join(["Examples:", *(f"  {example}" for example in examples), DEBUG_HINT]),
        no_args_is_help=no_args_is_help,
        context_settings=HELP,
    )(function)


def _run(app: typer.Typer) -> None:
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    warnings.showwarning = _show_warning
    try:
        Path.cwd()  # libraries crash in a folder that no longer exists
        code = app(standalone_mode=False)
        if code == EXIT_CODE:  # how typer reports an interrupt
            raise typer.Abort
        sys.exit(code)
    except _UsageError as error:
        _reject_usage(error)
    except typer.Abort:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        if debug:
            traceback.print_exc()
        print(f"error: {escape_control(line)}", file=sys.stderr)
        sys.exit(2)


def _reject_usage(error: typer.BadParameter) -> NoReturn:
    if not sys.argv[1:]:
        error.show()  # prints the help
    else:
        command = error.ctx.command_path if error.ctx else sys.argv[0]
        line = " ".join(error.format_message().rstrip(".").split())
        print(f"error: {escape_control(line)}; see: {command} --help", file=sys.stderr)
    sys.exit(2)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"warning: {escape_control(str(message))}", file=sys.stderr)
