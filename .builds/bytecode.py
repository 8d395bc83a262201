"""Compile modules for the Python that runs this: {name: [path, source]} in, one blob out.

Run by `.builds/zipapp` with each Python that a zipapp has compiled modules for. Both ways the data
is JSON, with the blobs in base64.
"""

import ast
import base64
import json
import marshal
import sys
import zlib
from _frozen_importlib_external import MAGIC_NUMBER
from types import CodeType

COMMON = ("cacher.replace.staging", "cacher.http.transport")
"""Modules that have much in common with all others, which are compressed with these two as their
dictionary (RFC 1950): an eighth less, and more than any other two give."""

WINDOW = 32 * 1024
"""Bytes of a dictionary that deflate uses (RFC 1951)."""


def main() -> None:
    """From stdin to stdout."""
    modules = json.load(sys.stdin)
    alone = marshal.dumps(_compiled(*modules.pop("bundled")))
    compiled = {name: marshal.dumps(_compiled(*modules[name])) for name in sorted(modules)}
    common = [name for name in COMMON if name in compiled]
    dictionary = b"".join(compiled[name] for name in common)[-WINDOW:]
    index, body = {}, b""
    for name, plain in compiled.items():
        code = _compressed(plain, b"" if name in common else dictionary)
        is_package = modules[name][0].endswith("/__init__.py")
        index[name] = (is_package, len(body), len(body) + len(code))
        body += code
    head = marshal.dumps((common, index))
    told = {
        "magic": int.from_bytes(MAGIC_NUMBER[:2], "little"),
        "version": ".".join(map(str, sys.version_info[:3])),
        "bundled": base64.b64encode(alone).decode(),
        "modules": base64.b64encode(len(head).to_bytes(4, "little") + head + body).decode(),
    }
    json.dump(told, sys.stdout)


def _compressed(plain: bytes, dictionary: bytes) -> bytes:
    with_it = (dictionary,) if dictionary else ()
    packer = zlib.compressobj(
        9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, *with_it
    )
    return packer.compress(plain) + packer.flush()


def _compiled(path: str, source: str) -> CodeType:
    """Without docstrings: an eighth of the size. Of a class's the first line stays, since
    dataclasses would make one up, which takes time."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
                continue
            if not isinstance(first.value.value, str):
                continue
            if isinstance(node, ast.ClassDef):
                first.value.value = first.value.value.strip().partition("\n")[0]
            else:
                node.body[:1] = [] if len(node.body) > 1 else [ast.copy_location(ast.Pass(), first)]
    return compile(tree, "cacher.pyz/" + path, "exec", dont_inherit=True)


main()
