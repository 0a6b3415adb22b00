"""Nodes and weights of an ONNX graph, collected one by one: `GraphWriter`, used by `export_onnx`.

A value is the name of a node's output. Sizes are values too, (1,) int64, read from the graph's
inputs while it runs, so that nothing is fixed to the length of an example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["OPSET", "GraphWriter"]

OPSET = 17
"""Operator set of the graphs; onnxruntime reads it since 1.12."""

_IR_VERSION = 8


class GraphWriter:
    """An ONNX graph under construction; `op` adds a node and gives the name of its output."""

    def __init__(self) -> None:
        try:
            from onnx import helper, numpy_helper
        except ImportError as error:
            raise MissingExtra("onnx", "onnx") from error
        self._helper: Any = helper
        self._numpy_helper: Any = numpy_helper
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._constants: dict[tuple[str, tuple[float, ...]], str] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The output of a new node of operator `kind`."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """The `outputs` outputs of a new node."""
        number = len(self._nodes)
        names = [f"{kind.lower()}_{number}_{i}" for i in range(outputs)]
        self._add(kind, inputs, names, attributes)
        return names

    def op_named(self, kind: str, name: str, *inputs: str, **attributes: Any) -> None:
        """A new node whose output, one of the graph's, is called `name`."""
        self._add(kind, inputs, [name], attributes)

    def _add(
        self, kind: str, inputs: Sequence[str], names: list[str], attributes: Mapping[str, Any]
    ) -> None:
        label = f"{kind}_{len(self._nodes)}"
        node = self._helper.make_node(kind, list(inputs), names, name=label, **attributes)
        self._nodes.append(node)

    def weight(self, values: Any) -> str:
        """A constant of the model: a tensor (detached) or array, as float32."""
        array = np.ascontiguousarray(np.asarray(values), dtype=np.float32)
        name = f"weight_{len(self._weights)}"
        self._weights.append(self._numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        """A float32 constant without axes."""
        return self._constant("number", (value,), np.array(value, dtype=np.float32))

    def whole(self, *values: int) -> str:
        """An int64 constant of one axis: sizes, axes, limits of a slice."""
        return self._constant("whole", values, np.array(values, dtype=np.int64))

    def size(self, x: str, axis: int) -> str:
        """The size of `x` along `axis`, (1,)."""
        return self.op("Shape", x, start=axis, end=axis + 1)

    def range(self, start: str, end: str) -> str:
        """Whole numbers from start to before end, both (1,)."""
        zero = self._constant("axis", (0,), np.array(0, dtype=np.int64))
        one = self._constant("axis", (1,), np.array(1, dtype=np.int64))
        first = self.op("Gather", start, zero)
        return self.op("Range", first, self.op("Gather", end, zero), one)

    def floats(self, x: str) -> str:
        """`x` as float32."""
        return self.op("Cast", x, to=1)

    def reshape(self, x: str, *sizes: int | str) -> str:
        """`x` with other axes: 0 keeps a size, -1 is what is left, a string is a (1,) value."""
        if all(isinstance(size, int) for size in sizes):
            return self.op("Reshape", x, self.whole(*(int(size) for size in sizes)))
        parts = [size if isinstance(size, str) else self.whole(size) for size in sizes]
        return self.op("Reshape", x, self.op("Concat", *parts, axis=0))

    def cut(self, x: str, axis: int, start: str, end: str) -> str:
        """`x[start:end]` along `axis`; start and end are (1,)."""
        return self.op("Slice", x, start, end, self.whole(axis))

    def model(
        self,
        name: str,
        inputs: Sequence[tuple[str, str, Sequence[int | str]]],
        outputs: Sequence[tuple[str, str, Sequence[int | str]]],
        metadata: Mapping[str, str],
    ) -> Any:
        """The finished `onnx.ModelProto`, checked.

        Args:
            name: of the graph.
            inputs: (name, "float" or "whole", sizes; a string is a free size).
            outputs: as inputs; the names are those of values of this graph.
            metadata: kept in the file, read by who runs it.
        """
        import onnx

        from isogloss import __version__

        kinds = {"float": onnx.TensorProto.FLOAT, "whole": onnx.TensorProto.INT64}
        graph = self._helper.make_graph(
            self._nodes,
            name,
            *(
                [
                    self._helper.make_tensor_value_info(n, kinds[kind], list(s))
                    for n, kind, s in part
                ]
                for part in (inputs, outputs)
            ),
            initializer=self._weights,
        )
        model = self._helper.make_model(
            graph,
            opset_imports=[self._helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="isogloss",
            producer_version=__version__,
        )
        self._helper.set_model_props(model, dict(metadata))
        return model

    def _constant(self, kind: str, values: tuple[float, ...], array: Any) -> str:
        key = (kind, values)
        if key not in self._constants:
            self._constants[key] = f"{kind}_{len(self._constants)}"
            self._weights.append(self._numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]
