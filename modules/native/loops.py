"""Does what is fed decide how long a graph runs? Only then must a run be stoppable in the middle.

A taint analysis: fed tensors are tainted, an op's outputs are tainted by its inputs, except for ops that only look at
shapes. A loop whose condition is tainted may run for any time. Control flow of TensorFlow 2 (While, If, calls) is
followed into functions; the loops of TensorFlow 1 and datasets count as unbounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modules.native.protos import MetaGraphDef

# What comes out depends on shapes alone; sizes are bounded by what the caller sent.
_SHAPE_OPS = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
_WHILE = frozenset({"While", "StatelessWhile"})
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_IF = frozenset({"If", "StatelessIf"})
_CASE = frozenset({"Case", "StatelessCase"})
# Loops of TensorFlow 1, symbolic calls, and whole programs inside an op.
_UNBOUNDED = frozenset(
    {"Enter", "RefEnter", "For", "ReduceDataset", "DatasetToSingleElement", "SymbolicGradient", "RemoteCall"}
)


def bounded(graph: MetaGraphDef, feeds: Iterable[str], fetches: Iterable[str]) -> bool:
    """Whether the values fed cannot decide how often a loop of the graph runs.

    Args:
      graph: with its function library.
      feeds: tensor names that are fed.
      fetches: tensor names that are fetched; only what they need counts.
    """
    definition = graph.graph_def
    library = {function.signature.name: function for function in definition.library.function}
    nodes = {node.name: node for node in definition.node}
    try:
        _Analysis(library).graph(nodes, {_operation(f) for f in feeds}, [_operation(f) for f in fetches])
    except _Unbounded:
        return False
    return True


class _Unbounded(Exception):
    """A loop that fed values decide, or that cannot be seen through."""


class _Analysis:
    """Taint of functions, remembered by name and taint of the arguments."""

    def __init__(self, library: Mapping[str, Any]) -> None:
        self._library = library
        self._known: dict[tuple[str, tuple[bool, ...]], tuple[bool, ...]] = {}

    def graph(self, nodes: Mapping[str, Any], fed: set[str], wanted: Sequence[str]) -> None:
        """Walks what the fetches need; raises _Unbounded."""
        taint: dict[str, tuple[bool, ...] | bool] = dict.fromkeys(fed, True)
        for node in _in_order(nodes, wanted, fed):
            inputs = [_of(taint, name) for name in node.input if not name.startswith("^")]
            taint[node.name] = self._outputs(node, inputs)

    def function(self, name: str, arguments: tuple[bool, ...]) -> tuple[bool, ...]:
        """Taint of a function's results."""
        key = (name, arguments)
        found = self._known.get(key)
        if found is not None:
            return found
        function = self._library[name]
        names = [argument.name for argument in function.signature.input_arg]
        taint: dict[str, tuple[bool, ...] | bool] = dict(zip(names, arguments, strict=True))
        nodes = {node.name: node for node in function.node_def}
        wanted = [_operation(value) for value in function.ret.values()]
        wanted += [_operation(value) for value in function.control_ret.values()]
        for node in _in_order(nodes, [w for w in wanted if w in nodes], set(names)):
            inputs = [_of(taint, value) for value in node.input if not value.startswith("^")]
            taint[node.name] = self._outputs(node, inputs)
        results = tuple(_of(taint, function.ret[argument.name]) for argument in function.signature.output_arg)
        self._known[key] = results
        return results

    def _outputs(self, node: Any, inputs: Sequence[bool]) -> tuple[bool, ...] | bool:
        op = node.op
        if op in _SHAPE_OPS:
            return False
        if op in _WHILE:
            return self._loop(node, inputs)
        if op in _CALLS:
            return self.function(node.attr["f"].func.name, tuple(inputs))
        if op in _IF or op in _CASE:
            return self._branches(node, inputs)
        if op in _UNBOUNDED:
            raise _Unbounded
        if op in self._library:
            return self.function(op, tuple(inputs))
        return any(inputs)

    def _loop(self, node: Any, inputs: Sequence[bool]) -> tuple[bool, ...]:
        variables = tuple(inputs)
        while True:
            if any(self.function(node.attr["cond"].func.name, variables)):
                raise _Unbounded
            after = self.function(node.attr["body"].func.name, variables)
            merged = tuple(a or b for a, b in zip(variables, after, strict=True))
            if merged == variables:
                return variables
            variables = merged

    def _branches(self, node: Any, inputs: Sequence[bool]) -> tuple[bool, ...]:
        if node.op in _IF:
            names = [node.attr["then_branch"].func.name, node.attr["else_branch"].func.name]
        else:
            names = [function.name for function in node.attr["branches"].list.func]
        chosen, arguments = inputs[0], tuple(inputs[1:])
        results = [self.function(name, arguments) for name in names]
        return tuple(chosen or any(column) for column in zip(*results, strict=True))


def _operation(name: str) -> str:
    return name.lstrip("^").partition(":")[0]


def _of(taint: Mapping[str, tuple[bool, ...] | bool], name: str) -> bool:
    """Taint of a value `node`, `node:index` (graphs) or `node:output:index` (functions)."""
    node, _, rest = name.partition(":")
    found = taint.get(node, False)
    if isinstance(found, bool):
        return found
    index = rest.rpartition(":")[2]
    # Outputs of calls and loops in functions are named `node:output:index`; each is one list.
    number = int(index) if index.isdigit() else 0
    return found[number] if number < len(found) else any(found)


def _in_order(nodes: Mapping[str, Any], wanted: Iterable[str], stop: set[str]) -> list[Any]:
    """The nodes that the wanted ones need, each after its inputs; cycles, TensorFlow 1's loops, are cut."""
    order: list[Any] = []
    seen: set[str] = set()
    stack = [(name, False) for name in wanted]
    while stack:
        name, expanded = stack.pop()
        if expanded:
            order.append(nodes[name])
            continue
        if name in stop or name in seen or name not in nodes:
            continue
        seen.add(name)
        stack.append((name, True))
        stack += [(_operation(value), False) for value in nodes[name].input]
    return order
