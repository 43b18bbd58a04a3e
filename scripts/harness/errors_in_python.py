# Copyright: (c) 2026, the phoenix.hypervisor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every failure that the plugins can raise, read from their source: what it says, what to do, and its code."""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

CODES = {"GENERAL": "1", "INPUT": "2", "NO_CONTAINER": "3", "VERIFICATION": "4", "SNAPSHOT": "5", "POWER": "6"}
VARIES = ""

# What makes a failure: the names of its arguments by position, and the code where no argument tells it.
MAKERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "PhoenixError": (("reason",), "1"),
    "ApiError": (("reason",), "1"),
    "Refused": (("reason",), "1"),
    "invalid": (("key", "value", "is wrong", "remedy"), "2"),
    "Fault": (("name", "reason", "remedy"), "4"),
    "Finding": (("name", "reason", "remedy"), "4"),
    "Problem": (("file", "path", "value", "reason", "remedy"), "2"),
    "problem": (("keys", "value", "reason", "remedy"), "2"),
    "_add": (("path", "value", "reason", "remedy"), "2"),
    # Rows of the tables of what other programs say.
    "Known": (("pattern", "code", "remedy"), "1"),
    "_Known": (("pattern", "remedy"), "1"),
    "_Cause": (("pattern", "reason", "remedy"), "4"),
    "_rule": (("name", "pattern", "reason", "remedy"), "4"),
    # Ansible's own exceptions have one text for everything.
    "AnsibleError": (("message",), "-"),
    "AnsibleFileNotFound": (("message",), "-"),
    "AnsibleConnectionFailure": (("message",), "-"),
    "AnsibleAuthenticationFailure": (("message",), "-"),
}
# Tables whose rows are plain tuples; that of the CUDA codes has its numbers as keys.
TABLES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "_KNOWN_TEXTS": (("pattern", "code", "remedy"), VARIES),
    "_FAILURES": (("pattern", "remedy"), "1"),
    "_PULL_PROBLEMS": (("pattern", "reason", "remedy"), "4"),
    "_CUDA_CODES": (("reason", "remedy"), "4"),
}
# These only define what the others use.
DEFINITIONS = {"_errors.py", "_fleet.py"}

_SHORT = 40

Texts = dict[str, str]
Arguments = Mapping[str, ast.expr]
Calls = dict[str, list[ast.Call]]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclasses.dataclass(frozen=True)
class Failure:
    reason: str
    remedy: str
    code: str
    file: str
    line: int


def failures(root: Path) -> list[Failure]:
    """In the order of files and lines, each text of a file once."""
    paths = [path for path in sorted((root / "plugins").rglob("*.py")) if path.name not in DEFINITIONS]
    trees = {path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    calls = {name: _calls(tree) for name, tree in trees.items()}
    everywhere: Calls = {}
    for some in calls.values():
        for function, found_there in some.items():
            everywhere.setdefault(function, []).extend(found_there)
    found: dict[tuple[str, str, str], Failure] = {}
    for name, tree in trees.items():
        source = _Source(name, tree, calls[name], everywhere)
        for failure in sorted(source.failures(), key=lambda each: each.line):
            found.setdefault((name, failure.reason, failure.remedy), failure)
    return list(found.values())


def sentences(message: str, *marks: str) -> tuple[str, str]:
    """A text of one piece as what is wrong and what to do: its first sentence, and the rest."""
    for mark in (r"\s+(?=Run: )", r"(?<=[^.])\.\s+(?=[A-Z`])", *marks):
        if found := re.search(mark, message):
            return message[: found.start()], message[found.end() :]
    return message, ""


class _Source:
    """One file."""

    def __init__(self, name: str, tree: ast.Module, calls: Calls, everywhere: Calls) -> None:
        self._name = name
        self._tree = tree
        self._calls = calls
        self._everywhere = everywhere
        self._constants: dict[str, str] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _literal(node.value):
                self._constants[node.targets[0].id] = self._text(node.value, self._constants)

    def failures(self) -> Iterator[Failure]:
        for node in self._tree.body:
            yield from self._inside(node, None)

    def _inside(self, node: ast.AST, function: _Function | None) -> Iterator[Failure]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node
        if isinstance(node, ast.ClassDef):
            yield from self._class(node)
        if isinstance(node, ast.Call):
            yield from self._call(node, function)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Tuple | ast.Dict):
            yield from self._table(node)
        for _field, part in ast.iter_fields(node):
            if _is_block(part):
                yield from self._proof(part)
        for child in ast.iter_child_nodes(node):
            yield from self._inside(child, function)

    def _class(self, node: ast.ClassDef) -> Iterator[Failure]:
        """What knows its own words and its own remedy."""
        methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
        if {"__str__", "remedy"} <= set(methods):
            texts, *_others = self._branches(methods["remedy"].body, self._constants, {"off"})
            said = (part.value for part in ast.walk(methods["__str__"]) if isinstance(part, ast.Return) and part.value)
            reason = _either(*(self._text(value, self._constants) for value in said))
            for part in ast.walk(methods["remedy"]):
                if isinstance(part, ast.Return) and part.value:
                    yield Failure(_tidy(reason), _tidy(self._text(part.value, texts)), VARIES, self._name, part.lineno)

    def _proof(self, body: list[ast.stmt]) -> Iterator[Failure]:
        """What is collected in a list of problems, with the remedy that is collected beside it."""
        said: dict[str, list[ast.expr]] = {"problems": [], "remedies": []}
        for node in body:
            match node:
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)), args=[*_, text])):
                    said.get("problems" if name == "found" else name, []).append(text)
                case ast.AugAssign(target=ast.Name(id="problems"), value=ast.ListComp(elt=text)):
                    said["problems"].append(text)
        if not self._otherwise or not all(map(_literal, said["remedies"])):
            return
        texts, *_others = self._branches(body, self._constants, {"detail"})
        remedy = next((self._text(text, texts) for text in said["remedies"]), self._otherwise)
        for text in said["problems"]:
            if _literal(text):
                yield Failure(_tidy(self._text(text, texts)), _tidy(remedy), "4", self._name, text.lineno)

    @functools.cached_property
    def _otherwise(self) -> str:
        """The remedy where all problems are told at once."""
        for node in ast.walk(self._tree):
            match node:
                case ast.keyword(arg="remedy", value=ast.BoolOp(values=[ast.Call(args=[ast.Call()]), text])):
                    return self._text(text, self._constants)
        return ""

    def _table(self, node: ast.Assign | ast.AnnAssign) -> Iterator[Failure]:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if not isinstance(target, ast.Name) or target.id not in TABLES:
            return
        fields, code = TABLES[target.id]
        rows = node.value.elts if isinstance(node.value, ast.Tuple) else getattr(node.value, "values", [])
        keys = getattr(node.value, "keys", [None] * len(rows))
        for key, row in zip(keys, rows, strict=True):
            if isinstance(row, ast.Tuple):
                given = dict(zip(fields, row.elts, strict=True))
                for failure in self._failure(row, given, code, self._constants):
                    seen = f"CUDA cannot compute: <step> gives {ast.unparse(key)}, {failure.reason}" if key else ""
                    yield dataclasses.replace(failure, reason=seen or failure.reason)

    def _call(self, node: ast.Call, function: _Function | None) -> Iterator[Failure]:
        given = {word.arg: word.value for word in node.keywords if word.arg}
        fields, code = MAKERS.get(_name(node.func), ((), ""))
        if _name(node.func) == "__init__" and "remedy" in given:
            fields, code = ("reason",), "1"
        passes_on = function is not None and function.name in MAKERS
        if not fields or passes_on or any(isinstance(argument, ast.Starred) for argument in node.args):
            return
        given |= dict(zip(fields, node.args, strict=False))
        for texts in self._scopes(function, given):
            yield from self._failure(node, given, code, texts)

    def _scopes(self, function: _Function | None, given: Arguments) -> Iterator[Texts]:
        """What the names stand for: once for each branch that gives them words, or for each call that does."""
        if function is None:
            yield self._constants
            return
        used = {node.id for value in given.values() for node in ast.walk(value) if isinstance(node, ast.Name)}
        used |= {name for node in ast.walk(function) if isinstance(node, ast.Assign) for name in _names_for(node, used)}
        used |= {"code"} & set(given)
        calls = list(self._words_of_calls(function, used))
        branches = list(self._branches(function.body, self._constants, used))
        assigned = {name for branch in branches for name in branch} - set(self._constants) - {"code"}
        whole = [branch for branch in branches if assigned <= set(branch)] or branches
        for branch in whole:
            yield from (branch | words for words in calls or [{}])

    def _words_of_calls(self, function: _Function, used: set[str]) -> Iterator[Texts]:
        parameters = [argument.arg for argument in function.args.args if argument.arg != "self"]
        if not used & set(parameters):
            return
        where = self._calls if function.name.startswith("_") else self._everywhere
        for call in where.get(function.name, ()):
            words = dict(zip(parameters, call.args, strict=False))
            words |= {word.arg: word.value for word in call.keywords if word.arg}
            if any(name in used and _literal(value) for name, value in words.items()):
                yield {name: self._text(value, self._constants) for name, value in words.items() if name in used}

    def _branches(self, body: list[ast.stmt], before: Texts, used: set[str]) -> Iterator[dict[str, str]]:
        """The words that names have after a list of statements, and in each list inside it that gives them others."""
        texts = dict(before)
        inner: list[list[ast.stmt]] = []
        for node in body:
            if isinstance(node, ast.Assign):
                for name, value in (pair for target in node.targets for pair in _pairs(target, node.value)):
                    if name in used and _literal(value):
                        texts[name] = self._text(value, texts)
            elif isinstance(node, ast.AugAssign) and _literal(node.value):
                texts[_name(node.target)] = texts.get(_name(node.target), "") + self._text(node.value, texts)
            inner += [list(part) for _field, part in ast.iter_fields(node) if _is_block(part)]
            inner += [handler.body for handler in getattr(node, "handlers", [])]
        yield texts
        for part in inner:
            for branch in self._branches(part, texts, used):
                if branch != texts:
                    yield branch

    def _failure(self, node: ast.AST, given: Arguments, code: str, texts: Texts) -> Iterator[Failure]:
        said = {name: self._text(value, texts) for name, value in given.items() if name != "code"}
        if "code" in given:
            code = CODES.get(_name(given["code"]), texts.get(_name(given["code"]), VARIES))
        reason, remedy = said.get("reason", ""), said.get("remedy", "")
        if "message" in said:
            reason, remedy = sentences(said["message"])
        elif "is wrong" in said:
            reason = f"{said['key']}: <value> {said['is wrong']}"
        elif "pattern" in said:
            seen = _readable(said["pattern"])
            reason = f"{_filled(reason)} (from: {seen})" if reason else f"… {seen} …"
            remedy = _filled(remedy)
        # What is only passed on is found where it is made.
        both = isinstance(given.get("remedy"), ast.Name | ast.Attribute) or re.fullmatch("<[^>]*>", reason)
        passed_on = both and re.fullmatch("<[^>]*>", remedy)
        if not passed_on and not re.fullmatch(r"\w*(<[^>]*>)?", reason if not remedy else "a failure"):
            yield Failure(_tidy(reason), _tidy(remedy), code, self._name, getattr(node, "lineno", 0))

    def _text(self, node: ast.expr, texts: Texts) -> str:
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.JoinedStr(values=values):
                return "".join(self._text(value, texts) for value in values)
            case ast.FormattedValue(value=value):
                return self._text(value, texts) if _literal(value) or isinstance(value, ast.Name) else _blank(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._text(left, texts) + self._text(right, texts)
            case ast.IfExp(body=body, orelse=orelse):
                return _either(*(self._text(part, texts) for part in (body, orelse)))
            case ast.BoolOp(op=ast.Or(), values=values):
                known = [self._text(value, texts) for value in values if _literal(value)]
                return _blank(values[0]) if max(map(len, known), default=0) < _SHORT else _either(*known)
        return self._named(node, texts)

    def _named(self, node: ast.expr, texts: Texts) -> str:
        match node:
            case ast.Attribute(value=ast.Name(id="Code"), attr=name):
                return CODES[name]
            case ast.Name(id=name) if name in texts:
                return texts[name]
            case ast.Call(func=ast.Name(id="next"), args=[_, default]) if _literal(default):
                return self._text(default, texts)
            case ast.Call(func=ast.Attribute(attr="join"), args=[ast.List(elts=[first, *_])]) if _literal(first):
                return f"{self._text(first, texts)} …"
            case ast.Call(func=ast.Name(id="missing_required_lib"), args=[library]):
                return f"Failed to import the required Python library ({self._text(library, texts)})"
            case ast.Call(func=func) if returned := self._returned(_name(func)):
                return returned
        return _blank(node)

    def _returned(self, name: str) -> str:
        """What a function of this file says, if that is a text."""
        for function in ast.walk(self._tree):
            if (
                isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
                and function.name == name
                and _name(function.returns) == "str"
            ):
                found = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
                if all(_literal(value) or _name(value) in self._constants for value in found):
                    return _either(*(self._text(value, self._constants) for value in found))
        return ""


def _names_for(node: ast.Assign, used: set[str]) -> set[str]:
    """The names in what is assigned to one of these."""
    if not used & {_name(target) for target in node.targets}:
        return set()
    return {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}


def _calls(tree: ast.Module) -> Calls:
    """The calls in a file, by the last part of what is called."""
    calls: Calls = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            calls.setdefault(_name(node.func), []).append(node)
    return calls


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(value, ast.BoolOp) and isinstance(value.values[-1], ast.Tuple):
        value = value.values[-1]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, other in zip(target.elts, value.elts, strict=False):
            yield from _pairs(one, other)
    elif isinstance(target, ast.Name):
        yield target.id, value


def _is_block(part: object) -> bool:
    return isinstance(part, list) and bool(part) and isinstance(part[0], ast.stmt)


def _literal(node: ast.expr) -> bool:
    """Whether the words are written there."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr() | ast.Attribute(value=ast.Name(id="Code")):
            return True
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _literal(left) or _literal(right)
        case ast.IfExp(body=body, orelse=orelse):
            return _literal(body) or _literal(orelse)
        case ast.BoolOp(values=[*_, last]):
            return _literal(last) and len(ast.unparse(last)) > _SHORT
        case ast.Call(func=ast.Name(id="next"), args=[_, default]):
            return _literal(default)
        case ast.Call(func=ast.Name(id="missing_required_lib")):
            return True
    return False


def _either(*texts: str) -> str:
    texts = tuple("" if text == "." else text for text in texts)
    said = [text for text in dict.fromkeys(texts) if text and not re.fullmatch(r"<(?:remedy|reason|hint)>", text)]
    if len(said) == 1:
        return said[0] if "" not in texts else f"[{said[0]}]"
    return (" / " if all(len(text) < _SHORT for text in said) else " Or: ").join(said)


def _name(node: ast.AST | None) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _blank(node: ast.expr) -> str:
    return f"<{_about(node).strip('_').replace('_', ' ').lower() or '…'}>"


def _about(node: ast.expr) -> str:
    """A word for what stands there."""
    match node:
        case ast.Constant(value=value):
            return str(value)
        case ast.Name() | ast.Attribute():
            return _name(node)
        case ast.Subscript(slice=ast.Constant(value=str() as key)) if key:
            return key
        case ast.Call(func=ast.Name(id="len")):
            return "number"
        case (
            ast.Subscript(value=inner)
            | ast.FormattedValue(value=inner)
            | ast.BinOp(left=inner)
            | ast.IfExp(body=inner)
            | ast.GeneratorExp(elt=inner)
            | ast.ListComp(elt=inner)
            | ast.BoolOp(values=[inner, *_])
            | ast.Call(func=ast.Name(id="map" | "getattr"), args=[_, inner, *_])
            | ast.Call(
                func=ast.Attribute(value=ast.Constant() | ast.Name(id="json" | "shlex" | "str")), args=[inner, *_]
            )
        ):
            return _about(inner)
        case (
            ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name))
            | ast.Call(func=ast.Name(id=name), args=[])
        ):
            return name
        case ast.Call(func=ast.Attribute(value=inner)) | ast.Call(args=[inner, *_]):
            function = _name(node.func)
            return function if function.startswith("_") else _about(inner)
    return ""


def _readable(pattern: str) -> str:
    """A regular expression as people read it: what varies is an ellipsis."""
    text = re.sub(r"\(\?P?[<:!=][^>()]*>?|\[\^[^\]]*\][*+]|\\[SDdws][*+?]*|\.[*+]\??|\(\?:", "…", pattern)
    text = re.sub(r"\[[^\]]*\][*+]|[\^$()?*]|\\[bn]", "", text.replace(r"\(", "⟨").replace(r"\)", "⟩"))
    text = text.replace("\\", "").replace("⟨", "(").replace("⟩", ")")
    choices = re.sub(r"…[…\s]*…", "…", text).split("|")
    return " / ".join(choice for choice in choices if choice != "…" or len(choices) == 1)


def _filled(text: str) -> str:
    return re.sub(r"\{\w+\}", "<…>", text)


def _tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
