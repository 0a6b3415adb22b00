"""Machine instructions for SeqSim as numba intrinsics; called by `scores/seqsim_kernels.py` only.

numba's own vectoriser neither keeps a block of sums in registers nor finds the int8 dot
instruction, so the two inner loops are written as LLVM code here. All pointers are whole numbers
(`array.ctypes.data`): the callers own the arrays and their bounds.

Who changes this file must delete `scores/__pycache__/seqsim_kernels*.nb*`: what numba keeps on disk
it makes anew when the calling file has changed, not when this one has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from isogloss.errors import MissingExtra

try:
    import numba
except ModuleNotFoundError as problem:
    raise MissingExtra("search", "numba") from problem
from llvmlite import binding, ir
from numba.core import cgutils, codegen, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHAPE", "Shape", "column_max", "row_max", "shape_for", "tile_float32", "tile_int8"]


def _instruction(function: Callable[..., Any]) -> Any:
    """A function that writes LLVM code, as one that compiled loops can call, without `typing`."""
    return intrinsic(function)


class Shape(NamedTuple):
    """How a tile lies in the registers of a processor.

    A tile of `rows` x `lanes` * `vectors` sums stays in registers from the first dimension to the
    last, beside one row of vectors and one broadcast value. `fused`: multiply-add rounds once.
    """

    lanes: int
    rows: int
    vectors: int
    fused: bool
    fast_int8: bool

    @property
    def columns(self) -> int:
        """Columns of a tile."""
        return self.lanes * self.vectors


def shape_for(features: set[str], machine: str = "x86") -> Shape:
    """The tile for a processor with these LLVM feature names; portable code for an unknown one.

    `fast_int8` needs the dot instruction of four unsigned by four signed bytes (VNNI). Without it
    int8 gains too little over float32 to pay for the rescoring (1.3 to 1.6 times in instructions).
    """
    if "avx512f" in features:
        return Shape(16, 6, 4, True, "avx512vnni" in features)
    if "fma" in features and "avx2" in features:
        vnni = "avxvnni" in features or {"avx512vnni", "avx512vl"} <= features
        return Shape(8, 6, 2, True, vnni)
    if machine.startswith(("aarch64", "arm64")):
        return Shape(4, 6, 4, True, False)
    return Shape(4, 6, 2, False, False)


def _features() -> set[str]:
    """What numba compiles for: its own settings first, then the machine.

    An instruction that LLVM may not use would end the process, not raise.
    """
    chosen = numba.config.CPU_FEATURES
    if chosen is None:
        chosen = codegen.get_host_cpu_features()  # heeds NUMBA_ENABLE_AVX, as the compiler does
    return {name[1:] for name in chosen.split(",") if name.startswith("+")}


SHAPE = shape_for(_features(), binding.get_default_triple())
"""The tile of this processor."""

_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS = ir.VectorType(_F32, SHAPE.lanes)
_INTS = ir.VectorType(_I32, SHAPE.lanes)
_LOWEST = ir.Constant(_F32, float("-inf"))


def _pointer(builder: Any, address: Any, element: Any) -> Any:
    return builder.inttoptr(address, element.as_pointer())


def _load(builder: Any, pointer: Any, index: Any, align: int = 4) -> Any:
    value = builder.load(builder.gep(pointer, [index]))
    value.align = align
    return value


def _store(builder: Any, value: Any, pointer: Any, index: Any) -> None:
    builder.store(value, builder.gep(pointer, [index])).align = 4


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """`value` in every lane."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, _I32(0))
    lanes = ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, nothing, lanes)


def _function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, name)


def _larger(builder: Any, x: Any, y: Any) -> Any:
    """Lane by lane; values are finite or -infinity, so this is one instruction."""
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


def _sums(
    builder: Any,
    vectors: int,
    left: Any,
    stride: Any,
    rows: Any,
    right: Any,
    depth: Any,
    start: Any = None,
) -> list[Any]:
    """Products of `SHAPE.rows` rows with the first `vectors` of a panel, row by row.

    `left` is the first row, `stride` values from row to row; rows behind the last of `rows` repeat
    it. `start` is None for float32 and else the first value of each row's sum, for int8, where an
    element is four bytes.
    """
    element, vector = (_F32, _FLOATS) if start is None else (_I32, _INTS)
    lefts, rights = _pointer(builder, left, element), _pointer(builder, right, vector)
    last = builder.sub(rows, _I64(1))
    places, sums = [], []
    for row in range(SHAPE.rows):
        real = builder.select(builder.icmp_signed("<", _I64(row), last), _I64(row), last)
        places.append(builder.gep(lefts, [builder.mul(real, stride)]))
        first = ir.Constant(vector, None)
        if start is not None:
            first = _splat(builder, _load(builder, _pointer(builder, start, _I32), real), vector)
        for _ in range(vectors):
            # LLVM turns these places into registers, whose number `SHAPE` was chosen for.
            sums.append(cgutils.alloca_once(builder, vector))
            builder.store(first, sums[-1])
    with cgutils.for_range(builder, depth) as loop:
        across = builder.mul(loop.index, _I64(SHAPE.vectors))
        panel = [
            _load(builder, rights, builder.add(across, _I64(number))) for number in range(vectors)
        ]
        for row, place in enumerate(places):
            value = _splat(builder, _load(builder, place, loop.index), vector)
            for number, columns in enumerate(panel):
                total = sums[row * vectors + number]
                so_far = builder.load(total)
                if start is None:
                    builder.store(_multiply_add(builder, value, columns, so_far), total)
                else:
                    builder.store(_dot_bytes(builder, so_far, columns, value), total)
    return [builder.load(total) for total in sums]


def _multiply_add(builder: Any, x: Any, y: Any, total: Any) -> Any:
    if not SHAPE.fused:  # without the instruction, LLVM would call a slow function of the C library
        return builder.fadd(builder.fmul(x, y), total)
    name = f"llvm.fma.v{SHAPE.lanes}f32"
    return builder.call(_function(builder, name, _FLOATS, [_FLOATS] * 3), [x, y, total])


def _dot_bytes(builder: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    name = f"llvm.x86.avx512.vpdpbusd.{32 * SHAPE.lanes}"
    call = _function(builder, name, _INTS, [_INTS] * 3)
    return builder.call(call, [total, unsigned, signed])


def _for_width(builder: Any, columns: Any, generate: Callable[[int], None]) -> None:
    """`generate` for as many vectors as hold `columns` columns, which are known when it runs."""
    end = builder.append_basic_block("end")
    for vectors in range(1, SHAPE.vectors):
        fits = builder.icmp_signed("<=", columns, _I64(vectors * SHAPE.lanes))
        with builder.if_then(fits):
            generate(vectors)
            builder.branch(end)
            # `if_then` wants an open block to end with; nothing reaches this one.
            builder.position_at_end(builder.append_basic_block("unreached"))
    generate(SHAPE.vectors)
    builder.branch(end)
    builder.position_at_end(end)


@_instruction
def tile_float32(
    typing: Any, left: Any, stride: Any, rows: Any, right: Any, columns: Any, depth: Any, out: Any
) -> Any:
    """Cosines of up to `SHAPE.rows` unit rows with a panel of unit columns, float32, into `out`.

    Each is one chain of multiply-adds from dimension 0 to the last, so that the value of a pair of
    steps does not depend on where in a tile it stands. Vectors wholly behind `columns` are left
    alone.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, stride, rows, right, columns, depth, out = arguments
        place = _pointer(builder, out, _FLOATS)

        def tile(vectors: int) -> None:
            totals = _sums(builder, vectors, left, stride, rows, right, depth)
            for number, total in enumerate(totals):
                row, column = divmod(number, vectors)
                _store(builder, total, place, _I64(row * SHAPE.vectors + column))

        _for_width(builder, columns, tile)
        return context.get_dummy_value()

    return types.void(left, stride, rows, right, columns, depth, out), generate


@_instruction
def tile_int8(
    typing: Any,
    left: Any,
    stride: Any,
    rows: Any,
    right: Any,
    columns: Any,
    depth: Any,
    starts: Any,
    row_scales: Any,
    row_errors: Any,
    column_scales: Any,
    column_errors: Any,
    out: Any,
) -> Any:
    """What cosines of up to `SHAPE.rows` int8 rows with a panel of uint8 columns can at most be.

    `stride` and `depth` count groups of four bytes. The columns hold their value + 128, which
    `starts`, -128 times the sum of each row, takes away again. To the scaled product of codes is
    added a + b + a * b, where a and b are the errors of row and column. float32, into `out`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, stride, rows, right, columns, depth, starts, *of_steps, out = arguments
        place = _pointer(builder, out, _FLOATS)
        kinds = (_F32, _F32, _FLOATS, _FLOATS)
        row_scales, row_errors, column_scales, column_errors = (
            _pointer(builder, address, kind) for address, kind in zip(of_steps, kinds, strict=True)
        )
        last = builder.sub(rows, _I64(1))
        one = ir.Constant(_FLOATS, [1.0] * SHAPE.lanes)

        def tile(vectors: int) -> None:
            totals = _sums(builder, vectors, left, stride, rows, right, depth, starts)
            for number, total in enumerate(totals):
                row, column = divmod(number, vectors)
                real = builder.select(builder.icmp_signed("<", _I64(row), last), _I64(row), last)
                scale = _splat(builder, _load(builder, row_scales, real), _FLOATS)
                scale = builder.fmul(scale, _load(builder, column_scales, _I64(column)))
                a = _splat(builder, _load(builder, row_errors, real), _FLOATS)
                b = _load(builder, column_errors, _I64(column))
                gap = _multiply_add(builder, a, builder.fadd(b, one), b)
                value = _multiply_add(builder, builder.sitofp(total, _FLOATS), scale, gap)
                _store(builder, value, place, _I64(row * SHAPE.vectors + column))

        _for_width(builder, columns, tile)
        return context.get_dummy_value()

    arguments = (
        left,
        stride,
        rows,
        right,
        columns,
        depth,
        starts,
        row_scales,
        row_errors,
        column_scales,
        column_errors,
        out,
    )
    return types.void(*arguments), generate


@_instruction
def column_max(typing: Any, table: Any, rows: Any, best: Any) -> Any:
    """Raise `best`, one value a column of a panel, to the maximum over `rows` rows of `table`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, rows, best = arguments
        cells, results = _pointer(builder, table, _FLOATS), _pointer(builder, best, _FLOATS)
        tops = []
        for number in range(SHAPE.vectors):
            tops.append(cgutils.alloca_once(builder, _FLOATS))
            builder.store(_load(builder, results, _I64(number)), tops[-1])
        with cgutils.for_range(builder, rows) as loop:
            across = builder.mul(loop.index, _I64(SHAPE.vectors))
            for number, top in enumerate(tops):
                cell = _load(builder, cells, builder.add(across, _I64(number)))
                builder.store(_larger(builder, cell, builder.load(top)), top)
        for number, top in enumerate(tops):
            _store(builder, builder.load(top), results, _I64(number))
        return context.get_dummy_value()

    return types.void(table, rows, best), generate


@_instruction
def row_max(
    typing: Any, table: Any, rows: Any, first: Any, last: Any, best: Any, stride: Any
) -> Any:
    """Raise `best[row * stride]` to the maximum over columns `first` to `last` of each row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, rows, first, last, best, stride = arguments
        cells, results = _pointer(builder, table, _FLOATS), _pointer(builder, best, _F32)
        lowest = _splat(builder, _LOWEST, _FLOATS)
        low = _splat(builder, builder.trunc(first, _I32), _INTS)
        high = _splat(builder, builder.trunc(last, _I32), _INTS)
        chosen = []
        for number in range(SHAPE.vectors):
            numbers = range(number * SHAPE.lanes, (number + 1) * SHAPE.lanes)
            lanes = ir.Constant(_INTS, list(numbers))
            above = builder.icmp_signed(">=", lanes, low)
            chosen.append(builder.and_(above, builder.icmp_signed("<", lanes, high)))
        name = f"llvm.vector.reduce.fmax.v{SHAPE.lanes}f32"
        reduce = _function(builder, name, _F32, [_FLOATS])
        with cgutils.for_range(builder, rows) as loop:
            across = builder.mul(loop.index, _I64(SHAPE.vectors))
            top = lowest
            for number, mask in enumerate(chosen):
                cell = _load(builder, cells, builder.add(across, _I64(number)))
                top = _larger(builder, builder.select(mask, cell, lowest), top)
            largest = builder.call(reduce, [top], fastmath=("nnan",))
            place = builder.mul(loop.index, stride)
            best_yet = _load(builder, results, place)
            _store(builder, _larger(builder, largest, best_yet), results, place)
        return context.get_dummy_value()

    return types.void(table, rows, first, last, best, stride), generate
