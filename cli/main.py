"""Dispatches `tacoglow COMMAND`, `export-onnx` and `trt-infer`.

Each command is a module of this package, named after the command and imported only when the command is called. User
errors are printed here in one line, with exit code 2 (failures.py).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn, TextIO, cast

import typer

from .. import __version__
from .shared.failures import explain
from .shared.interrupt import EXIT_CODE, ending_promptly
from .shared.terminal import escape_control

COMMANDS = (
    "export-onnx",
    "export-torchscript",
    "export-triton",
    "convert",
    "build-engines",
    "infer",
    "say",
    "serve",
    "text",
    "inspect",
    "doctor",
    "bench",
)
DEBUG_HINT = "Add --debug to any command to see the traceback of an error."
HELP = {"help_option_names": ["-h", "--help"]}
# Command -> arguments of the examples in its help.
EXAMPLES = {
    "export-onnx": ("--demo -o voice/", "--tacotron2 T.pt --waveglow W.pt --config voice.json -o voice/"),
    "export-torchscript": ("--tacotron2 T.pt --waveglow W.pt voice/", "--demo voice/"),
    "export-triton": ("voice/ -o model_repository/",),
    "convert": ("T.pt -o T.safetensors",),
    "build-engines": ("voice/",),
    "infer": (
        'voice/ "Hello world." -o hello.wav --plot hello.png',
        "voice/ -i lines.txt -o out/ --resume",
        'voice/ "Hello world." --stream -o - | aplay',
    ),
    "say": ('"Hello world." --url http://localhost:8000 -o hello.wav',),
    "serve": (
        "voice/ --wyoming 10200",
        "voice/ other/ --host 0.0.0.0 --api-key SECRET",
        "--upstream grpc://triton:8001",
    ),
    "text": ('"Dr. Smith paid $5."', '"Grüß Gott." --bundle voice/ --json'),
    "inspect": ("voice/", "voice/ --json"),
    "doctor": ("", "--json"),
    "bench": ("voice/ --demo -o figures.json",),
}
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
        app.command(name, epilog=_epilog(name, f"tacoglow {name}"), context_settings=HELP)(_command(name))
    _run(app)


def export_onnx_main() -> None:
    """The console script `export-onnx`."""
    _run_alone("export-onnx")


def trt_infer_main() -> None:
    """The console script `trt-infer`."""
    _run_alone("infer")


def _run_alone(name: str) -> None:
    if sys.argv[1:] == ["--version"]:
        _version(True)
    app = _app()
    program = "trt-infer" if name == "infer" else name
    app.command(epilog=_epilog(name, program), no_args_is_help=True, context_settings=HELP)(_command(name))
    _run(app)


def _command(name: str) -> Callable[..., Any]:
    """Import the function of a command; the module and the function are named after the command."""
    identifier = name.replace("-", "_")
    command: Callable[..., Any] = getattr(import_module(f".{identifier}", __package__), identifier)
    return command


def _version(show: bool) -> None:
    if show:
        print(f"tacoglow {__version__}")
        sys.exit()


def _epilog(name: str, program: str) -> str:
    """The end of a command's help; typer keeps only the line breaks of empty lines."""
    examples = [f"{program} {arguments}".rstrip() for arguments in EXAMPLES[name]]
    version = [] if program.startswith("tacoglow ") else ["--version shows the version."]
    return "\n\n".join(["Examples:", *(f"  {example}" for example in examples), DEBUG_HINT, *version])


def _app(help_text: str | None = None) -> typer.Typer:
    return typer.Typer(
        help=help_text,
        epilog=f"COMMAND --help has examples. {DEBUG_HINT}" if help_text else None,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings=HELP,
    )


def _run(app: typer.Typer) -> None:
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    warnings.showwarning = _show_warning
    try:
        with ending_promptly():
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
        line = None if debug else explain(error)
        if line is None:
            raise
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
