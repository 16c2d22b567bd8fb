"""Which imports of a pickle are weights, which are bookkeeping, and which are code."""

from __future__ import annotations

import re

from inspector.audit.readers.known_classes import CYTHON, KNOWN, KNOWN_MODULES, is_only_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.audit.readers.pickle_values import Global


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TORCH_TYPES: Final = _words(
    "Size device dtype layout memory_format Tensor float float16 float32 float64 half double bfloat16 int int8 "
    "int16 int32 int64 short long bool uint8 uint16 uint32 uint64 complex32 complex64 complex128 cfloat cdouble "
    "qint8 quint8 qint32 quint4x2 quint2x4 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz "
    "float8_e8m0fnu strided sparse_coo sparse_csr per_tensor_affine per_channel_affine per_tensor_symmetric "
    "per_channel_symmetric contiguous_format preserve_format channels_last Generator"
)
# What torch's weights_only unpickler takes, and what NumPy arrays and plain containers are made of.
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "collections": _words("OrderedDict defaultdict Counter deque"),
    "builtins": _words(
        "set frozenset dict list tuple int float bool complex str bytes bytearray slice range object NoneType Ellipsis "
        "xrange unicode long"
    ),
    "_codecs": _words("encode"),
    "copyreg": _words("_reconstructor"),
    "torch._utils": _words(
        "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state "
        "_rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_nested_tensor _rebuild_qtensor "
        "_rebuild_meta_tensor_no_storage _rebuild_wrapper_subclass _rebuild_device_tensor_from_numpy "
        "_rebuild_device_tensor_from_cpu_tensor _rebuild_xla_tensor"
    ),
    "torch._tensor": _words("_rebuild_from_type_v2 Tensor"),
    "torch": _TORCH_TYPES,
    "torch.storage": _words("TypedStorage UntypedStorage _TypedStorage _UntypedStorage"),
    "torch.nn.parameter": _words("Parameter Buffer UninitializedParameter"),
    "torch.serialization": _words("_get_layout"),
    "torch._C._nn": frozenset(),
    "torch.torch_version": _words("TorchVersion"),
    "torch.distributed._shard.sharded_tensor.api": _words("ShardedTensor"),
    "numpy": _words("ndarray dtype generic") | _words("bool_ int8 int16 int32 int64 uint8 float16 float32 float64"),
    "numpy.core.multiarray": _words("_reconstruct scalar"),
    "numpy._core.multiarray": _words("_reconstruct scalar"),
    "numpy.core.numeric": _words("_frombuffer"),
    "numpy._core.numeric": _words("_frombuffer"),
    "numpy.dtypes": frozenset(),
    "joblib.numpy_pickle": _words("NumpyArrayWrapper"),
    "numpy.random": frozenset(),
}
_STORAGES: Final = _words(
    "DoubleStorage FloatStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage "
    "ByteStorage BoolStorage ComplexDoubleStorage ComplexFloatStorage QUInt8Storage QInt8Storage QInt32Storage "
    "QUInt4x2Storage QUInt2x4Storage UntypedStorage TypedStorage _UntypedStorage _TypedStorage Float8_e4m3fnStorage "
    "Float8_e5m2Storage Float8_e4m3fnuzStorage Float8_e5m2fnuzStorage UInt16Storage UInt32Storage UInt64Storage"
)
_OLD_MODULES: Final = {"__builtin__": "builtins", "copy_reg": "copyreg", "torch.tensor": "torch._tensor"}
_BOOKKEEPING: Final = _words(
    "argparse.Namespace pathlib.PosixPath pathlib.WindowsPath pathlib.PurePosixPath pathlib.PureWindowsPath "
    "pathlib.Path pathlib._local.PosixPath pathlib._local.Path datetime.datetime datetime.date datetime.time "
    "datetime.timedelta datetime.timezone uuid.UUID decimal.Decimal types.SimpleNamespace fractions.Fraction "
    "typing.Any collections.abc.Mapping _weakrefset.WeakSet random.Random zoneinfo.ZoneInfo._unpickle "
    "torch.torch_version.TorchVersion torch.jit._pickle.build_intlist torch.jit._pickle.build_tensorlist "
    "torch.jit._pickle.build_doublelist torch.jit._pickle.build_boollist "
    "torch.jit._pickle.build_tensor_from_id torch.jit._pickle.restore_type_tag"
)
_CONFIGS: Final = re.compile(r"transformers\.models\.\w+\.configuration_\w+")


def _is_known(module: str, name: str) -> bool:
    """Whether the tables of classes that checkpoints honestly hold have it."""
    package = module.partition(".")[0]
    if name in KNOWN.get(package, ()):
        return True
    if any(module.startswith(prefix) and name in names for prefix, names in KNOWN_MODULES):
        return True
    if package in CYTHON and re.fullmatch(r"__pyx_unpickle_\w+", name):
        return True
    return _CONFIGS.fullmatch(module) is not None and name.endswith("Config") and name.isidentifier()


def weigh(found: Global) -> str:
    """ "weights" (nothing to say), "class" (a known library's class: bookkeeping) or "code"."""
    module = _OLD_MODULES.get(found.module, found.module)
    module = module.removeprefix("sklearn.externals.") if module.startswith("sklearn.externals.joblib.") else module
    name = found.name
    if name in _ALLOWED.get(module, ()):
        return "weights"
    if f"{module}.{name}" in _BOOKKEEPING:
        return "class"
    if not name.isidentifier():  # protocol 4 walks dots: Class.__init__.__globals__
        return "code"
    if module in {"torch", "torch.cuda", "torch.storage"} and name in _STORAGES:
        return "weights"
    if module == "numpy.dtypes" and name.endswith("DType"):
        return "weights"
    if module.split(".")[0] == "__torch__":
        return "class"  # TorchScript: classes of its own language, read by its own reader
    if found.called and is_only_named(module.partition(".")[0], name):
        return "code"
    return "class" if _is_known(module, name) else "code"


DANGEROUS: Final = _words(
    "os posix nt subprocess sys builtins __builtin__ runpy importlib shutil socket pty commands code codeop bdb "
    "pdb timeit webbrowser ctypes multiprocessing asyncio requests urllib httplib http ftplib smtplib aiohttp "
    "pickle _pickle dill cloudpickle marshal types functools operator _operator pip site sysconfig venv ensurepip "
    "doctest trace profile cProfile idlelib tempfile io _io platform signal threading _thread tarfile zipfile "
    "torch numpy"
)


def is_danger(found: Global) -> bool:
    """Whether the module is one that attacks use; for the words of the finding only."""
    return found.module.split(".")[0] in DANGEROUS
