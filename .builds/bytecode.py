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


def main() -> None:
    """From stdin to stdout."""
    modules = json.load(sys.stdin)
    alone = marshal.dumps(_compiled(*modules.pop("bundled")))
    index, body = {}, b""
    for name, (path, source) in sorted(modules.items()):
        code = zlib.compress(marshal.dumps(_compiled(path, source)), 9)
        index[name] = (path.endswith("/__init__.py"), len(body), len(body) + len(code))
        body += code
    head = marshal.dumps(index)
    told = {
        "magic": int.from_bytes(MAGIC_NUMBER[:2], "little"),
        "version": ".".join(map(str, sys.version_info[:3])),
        "bundled": base64.b64encode(alone).decode(),
        "modules": base64.b64encode(len(head).to_bytes(4, "little") + head + body).decode(),
    }
    json.dump(told, sys.stdout)


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
