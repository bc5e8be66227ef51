"""The plain values of a pickle of Python 2, read without Python's own unpickler: nothing in it is called or imported.

The python version of CIFAR-10 is pickles, and a pickle may name any function to call. This reader knows the opcodes
that numbers, texts, lists, dicts and NumPy arrays take and refuses every other. Where a pickle says that a function be
called, it keeps the name and the arguments (`Made`); `array_of` makes an array of those that describe one.
"""

import math
import pickletools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protgen.errors import DataError

# Functions whose calls are kept as names; none of them is called.
NAMED = frozenset({"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"})
MOST_STEPS = 1_000_000  # opcodes of a pickle; a batch of CIFAR-10 has some 60,000
TEXTS = frozenset({"BINSTRING", "SHORT_BINSTRING", "BINUNICODE"})
NUMBERS = frozenset({"BININT", "BININT1", "BININT2"})
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names."""

    text: str


@dataclass
class Made:
    """A call that a pickle asks for, and the state it sets on the result; none of it done."""

    name: Name
    arguments: tuple
    state: Any = None


@dataclass
class Machine:
    """The stack, marks and memo of a pickle under way."""

    stack: list = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self, count: int) -> list:
        """The last values of the stack, above the last mark alone.

        Raises:
            DataError: if there are fewer.
        """
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < count:
            raise DataError("takes values that are not there")
        return self.cut(len(self.stack) - count)

    def pop_mark(self) -> list:
        """The values above the last mark.

        Raises:
            DataError: if there is no mark.
        """
        if not self.marks:
            raise DataError("takes a mark that is not there")
        return self.cut(self.marks.pop())

    def cut(self, start: int) -> list:
        """The values from a place on, taken off the stack."""
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def top(self, kind: type) -> Any:
        """The last value, of that kind.

        Raises:
            DataError: if it is another.
        """
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise DataError(f"adds to what is no {kind.__name__.lower()}")
        return self.stack[-1]

    def do(self, opcode: str, argument: Any) -> None:
        """One opcode.

        Raises:
            DataError: if it is none that plain values take, or finds what it cannot use.
        """
        if opcode in TEXTS or opcode in NUMBERS:
            self.stack.append(argument)
        elif opcode in CONSTANTS:
            self.stack.append(CONSTANTS[opcode])
        elif opcode == "MARK":
            self.marks.append(len(self.stack))
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.top(object)
        elif opcode in ("BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise DataError("asks for a value that it did not keep")
            self.stack.append(self.memo[argument])
        elif opcode in ("GLOBAL", "REDUCE", "BUILD"):
            self.name(opcode, argument)
        else:
            self.collect(opcode)

    def collect(self, opcode: str) -> None:
        """Make a tuple, list or dict, or add to one."""
        if opcode in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
            self.stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[opcode]())
        elif opcode in TUPLES:
            self.stack.append(tuple(self.pop(TUPLES[opcode])))
        elif opcode == "TUPLE":
            self.stack.append(tuple(self.pop_mark()))
        elif opcode in ("APPEND", "APPENDS"):
            values = self.pop(1) if opcode == "APPEND" else self.pop_mark()
            self.top(list).extend(values)
        elif opcode in ("SETITEM", "SETITEMS"):
            values = self.pop(2) if opcode == "SETITEM" else self.pop_mark()
            if len(values) % 2 or not all(isinstance(key, str) for key in values[::2]):
                raise DataError("has keys that are no text")
            self.top(dict).update(zip(values[::2], values[1::2], strict=True))
        else:
            raise DataError(f"has the opcode {opcode}, which plain values do not take")

    def name(self, opcode: str, argument: Any) -> None:
        """Keep a name, a call, or a state, without doing it."""
        if opcode == "GLOBAL":
            if argument not in NAMED:
                raise DataError(f"names {argument.replace(' ', '.')[:60]!r}, and nothing but an array is read")
            self.stack.append(Name(argument))
            return
        first, second = self.pop(2)
        if opcode == "REDUCE" and isinstance(first, Name) and isinstance(second, tuple):
            self.stack.append(Made(first, second))
        elif opcode == "BUILD" and isinstance(first, Made) and first.state is None:
            first.state = second
            self.stack.append(first)
        else:
            raise DataError("calls what is no function")


def read_plain(raw: bytes) -> Any:
    """The value of a pickle: numbers, texts (bytes as Latin-1), lists, dicts, tuples, and arrays as `Made`.

    Args:
        raw: the whole pickle.

    Raises:
        DataError: if it holds anything else, or is cut short. The message does not name the file.
    """
    machine = Machine()
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
            if opcode.name == "STOP":
                break
            if step == MOST_STEPS:
                raise DataError(f"has more than {MOST_STEPS:,} steps")
            if opcode.name != "PROTO":
                machine.do(opcode.name, argument)
    except DataError:
        raise
    except Exception as error:  # of pickletools, which is no judge of bytes: ValueError, IndexError, UnicodeError
        raise DataError(f"is no whole pickle ({' '.join(str(error).split())[:80]})") from error
    if len(machine.stack) != 1:
        raise DataError("holds no single value")
    return machine.stack[0]


def array_of(value: Any) -> np.ndarray:
    """The array of bytes that a value of `read_plain` describes.

    Raises:
        DataError: if it describes none.
    """
    if not isinstance(value, Made) or value.name.text != "numpy.core.multiarray _reconstruct":
        raise DataError("has no array where one belongs")
    state = value.state
    if not isinstance(state, tuple) or len(state) != 5:
        raise DataError("has an array without its content")
    _, shape, dtype, by_columns, content = state
    if not isinstance(dtype, Made) or dtype.name.text != "numpy dtype" or dtype.arguments[:1] != ("u1",):
        raise DataError("has an array of other values than bytes")
    sizes = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
    if not sizes or not isinstance(content, str) or math.prod(shape) != len(content):
        raise DataError("has an array whose shape does not fit its content")
    flat = np.frombuffer(content.encode("latin-1"), np.uint8)
    return flat.reshape(shape, order="F" if by_columns else "C")
