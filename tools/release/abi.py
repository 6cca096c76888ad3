"""The binary interface of the C++ library, as text: functions, layouts of structures, values of enumerations.

    make abi    # writes cpp/abi.txt from cpp/include/tacoglow.h

The first line names the version. gates.py compares the file with the header, and with that of the last release. Sizes
and offsets are those of 64-bit Linux.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HEADER, ABI = ROOT / "cpp" / "include" / "tacoglow.h", ROOT / "cpp" / "abi.txt"


def describe_header(header: Path) -> str:
    """Return the header's interface, one entry per line. Raises ValueError if the header cannot be parsed."""
    from clang.cindex import Diagnostic, Index

    # libclang comes without the compiler's own headers.
    builtin = subprocess.run(["cc", "-print-file-name=include"], capture_output=True, text=True, check=True)
    arguments = ["-x", "c", "-std=c11", "--target=x86_64-linux-gnu", f"-isystem{builtin.stdout.strip()}"]
    unit = Index.create().parse(str(header), args=arguments)
    for diagnostic in unit.diagnostics:
        if diagnostic.severity >= Diagnostic.Error:
            raise ValueError(f"{header}: {diagnostic.spelling}")
    own = [node for node in unit.cursor.get_children() if str(node.location.file) == str(header)]
    lines = [line for node in own for line in _describe(node)] + list(_describe_elements(own))
    return f"version {header_version(header)}\n" + "\n".join(lines) + "\n"


def header_version(header: Path) -> str:
    numbers = re.findall(r"^#define TACOGLOW_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", header.read_text(), re.MULTILINE)
    return ".".join(numbers)


def _describe(node: Any) -> Iterator[str]:
    from clang.cindex import CursorKind

    if node.kind == CursorKind.FUNCTION_DECL:
        arguments = ", ".join(argument.type.get_canonical().spelling for argument in node.get_arguments())
        yield f"{node.spelling}({arguments or 'void'}) -> {node.result_type.get_canonical().spelling}"
    elif node.kind == CursorKind.TYPEDEF_DECL and "(*)" in node.underlying_typedef_type.spelling:
        yield f"{node.spelling} = {node.underlying_typedef_type.get_canonical().spelling}"
    elif node.kind == CursorKind.ENUM_DECL:
        for value in node.get_children():
            yield f"{node.spelling}.{value.spelling} = {value.enum_value}"
    elif node.kind == CursorKind.STRUCT_DECL and node.is_definition():
        for field in node.type.get_fields():
            offset = node.type.get_offset(field.spelling) // 8
            yield f"{node.spelling}.{field.spelling} @ {offset}: {field.type.get_canonical().spelling}"


def _describe_elements(nodes: list[Any]) -> Iterator[str]:
    """Yield an entry with all fields for each structure of which there are arrays.

    Programs that index an array have the size of its elements compiled in, so that a further field breaks them too. A
    field that points to a structure points to an array of them, unless they begin with struct_size.
    """
    from clang.cindex import CursorKind

    structs = {
        node.spelling: list(node.type.get_fields())
        for node in nodes
        if node.kind == CursorKind.STRUCT_DECL and node.is_definition()
    }
    fields = [field for own in structs.values() for field in own]
    for name in sorted(
        {field.type.get_canonical().get_pointee().get_declaration().spelling for field in fields} & structs.keys()
    ):
        names = [field.spelling for field in structs[name]]
        if names[0] != "struct_size":
            yield f"{name}[] = {', '.join(names)}"


def removed(old: str, new: str) -> list[str]:
    """Return the entries of `old` that `new` lacks or has changed: programs that use them break."""
    kept = set(new.splitlines()[1:])
    return [line for line in old.splitlines()[1:] if line not in kept]


def added(old: str, new: str) -> list[str]:
    return removed(new, old)


if __name__ == "__main__":
    ABI.write_text(describe_header(HEADER))
