"""Turns the exceptions that data and machines cause into one line; defects of this project keep their traceback."""

from __future__ import annotations

from ...runtime.errors import is_out_of_memory, one_line
from .parts import describe_missing

# Packages whose exceptions have no common base class: their message is the reason.
BACKENDS = ("onnxruntime", "tensorrt", "tensorrt_rtx", "torch", "cuda")


def explain(error: BaseException) -> str | None:
    """Describe an exception in one line for the user; None if the exception is a defect."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError):  # of os.getcwd
        return "the current folder no longer exists; change to another one"
    if isinstance(error, (ValueError, OSError)):
        return one_line(error)
    if is_out_of_memory(error):
        return f"not enough memory ({one_line(error)}); use shorter texts or smaller limits, or a larger machine"
    if isinstance(error, RecursionError):
        return f"the input is nested too deeply ({one_line(error)})"
    if isinstance(error, ArithmeticError):
        return f"a number of the input is out of range ({one_line(error)})"
    if isinstance(error, ModuleNotFoundError):
        own = (error.name or "").startswith("tacoglow")
        return None if own else describe_missing(error.name or "")
    if isinstance(error, ImportError) and error.path:
        return f"{error.path}: cannot be loaded ({one_line(error)})"
    if type(error).__module__.partition(".")[0] in BACKENDS:
        return f"{type(error).__module__.partition('.')[0]}: {one_line(error)}"
    return None
