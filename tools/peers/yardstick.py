"""A hand-written forward kernel for Hopper (attention_sm90.cu of a folder given by --yardstick) as one more contender, on the same
tensors in the same process: compiled by NVRTC with the macros of a variant, launched through the driver on PyTorch's stream."""
import ctypes
import glob
import math
import os

import torch

VARIANTS = {  # (head size, causal): the better of them is the yardstick
    (128, False): ["BM=192 BN=80 SUM=1 OSEP=1 STAGES=3", "BM=128 BN=128 OSEP=1"],
    (128, True): ["BM=192 BN=80 OSEP=1 STAGES=3 DYNAMIC=1", "BM=128 BN=128 OSEP=1 DYNAMIC=1"],
    (64, False): ["BM=192 BN=128 OSEP=1 HOLD=1 AHEAD=1", "BM=192 BN=128 OSEP=1 STAGES=3"],
    (64, True): ["BM=192 BN=128 OSEP=1 STAGES=3 DYNAMIC=1", "BM=128 BN=128 OSEP=1 DYNAMIC=1"],
    (256, False): ["BM=128 BN=80 AHEAD=1", "BM=128 BN=48 OSEP=1"],
    (256, True): ["BM=128 BN=80 AHEAD=1 DYNAMIC=1", "BM=128 BN=48 OSEP=1 DYNAMIC=1"],
}


class _Arguments(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("tq", "tk", "heads", "batch", "row_tiles", "tiles", "section")] + [
        ("scale", ctypes.c_float), ("lse", ctypes.c_void_p), ("counter", ctypes.c_void_p)]


def _open(names):
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    raise RuntimeError(f"none of {names} is found")


def _check(status, what):
    if status:
        raise RuntimeError(f"{what}: {status}")


_modules = {}


def _function(folder, d, causal, macros):
    """The kernel of one variant, compiled once."""
    key = (d, causal, macros)
    if key in _modules:
        return _modules[key]
    beside_torch = glob.glob(os.path.join(os.path.dirname(torch.__file__), "..", "nvidia", "**", "libnvrtc.so*"), recursive=True)
    nvrtc = _open(["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", *beside_torch])
    cuda = _open(["libcuda.so.1"])
    with open(os.path.join(folder, "attention_sm90.cu"), "rb") as f:
        source = f.read()
    words = ["-arch=sm_90a", "-std=c++17", "-default-device", "-diag-suppress=177", f"-DD={d}", f"-DCAUSAL={int(causal)}"] + ["-D" + m for m in macros.split()]
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernel.cu", 0, None, None), "nvrtcCreateProgram")
    _check(nvrtc.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*(w.encode() for w in words))), "nvrtcCompileProgram")
    _check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)), "nvrtcGetCUBINSize")
    image = ctypes.create_string_buffer(size.value)
    _check(nvrtc.nvrtcGetCUBIN(program, image), "nvrtcGetCUBIN")
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _check(cuda.cuModuleLoadData(ctypes.byref(module), image), "cuModuleLoadData")
    _check(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"attention"), "cuModuleGetFunction")
    _modules[key] = cuda, function
    return _modules[key]


def _map(cuda, x, rows, keep):
    """x [b,h,t,d] in boxes of `rows` rows, 64 values wide, one box for all of d, swizzled by 128 bytes."""
    b, h, t, d = x.shape
    raw = ctypes.create_string_buffer(128 + 64)
    address = (ctypes.addressof(raw) + 63) // 64 * 64
    dims = (ctypes.c_uint64 * 5)(64, t, d // 64, h, b)
    strides = (ctypes.c_uint64 * 4)(x.stride(2) * 2, 128, x.stride(1) * 2, x.stride(0) * 2)
    box, one = (ctypes.c_uint32 * 5)(64, rows, d // 64, 1, 1), (ctypes.c_uint32 * 5)(1, 1, 1, 1, 1)
    bf16, no_interleave, swizzle_128, promote_256, fill_zero = 9, 0, 3, 3, 0
    _check(cuda.cuTensorMapEncodeTiled(ctypes.c_void_p(address), bf16, 5, ctypes.c_void_p(x.data_ptr()), dims, strides, box, one,
                                       no_interleave, swizzle_128, promote_256, fill_zero), "cuTensorMapEncodeTiled")
    keep.append(raw)
    return address


def bind(folder, macros, q, k, v, o, causal):
    """A call on these tensors [b,h,t,d], contiguous, equal lengths."""
    b, h, t, d = q.shape
    number = {m.split("=")[0]: int(m.split("=")[1]) for m in macros.split()}
    bm, bn, stages, apart = number["BM"], number["BN"], number.get("STAGES", 2), number.get("OSEP", 0)
    cuda, function = _function(folder, d, causal, macros)
    keep = [q, k, v, o]
    maps = [_map(cuda, x, rows, keep) for x, rows in ((q, 64), (k, bn), (v, bn), (o, 64))]
    groups, row_tiles, section = bm // 64, -(-t // bm), 1
    while section * 2 * 4 * t * d <= 32 << 20 and section < h * b:
        section *= 2
    counter = torch.zeros(16, dtype=torch.int32, device="cuda")
    arguments = _Arguments(t, t, h, b, row_tiles, row_tiles * h * b, section, 1 / math.sqrt(d), None, counter.data_ptr())
    shared = groups * 64 * d * 2 * (1 + apart) + 2 * stages * bn * d * 2 + 8 * (4 * stages + 2 * groups + 4) + 16
    _check(cuda.cuFuncSetAttribute(function, 8, shared), "cuFuncSetAttribute")
    parameters = (ctypes.c_void_p * 5)(*maps, ctypes.addressof(arguments))
    grid = min(torch.cuda.get_device_properties(0).multi_processor_count, arguments.tiles)
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    keep.extend((counter, arguments))

    def call():
        _check(cuda.cuLaunchKernel(function, grid, 1, 1, 128 * (groups + 1), 1, 1, shared, stream, parameters, None), "cuLaunchKernel")

    call.keep = keep
    return call
