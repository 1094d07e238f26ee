"""Work bound by moving bytes: normalisations, scans, reductions, selection, gather and scatter. GB/s: each input read once, each output
written once; the column mean-centre counts its input twice."""
import math

import torch
import torch.nn.functional as F

TEXT = """
kernel softmax_rows<T: type>(x: T[M,N]) -> (y: T[M,N]) { y[m,n] = softmax[n](x[m,n]) }
kernel rms_norm<T: type>(x: T[M,N], w: T[N]) -> (y: T[M,N]) {
  y[m,n] = x[m,n] * rsqrt(mean[n](x[m,n] * x[m,n]) + 1e-6) * w[n]
}
kernel layer_norm<T: type>(x: T[M,N], w: T[N], b: T[N]) -> (y: T[M,N]) {
  y[m,n] = (x[m,n] - mean[n](x[m,n])) * rsqrt(var[n](x[m,n]) + 1e-5) * w[n] + b[n]
}
kernel largest(x: f32[M,N]) -> (at: i32[M]) { at[m] = argmax[n](x[m,n]) }
kernel row_sums(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = cumsum[n](x[m,n]) }
kernel vector_sums(x: f32[N]) -> (y: f32[N]) { y[n] = cumsum[n](x[n]) }
kernel total(x: f32[N]) -> (y: f32) { y = sum[n](x[n]) }
kernel centre(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = x[m,n] - mean[m](x[m,n]) }
kernel top8(x: f32[M,N]) -> (v: f32[M,8], at: i32[M,8]) { v[m,j], at[m,j] = topk[n -> j in 0:8](x[m,n]) }
kernel gather(x: f32[V,E], ids: i32[T] in 0:V) -> (y: f32[T,E]) { y[t,e] = x[ids[t],e] }
kernel scatter(inout w: f32[V,E], ids: i32[T] in 0:V, g: f32[T,E]) { w[ids[t],e] += g[t,e] }
kernel copy(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] }
"""


def one(suite, name, kernel, inputs, outputs, error, peers, moved, limit, asked, settings=None, start=None):
    """`error`: of a list of results, against the reference. `start`: brings what the kernel updates back to its start and
    names it, where the results are not `outputs`. A peer returns its result, or several."""
    if not suite.wanted(name):
        return

    def judge(result):
        result = updated or (outputs if result is None else [result] if isinstance(result, torch.Tensor) else list(result))
        return error(result) if all(bool(torch.isfinite(x).all()) for x in result if x.is_floating_point()) else math.inf

    contenders, errors = {}, {}
    for who, make in {"quern": lambda: suite.quern(TEXT, kernel, inputs, outputs, **(settings or {})), **{w: lambda p=p: p for w, p in peers.items()}}.items():
        for x in outputs:
            x.fill_(math.nan if x.is_floating_point() else -1)
        updated = start() if start else None
        suite.add(name, contenders, errors, who, make, judge)
    suite.report(name, errors, contenders, limit, moved, "GB/s", 1e-9, asked)


def rows(suite):
    close = lambda want: lambda out: ((out[0].double() - want).abs().max() / want.abs().max()).item()  # noqa: E731
    wrong = lambda *tests: float(sum(t.sum().item() for t in tests))  # noqa: E731
    bf16 = {"T": torch.bfloat16}
    x = torch.randn(32768, 8192, device="cuda", dtype=torch.bfloat16)
    w, bb, y = torch.randn(8192, device="cuda", dtype=torch.bfloat16), torch.randn(8192, device="cuda", dtype=torch.bfloat16), torch.empty_like(x)
    both = 2 * x.numel() * 2
    c_softmax = torch.compile(lambda x: torch.softmax(x, -1))
    c_rms = torch.compile(lambda x, w: F.rms_norm(x, (8192,), w, 1e-6))
    c_layer = torch.compile(lambda x, w, b: F.layer_norm(x, (8192,), w, b, 1e-5))
    one(suite, "rows-softmax", "softmax_rows", [x], [y], close(torch.softmax(x.double(), -1)),
        {"compile": lambda: c_softmax(x)}, both, 1e-2, {"GB/s": 4000}, bf16)
    one(suite, "rows-rms", "rms_norm", [x, w], [y], close(F.rms_norm(x.double(), (8192,), w.double(), 1e-6)),
        {"compile": lambda: c_rms(x, w)}, both, 1e-2, {"GB/s": 4000}, bf16)
    one(suite, "rows-layer", "layer_norm", [x, w, bb], [y], close(F.layer_norm(x.double(), (8192,), w.double(), bb.double(), 1e-5)),
        {"compile": lambda: c_layer(x, w, bb)}, both, 1e-2, {"GB/s": 4000}, bf16)
    del x, y
    x = torch.randn(16384, 16384, device="cuda")
    y = torch.empty_like(x)
    at = torch.empty(16384, device="cuda", dtype=torch.int32)
    one(suite, "rows-argmax", "largest", [x], [at], lambda out: wrong(x.gather(1, out[0].long()[:, None])[:, 0] != x.amax(1)),
        {"eager": lambda: x.argmax(1)}, x.numel() * 4, 0.0, {"GB/s": 4000})
    one(suite, "rows-cumsum", "row_sums", [x], [y], close(torch.cumsum(x.double(), 1)),
        {"eager": lambda: torch.cumsum(x, 1)}, x.numel() * 8, 1e-5, {"GB/s": 3600})
    one(suite, "rows-centre", "centre", [x], [y], close(x - x.double().mean(0)), {"eager": lambda: x - x.mean(0)}, x.numel() * 12, 1e-5, {"ms": 0.80})
    top = lambda x: lambda out: wrong(out[0] != x.sort(1, descending=True).values[:, :8], x.gather(1, out[1].long()) != out[0])  # noqa: E731
    v8, a8 = torch.empty(16384, 8, device="cuda"), torch.empty(16384, 8, device="cuda", dtype=torch.int32)
    one(suite, "rows-top8", "top8", [x], [v8, a8], top(x), {"eager": lambda: torch.topk(x, 8, 1)}, x.numel() * 4, 0.0, {"GB/s": 3000})
    z = torch.randn(65536, 128, device="cuda")
    vz, az = torch.empty(65536, 8, device="cuda"), torch.empty(65536, 8, device="cuda", dtype=torch.int32)
    one(suite, "rows-top8-short", "top8", [z], [vz, az], top(z), {"eager": lambda: torch.topk(z, 8, 1)}, z.numel() * 4, 0.0, {"GB/s": 1500})
    flat, out = x.view(-1), y.view(-1)
    one(suite, "rows-copy", "copy", [flat], [out], lambda o: wrong(o[0] != flat), {"eager": lambda: out.copy_(flat)}, flat.numel() * 8, 0.0, {})
    result = torch.empty((), device="cuda")
    one(suite, "rows-total", "total", [flat], [result], lambda o: abs(o[0].item() - flat.double().sum().item()) / flat.double().abs().sum().item(),
        {"eager": lambda: flat.sum()}, flat.numel() * 4, 1e-6, {"GB/s": 4100})
    one(suite, "rows-scan", "vector_sums", [flat], [out], lambda o: ((o[0].double() - torch.cumsum(flat.double(), 0)).abs().max() / 16384).item(),
        {"eager": lambda: torch.cumsum(flat, 0)}, flat.numel() * 8, 1e-4, {"GB/s": 3400})
    del x, y, flat, out
    table = torch.randn(1 << 20, 128, device="cuda")
    ids = torch.randint(0, 1 << 20, (1 << 21,), device="cuda", dtype=torch.int32)
    got = torch.empty(1 << 21, 128, device="cuda")
    one(suite, "rows-gather", "gather", [table, ids], [got], lambda o: wrong(o[0] != table[ids.long()]),
        {"eager": lambda: table.index_select(0, ids)}, 2 * got.numel() * 4, 0.0, {"GB/s": 3000})
    got.normal_()
    long_ids = ids.long()
    zero = torch.zeros_like(table)
    want = torch.zeros(1 << 20, 128, device="cuda", dtype=torch.float64).index_add_(0, long_ids, got.double())
    one(suite, "rows-scatter", "scatter", [zero, ids, got], [], close(want),
        {"eager": lambda: zero.index_add_(0, long_ids, got)}, 3 * got.numel() * 4, 1e-5, {"GB/s": 1700}, start=lambda: [zero.zero_()])
