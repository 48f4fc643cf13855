"""From a Python function to an object file: numba compiles it, a thin wrapper makes it callable from CPython.

The object file refers to nothing of numba, so that `machine` runs it without numba: the wrappers that numba adds are cut off, and a
symbol named in the code that the process itself does not offer is an error here, not a crash when the file is loaded.
"""

import ctypes
from typing import Any

import llvmlite.binding as llvm

from xarb.errors import InvariantBroken

# One argument: from a Python int to an i64. %o0 is args[0].
_ARGUMENT = """
argument{0}:
  %p{0} = getelementptr ptr, ptr %args, i64 {0}
  %o{0} = load ptr, ptr %p{0}
  %v{0} = call i64 @PyLong_AsLongLong(ptr %o{0})
  %m{0} = icmp eq i64 %v{0}, -1
  br i1 %m{0}, label %doubt{0}, label %argument{1}
doubt{0}:
  %e{0} = call ptr @PyErr_Occurred()
  %f{0} = icmp eq ptr %e{0}, null
  br i1 %f{0}, label %argument{1}, label %failed
"""
# The end of an array that owns its memory is never reached: views own nothing, and what allocates is an outside symbol, refused below.
# The whole: METH_FASTCALL in, numba's calling convention (status; result and exception by pointer) out, without the GIL. `self` is a
# Python function that raises: numba, where it is loaded, gives the names of exceptions another meaning than CPython's.
_WRAPPER = """
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyErr_Occurred()
declare ptr @PyObject_CallFunctionObjArgs(ptr, ...)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare void @Py_IncRef(ptr)
@_Py_NoneStruct = external global i8
declare i32 @"{native}"({types})
declare void @llvm.trap()
define void @NRT_MemInfo_call_dtor(ptr %owner) {{
  call void @llvm.trap()
  unreachable
}}

define ptr @"{symbol}"(ptr %self, ptr %args, i64 %count) {{
entry:
  %result = alloca {kind}
  %exception = alloca ptr
  store {kind} zeroinitializer, ptr %result
  store ptr null, ptr %exception
  %good = icmp eq i64 %count, {count}
  br i1 %good, label %argument0, label %refused
failed:
  ret ptr null
{arguments}
argument{count}:
  %thread = call ptr @PyEval_SaveThread()
  %status = call i32 @"{native}"(ptr %result, ptr %exception{values})
  call void @PyEval_RestoreThread(ptr %thread)
  %fine = icmp eq i32 %status, 0
  br i1 %fine, label %returns, label %refused
refused:
  %why = phi i64 [ 0, %entry ], [ 1, %argument{count} ]
  %number = call ptr @PyLong_FromLongLong(i64 %why)
  %raises = call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(ptr %self, ptr %number, ptr null)
  ret ptr null
returns:
{returns}
}}
"""
_NONE = """
  call void @Py_IncRef(ptr @_Py_NoneStruct)
  ret ptr @_Py_NoneStruct
"""
_INT = """
  %value = load i64, ptr %result
  %made = call ptr @PyLong_FromLongLong(i64 %value)
  ret ptr %made
"""
_ITEM = """
  %at{0} = getelementptr i64, ptr %result, i64 {0}
  %value{0} = load i64, ptr %at{0}
  %item{0} = call ptr @PyLong_FromLongLong(i64 %value{0})
  %set{0} = call i32 @PyTuple_SetItem(ptr %tuple, i64 {0}, ptr %item{0})
"""


def lower(dispatcher: Any, symbol: str) -> bytes:
    """Compile an entry point, given as numba's dispatcher, for int64 arguments; the object file exports it as `symbol`.

    Raises:
        InvariantBroken: it returns something else than nothing, an int64 or a tuple of them, or needs a symbol of numba's.
    """
    from numba import types

    signature = (types.int64,) * dispatcher.py_func.__code__.co_argcount
    dispatcher.compile(signature)
    made = dispatcher.overloads[signature]
    module = llvm.parse_assembly(made.library.get_llvm_str())
    module.link_in(llvm.parse_assembly(_wrapper(symbol, made.fndesc.llvm_func_name, made.signature)))
    triple, cpu, features = made.library.codegen.magic_tuple()
    target = llvm.Target.from_triple(triple)
    options = {"reloc": "static"} if target.name.startswith("x86") else {}  # as numba does
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3, jit=True, **options)
    _cut_to(module, symbol, machine)
    _check_symbols(module)
    code: bytes = machine.emit_object(module)
    return code


def _wrapper(symbol: str, native: str, signature: Any) -> str:
    count = len(signature.args)
    kind, returns = _result(signature.return_type)
    return _WRAPPER.format(
        symbol=symbol,
        native=native,
        kind=kind,
        returns=returns,
        count=count,
        types=", ".join(["ptr", "ptr", *["i64"] * count]),
        values="".join(f", i64 %v{number}" for number in range(count)),
        arguments="".join(_ARGUMENT.format(number, number + 1) for number in range(count)),
    )


def _result(kind: Any) -> tuple[str, str]:
    """The LLVM type of a result and the code that makes a Python object of it."""
    from numba import types

    if kind == types.none:
        return "ptr", _NONE
    if kind == types.int64:
        return "i64", _INT
    if isinstance(kind, types.UniTuple) and kind.dtype == types.int64:
        items = "".join(_ITEM.format(number) for number in range(kind.count))
        return f"[{kind.count} x i64]", f"  %tuple = call ptr @PyTuple_New(i64 {kind.count})\n{items}  ret ptr %tuple"
    raise InvariantBroken(f"an entry point returns {kind}")


def _cut_to(module: llvm.ModuleRef, symbol: str, machine: llvm.TargetMachine) -> None:
    """Remove everything that the function `symbol` does not need."""
    for one in (*module.functions, *module.global_variables):
        if not one.is_declaration and one.name != symbol:
            one.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))


def _check_symbols(module: llvm.ModuleRef) -> None:
    """Every outside symbol must be one that the process offers by itself: CPython's, or the C library's."""
    process = ctypes.CDLL(None)
    for one in (*module.functions, *module.global_variables):
        if one.is_declaration and not one.name.startswith("llvm.") and not hasattr(process, one.name):
            raise InvariantBroken(f"compiled code needs {one.name}, which only numba offers")
