"""Write vector code that reads like arithmetic, compile it at run time with llvmlite.

A `Function` collects LLVM instructions; its `Value` objects carry Python's operators, so that a kernel is written as formulas over scalars
and vectors of `lanes` elements. Mixed operands are widened: a number takes the other operand's type, a scalar is broadcast to a vector.
Only what the kernels need is here. The same text compiles for AVX-512, AVX2, SSE and NEON.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SyntheXLib.rendering.llvm_target import Target

FLOAT, I1, I8, I16, I32, I64, POINTER = "float", "i1", "i8", "i16", "i32", "i64", "ptr"
_BYTES = {FLOAT: 4, I8: 1, I16: 2, I32: 4, I64: 8}
_C_TYPES = {I32: ctypes.c_int32, I64: ctypes.c_int64, FLOAT: ctypes.c_float, POINTER: ctypes.c_void_p}


class Value:
    """A scalar (``lanes`` 0) or a vector, of one of the element kinds above."""

    def __init__(self, function: Function, text: str, kind: str, lanes: int) -> None:
        self.function, self.text, self.kind, self.lanes = function, text, kind, lanes

    @property
    def type(self) -> str:
        """LLVM type."""
        return f"<{self.lanes} x {self.kind}>" if self.lanes else self.kind

    def __add__(self, other: Operand) -> Value:
        return self.function.binary("fadd", "add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self + other

    def __sub__(self, other: Operand) -> Value:
        return self.function.binary("fsub", "sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.function.binary("fsub", "sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.function.binary("fmul", "mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self * other

    def __truediv__(self, other: Operand) -> Value:
        return self.function.binary("fdiv", "sdiv", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.function.binary("fdiv", "sdiv", other, self)

    def __and__(self, other: Operand) -> Value:
        return self.function.binary("", "and", self, other)

    def __or__(self, other: Operand) -> Value:
        return self.function.binary("", "or", self, other)

    def __lshift__(self, other: Operand) -> Value:
        return self.function.binary("", "shl", self, other)

    def __rshift__(self, other: Operand) -> Value:
        return self.function.binary("", "lshr", self, other)

    def __invert__(self) -> Value:
        return self.function.binary("", "xor", self, -1)

    def __lt__(self, other: Operand) -> Value:
        return self.function.compare("olt", "slt", self, other)

    def __le__(self, other: Operand) -> Value:
        return self.function.compare("ole", "sle", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.function.compare("ogt", "sgt", self, other)

    def __ge__(self, other: Operand) -> Value:
        return self.function.compare("oge", "sge", self, other)

    def to(self, kind: str) -> Value:
        """The same numbers as another kind; floats are cut towards zero, I1 becomes 0 or 1, narrow integers are unsigned."""
        return self.function.convert(self, kind)


Operand = Value | int | float


class Variable:
    """A place that loops may change."""

    def __init__(self, function: Function, like: Value, place: str) -> None:
        self._function, self._like, self._place = function, like, place

    @property
    def value(self) -> Value:
        """What it holds now."""
        return self._function.emit(f"load {self._like.type}, ptr {self._place}", self._like.kind, self._like.lanes)

    @value.setter
    def value(self, value: Operand) -> None:
        value = self._function.like(value, self._like)
        self._function.line(f"store {value.type} {value.text}, ptr {self._place}")


class Function:
    """A function under construction.

    Parameters
    ----------
    name
        Its name.
    lanes
        Length of its vectors.
    parameters
        Name to kind, in order.
    """

    def __init__(self, name: str, lanes: int, parameters: Mapping[str, str]) -> None:
        self.name, self.lanes = name, lanes
        self._kinds = dict(parameters)
        self._counter = 0
        self._entry: list[str] = []
        self._body: list[str] = []
        self._declarations: set[str] = set()

    def parameter(self, name: str) -> Value:
        """The parameter of that name."""
        return Value(self, f"%{name}", self._kinds[name], 0)

    # Values ---------------------------------------------------------------------------------------------------------------------

    def constant(self, number: float, kind: str, lanes: int = 0) -> Value:
        """A constant, repeated in every lane of a vector."""
        text = str(int(number))
        if kind == FLOAT:  # LLVM writes a float as the double of the same value
            single = struct.unpack("<f", struct.pack("<f", number))[0]
            text = "0x" + struct.pack(">d", single).hex()
        if lanes:
            text = "<" + ", ".join([f"{kind} {text}"] * lanes) + ">"
        return Value(self, text, kind, lanes)

    def lane_numbers(self) -> Value:
        """The vector 0, 1, 2, ..."""
        return Value(self, "<" + ", ".join(f"i32 {lane}" for lane in range(self.lanes)) + ">", I32, self.lanes)

    def like(self, value: Operand, other: Value) -> Value:
        """`value` with the type of `other`: numbers become constants, scalars are broadcast."""
        if not isinstance(value, Value):
            return self.constant(value, other.kind, other.lanes)
        if value.kind != other.kind:
            raise TypeError(f"{value.kind} and {other.kind} do not mix: convert one with to()")
        if other.lanes and not value.lanes:
            first = self.emit(f"insertelement {other.type} poison, {value.kind} {value.text}, i32 0", value.kind, other.lanes)
            zeros = f"<{other.lanes} x i32> zeroinitializer"
            return self.emit(f"shufflevector {first.type} {first.text}, {first.type} poison, {zeros}", value.kind, other.lanes)
        return value

    def _pair(self, left: Operand, right: Operand) -> tuple[Value, Value]:
        if isinstance(left, Value):
            right = self.like(right, left)
            return self.like(left, right), right
        assert isinstance(right, Value)
        return self.like(left, right), right

    def binary(self, of_floats: str, of_integers: str, left: Operand, right: Operand) -> Value:
        """Instruction on two operands, chosen by their kind."""
        a, b = self._pair(left, right)
        return self.emit(f"{of_floats if a.kind == FLOAT else of_integers} {a.type} {a.text}, {b.text}", a.kind, a.lanes)

    def compare(self, of_floats: str, of_integers: str, left: Operand, right: Operand) -> Value:
        """Comparison, lane by lane."""
        a, b = self._pair(left, right)
        test = f"fcmp {of_floats}" if a.kind == FLOAT else f"icmp {of_integers}"
        return self.emit(f"{test} {a.type} {a.text}, {b.text}", I1, a.lanes)

    def select(self, condition: Value, yes: Operand, no: Operand) -> Value:
        """`yes` where the condition holds, else `no`; of two numbers, floats make FLOAT and integers I32."""
        if not isinstance(yes, Value) and not isinstance(no, Value):
            yes = self.constant(yes, FLOAT if isinstance(yes, float) else I32)
        a, b = self._pair(yes, no)
        if condition.lanes and not a.lanes:
            shape = Value(self, "", a.kind, condition.lanes)
            a, b = self.like(a, shape), self.like(b, shape)
        return self.emit(f"select {condition.type} {condition.text}, {a.type} {a.text}, {b.type} {b.text}", a.kind, a.lanes)

    def minimum(self, left: Operand, right: Operand) -> Value:
        """The smaller of two, lane by lane."""
        a, b = self._pair(left, right)
        return self.select(a < b, a, b)

    def maximum(self, left: Operand, right: Operand) -> Value:
        """The larger of two, lane by lane."""
        a, b = self._pair(left, right)
        return self.select(a > b, a, b)

    def multiply_add(self, a: Value, b: Operand, c: Operand) -> Value:
        """``a * b + c``, fused where the processor can."""
        x, y = self._pair(a, b)
        x, z = self._pair(x, c)
        y = self.like(y, z)
        return self._intrinsic("fmuladd", x, y, z)

    def convert(self, value: Value, kind: str) -> Value:
        """See `Value.to`."""
        if value.kind == kind:
            return value
        target = Value(self, "", kind, value.lanes)
        width = {I1: 1, I8: 8, I16: 16, I32: 32, I64: 64}
        if kind == FLOAT:
            operation = "sitofp" if value.kind in (I32, I64) else "uitofp"
        elif value.kind == FLOAT:
            operation = "fptosi"
        elif width[kind] < width[value.kind]:
            operation = "trunc"
        else:
            operation = "sext" if value.kind == I32 else "zext"
        return self.emit(f"{operation} {value.type} {value.text} to {target.type}", kind, value.lanes)

    def floor(self, value: Value) -> Value:
        """Largest whole number not above."""
        return self._intrinsic("floor", value)

    def ceil(self, value: Value) -> Value:
        """Smallest whole number not below."""
        return self._intrinsic("ceil", value)

    def sqrt(self, value: Value) -> Value:
        """Square root."""
        return self._intrinsic("sqrt", value)

    def absolute(self, value: Value) -> Value:
        """Magnitude of floats."""
        return self._intrinsic("fabs", value)

    def smallest_lane(self, value: Value) -> Value:
        """Minimum over the lanes of a vector of floats (none of them NaN) or I32."""
        return self._reduce("fmin" if value.kind == FLOAT else "smin", value)

    def largest_lane(self, value: Value) -> Value:
        """Maximum over the lanes of a vector of floats (none of them NaN) or I32."""
        return self._reduce("fmax" if value.kind == FLOAT else "smax", value)

    def common_bits(self, value: Value) -> Value:
        """AND of the lanes of an I32 vector."""
        return self._reduce("and", value)

    def any_lane(self, condition: Value) -> Value:
        """Whether a condition holds in some lane."""
        bits = self.emit(f"bitcast {condition.type} {condition.text} to i{condition.lanes}", f"i{condition.lanes}", 0)
        return self.differs(bits, 0)

    def differs(self, left: Value, right: Operand) -> Value:
        """Inequality of integers, lane by lane."""
        a, b = self._pair(left, right)
        return self.emit(f"icmp ne {a.type} {a.text}, {b.text}", I1, a.lanes)

    # Lanes ----------------------------------------------------------------------------------------------------------------------

    def join(self, left: Value, right: Value) -> Value:
        """The lanes of two vectors, one after the other."""
        return self._shuffle(left, right, 0, left.lanes + right.lanes)

    def part(self, value: Value, start: int, count: int) -> Value:
        """`count` lanes from number `start`."""
        return self._shuffle(value, value, start, count)

    def _shuffle(self, left: Value, right: Value, start: int, count: int) -> Value:
        mask = ", ".join(f"i32 {lane}" for lane in range(start, start + count))
        operands = f"{left.type} {left.text}, {right.type} {right.text}"
        return self.emit(f"shufflevector {operands}, <{count} x i32> <{mask}>", left.kind, count)

    def lookup(self, tables: Sequence[Value], index: Value) -> Value:
        """Entries of a table in 2, 4 or 8 registers of 16 numbers; higher bits of `index` do not count. AVX-512 alone."""
        half = len(tables) // 2
        if half > 1:
            low, high = self.lookup(tables[:half], index), self.lookup(tables[half:], index)
            return self.select(self.differs(index & (16 * half), 0), high, low)
        one, two = tables
        name = f"@llvm.x86.avx512.vpermi2var.{'ps' if one.kind == FLOAT else 'd'}.512"
        self._declarations.add(f"declare {one.type} {name}({one.type}, {index.type}, {one.type})")
        operands = ", ".join(f"{v.type} {v.text}" for v in (one, index, two))
        return self.emit(f"call {one.type} {name}({operands})", one.kind, one.lanes)

    # Memory ---------------------------------------------------------------------------------------------------------------------

    def offset(self, pointer: Value, index: Operand, kind: str) -> Value:
        """Address of element `index` (scalar or vector) of an array of `kind`."""
        index = index if isinstance(index, Value) else self.constant(index, I64)
        return self.emit(f"getelementptr {kind}, ptr {pointer.text}, {index.type} {index.text}", POINTER, index.lanes)

    def load(self, pointer: Value, index: Operand, kind: str, lanes: int = 0) -> Value:
        """Element `index` (scalar) of an array of `kind`, or the `lanes` elements from there."""
        address = self.offset(pointer, index, kind).text
        if not lanes:
            return self.emit(f"load {kind}, ptr {address}", kind, 0)
        return self.emit(f"load <{lanes} x {kind}>, ptr {address}, align {_BYTES[kind]}", kind, lanes)

    def gather(self, addresses: Value, kind: str, where: Value, alignment: int) -> Value:
        """Elements at a vector of addresses; zero in the lanes where `where` does not hold."""
        result, pointers = f"<{addresses.lanes} x {kind}>", addresses.type
        name = f"@llvm.masked.gather.v{addresses.lanes}{kind}.v{addresses.lanes}p0"
        self._declarations.add(f"declare {result} {name}({pointers}, i32, {where.type}, {result})")
        call = f"call {result} {name}({pointers} {addresses.text}, i32 {alignment}, {where.type} {where.text}, {result} zeroinitializer)"
        return self.emit(call, kind, addresses.lanes)

    def prefetch(self, pointer: Value) -> None:
        """Begin to load the cache line of an address, which may lie anywhere."""
        self._declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.line(f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 0, i32 3, i32 1)")

    def store(self, value: Value, pointer: Value, where: Value) -> None:
        """Store the lanes in which `where` holds, one after the other, at `pointer`."""
        element = "f32" if value.kind == FLOAT else value.kind
        name = f"@llvm.masked.store.v{value.lanes}{element}.p0"
        self._declarations.add(f"declare void {name}({value.type}, ptr, i32, {where.type})")
        alignment = _BYTES[value.kind]
        self.line(f"call void {name}({value.type} {value.text}, ptr {pointer.text}, i32 {alignment}, {where.type} {where.text})")

    def scatter(self, value: Value, addresses: Value, where: Value) -> None:
        """Store each lane in which `where` holds at its own address."""
        element = "f32" if value.kind == FLOAT else value.kind
        name = f"@llvm.masked.scatter.v{value.lanes}{element}.v{value.lanes}p0"
        self._declarations.add(f"declare void {name}({value.type}, {addresses.type}, i32, {where.type})")
        operands = f"{value.type} {value.text}, {addresses.type} {addresses.text}, i32 {_BYTES[value.kind]}"
        self.line(f"call void {name}({operands}, {where.type} {where.text})")

    # Control --------------------------------------------------------------------------------------------------------------------

    def variable(self, initial: Value) -> Variable:
        """A variable that holds `initial`."""
        made = Variable(self, initial, self.allocate(initial.type))
        made.value = initial
        return made

    def variables(self, count: int, kind: str, lanes: int = 0) -> Callable[[Value], Variable]:
        """`count` variables, told apart by an I32 index."""
        like = Value(self, "", kind, lanes)
        place = Value(self, self.allocate(f"[{count} x {like.type}]"), POINTER, 0)

        def at(index: Value) -> Variable:
            return Variable(self, like, self.offset(place, index, like.type).text)

        return at

    @contextmanager
    def loop(self, start: Operand, stop: Value) -> Iterator[Value]:
        """For an I32 counter from `start` to `stop`, not included."""
        counter = self.variable(self.like(start, stop))
        head, body, end = (self._label(part) for part in ("head", "body", "end"))
        self.line(f"br label %{head}")
        self.line(f"{head}:")
        now = counter.value
        more = now < stop
        self.line(f"br i1 {more.text}, label %{body}, label %{end}")
        self.line(f"{body}:")
        yield now
        counter.value = now + 1
        self.line(f"br label %{head}")
        self.line(f"{end}:")

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Only where a scalar condition holds."""
        body, end = self._label("then"), self._label("end")
        self.line(f"br i1 {condition.text}, label %{body}, label %{end}")
        self.line(f"{body}:")
        yield
        self.line(f"br label %{end}")
        self.line(f"{end}:")

    # Text -----------------------------------------------------------------------------------------------------------------------

    def emit(self, instruction: str, kind: str, lanes: int) -> Value:
        """Append an instruction that yields a value."""
        self._counter += 1
        self.line(f"%v{self._counter} = {instruction}")
        return Value(self, f"%v{self._counter}", kind, lanes)

    def line(self, text: str) -> None:
        """Append a line."""
        self._body.append(text)

    def allocate(self, type_: str) -> str:
        """A stack slot, made on entry; the optimiser turns it into a register."""
        self._counter += 1
        self._entry.append(f"%v{self._counter} = alloca {type_}")
        return f"%v{self._counter}"

    def text(self) -> str:
        """The module as LLVM assembly."""
        parameters = ", ".join(f"{kind} {'noalias ' if kind == POINTER else ''}%{name}" for name, kind in self._kinds.items())
        lines = [
            *sorted(self._declarations),
            f"define void @{self.name}({parameters}) #0 {{",
            "entry:",
            *self._entry,
            *self._body,
            "ret void",
            "}",
        ]
        # Without these, compilers for some Intel processors split 512-bit vectors in two.
        attributes = 'attributes #0 = { nounwind "min-legal-vector-width"="512" "prefer-vector-width"="512" }'
        return "\n".join([*lines, attributes]) + "\n"

    def compile(self, target: Target) -> Callable[..., None]:
        """Machine code for `target`, as a function that releases the interpreter lock while it runs."""
        return target.compile(self.text(), self.name, [_C_TYPES[kind] for kind in self._kinds.values()])

    def _label(self, part: str) -> str:
        self._counter += 1
        return f"{part}{self._counter}"

    def _intrinsic(self, name: str, *arguments: Value) -> Value:
        first = arguments[0]
        suffix = f"v{first.lanes}f32" if first.lanes else "f32"
        self._declarations.add(f"declare {first.type} @llvm.{name}.{suffix}({', '.join(a.type for a in arguments)})")
        return self.emit(
            f"call {first.type} @llvm.{name}.{suffix}({', '.join(f'{a.type} {a.text}' for a in arguments)})", first.kind, first.lanes
        )

    def _reduce(self, name: str, value: Value) -> Value:
        element, flags = ("f32", "nnan ") if value.kind == FLOAT else (value.kind, "")
        full = f"@llvm.vector.reduce.{name}.v{value.lanes}{element}"
        self._declarations.add(f"declare {value.kind} {full}({value.type})")
        return self.emit(f"call {flags}{value.kind} {full}({value.type} {value.text})", value.kind, 0)
