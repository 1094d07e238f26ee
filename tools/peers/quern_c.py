"""Quern through its C library, for Python processes that hold a peer: text in, a function of torch tensors out."""
import ctypes
import pathlib

import torch

_CODES = {torch.float32: (2, 32), torch.float64: (2, 64), torch.float16: (2, 16), torch.bfloat16: (4, 16),
          torch.int32: (0, 32), torch.int64: (0, 64), torch.int8: (0, 8), torch.uint8: (1, 8), torch.bool: (6, 8),
          torch.float8_e4m3fn: (10, 8), torch.float8_e5m2: (12, 8)}
_TYPES = {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3, torch.float8_e4m3fn: 4, torch.float8_e5m2: 5}


class _DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class _Argument(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("tensor", ctypes.POINTER(_DLTensor)),
                ("real", ctypes.c_double), ("integer", ctypes.c_int64)]


def load(path):
    library = ctypes.CDLL(str(pathlib.Path(path).resolve()))
    library.quern_options_create.restype = ctypes.c_void_p
    library.quern_options_device.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.quern_options_set.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64]
    library.quern_options_set_type.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.quern_options_stream.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.quern_compile.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
    for name in ("quern_prepare", "quern_launch"):
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.POINTER(_Argument), ctypes.c_size_t]
    library.quern_error.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.quern_synchronize.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    return library


class Kernel:
    """One kernel of a text on the GPU. `settings`: compile-time integers, flags and torch dtypes by name."""

    def __init__(self, library, text, name=None, **settings):
        self.library = library
        options = library.quern_options_create()
        library.quern_options_device(options, 3)
        library.quern_options_stream(options, torch.cuda.current_stream().cuda_stream)
        for key, value in settings.items():
            if isinstance(value, torch.dtype):
                library.quern_options_set_type(options, key.encode(), _TYPES[value])
            else:
                library.quern_options_set(options, key.encode(), int(value))
        self.handle = ctypes.c_void_p()
        status = library.quern_compile(text.encode(), name.encode() if name else None, options, ctypes.byref(self.handle))
        self._check(status)

    def _check(self, status):
        if status:
            buffer = ctypes.create_string_buffer(8192)
            self.library.quern_error(self.handle, buffer, len(buffer))
            raise RuntimeError(buffer.value.decode())

    def bind(self, inputs, outputs, **numbers):
        """A function without arguments that queues one launch on these tensors; compiled when this returns."""
        keep, arguments = [], []

        def tensor(t, kind):
            shape = (ctypes.c_int64 * max(t.dim(), 1))(*t.shape)
            strides = (ctypes.c_int64 * max(t.dim(), 1))(*t.stride())
            code, bits = _CODES[t.dtype]
            d = _DLTensor(t.data_ptr(), 2, t.device.index or 0, t.dim(), code, bits, 1, shape, strides, 0)
            keep.extend((t, shape, strides, d))
            arguments.append(_Argument(None, kind, ctypes.pointer(d), 0.0, 0))

        for t in inputs:
            tensor(t, 0)
        for t in outputs:
            tensor(t, 1)
        for key, value in numbers.items():
            arguments.append(_Argument(key.encode(), 2, None, float(value), 0))
        array = (_Argument * len(arguments))(*arguments)
        self._check(self.library.quern_prepare(self.handle, array, len(arguments)))
        keep.append(array)

        def call():
            status = self.library.quern_launch(self.handle, array, len(arguments))
            if status:
                self._check(status)

        call.keep = keep
        return call
