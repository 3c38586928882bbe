"""Finds walks over sets in a module's source: their order differs from run to run (PYTHONHASHSEED).

Works on names, not on types: a set is what is written, annotated or assigned as one, in this module. What
comes from elsewhere is seen only by its annotation.
"""

import ast

SET_TYPES = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
# Their results depend on the order of what they are given, or they take any one.
ORDERED = {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "dict", "deque", "next"}
# A comprehension directly inside these may walk a set: the order is lost anyway.
UNORDERED = {"sorted", "set", "frozenset", "len", "sum", "any", "all", "min", "max"}


def walks_over_sets(source):
    """Return the line numbers where `source` walks a set."""
    tree = ast.parse(source)
    attributes = _Names(None)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            attributes.learn(node, attributes_only=True)
        elif isinstance(node, ast.ClassDef):
            fields = [line for line in node.body if isinstance(line, ast.AnnAssign)
                      and is_set_type(line.annotation)]
            attributes.sets.update(f".{line.target.id}" for line in fields)
    found = []
    _visit_scope(tree, _Names(attributes), found)
    return sorted(found)


class _Names:
    """Which names (and attributes, as `.name`) are sets."""

    def __init__(self, outer):
        self.sets = set(outer.sets) if outer else set()

    def learn(self, node, attributes_only=False):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        is_set = isinstance(node, ast.AnnAssign) and is_set_type(node.annotation)
        is_set = is_set or (node.value is not None and self.is_set(node.value))
        for target in targets:
            key = _key(target)
            if key and (not attributes_only or key.startswith(".")):
                (self.sets.add if is_set else self._forget)(key)

    def _forget(self, key):
        if not key.startswith("."):
            self.sets.discard(key)

    def is_set(self, node):
        if isinstance(node, (ast.Set, ast.SetComp)):
            return True
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                return node.func.id in ("set", "frozenset")
            is_method = isinstance(node.func, ast.Attribute) and node.func.attr in (*SET_METHODS, "copy")
            return is_method and self.is_set(node.func.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, SET_OPERATORS):
            return any(self.is_set(side) or _is_keys(side) for side in (node.left, node.right))
        if isinstance(node, ast.IfExp):
            return self.is_set(node.body) or self.is_set(node.orelse)
        return _key(node) in self.sets


def is_set_type(annotation):
    """Is it `Set[…]`, `frozenset`, `Optional[Set[…]]`, also as a string?"""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.Subscript):
        if _name(annotation.value) == "Optional":
            return is_set_type(annotation.slice)
        annotation = annotation.value
    return _name(annotation) in SET_TYPES


def _visit_scope(scope, names, found):
    if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
        arguments = scope.args
        for argument in arguments.posonlyargs + arguments.args + arguments.kwonlyargs:
            names.sets.discard(argument.arg)
            if argument.annotation is not None and is_set_type(argument.annotation):
                names.sets.add(argument.arg)
    for child in ast.iter_child_nodes(scope):
        _visit(child, names, found)


def _visit(node, names, found):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        inner = _Names(None)
        inner.sets = set(names.sets)
        _visit_scope(node, inner, found)
        return
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        names.learn(node)
    if _walks(node, names):
        found.append(node.lineno)
    for child in ast.iter_child_nodes(node):
        if (isinstance(node, ast.Call) and _name(node.func) in UNORDERED
                and isinstance(child, ast.GeneratorExp)):
            for part in ast.iter_child_nodes(child):
                _visit_children_only(part, names, found)
        else:
            _visit(child, names, found)


def _visit_children_only(node, names, found):
    for child in ast.iter_child_nodes(node):
        _visit(child, names, found)


def _walks(node, names):
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return names.is_set(node.iter)
    if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        return any(names.is_set(generator.iter) for generator in node.generators)
    if isinstance(node, ast.Starred):
        return names.is_set(node.value)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ORDERED:
            return any(names.is_set(argument) for argument in node.args)
        if isinstance(node.func, ast.Attribute):
            takes_any = node.func.attr == "pop" and not node.args and names.is_set(node.func.value)
            in_order = node.func.attr in ("join", "extend", "fromkeys") and any(map(names.is_set, node.args))
            return takes_any or in_order
    return False


def _key(node):
    if isinstance(node, ast.Name):
        return node.id
    return f".{node.attr}" if isinstance(node, ast.Attribute) else None


def _name(node):
    return getattr(node, "id", getattr(node, "attr", None))


def _is_keys(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"
