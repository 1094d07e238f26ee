"""f32, exact: attention of ordinary sizes and of one head (from a CUDA graph: short kernels are not measured by their caller),
distances of all pairs, the nearest neighbour, products. Peers: PyTorch's memory-efficient attention and its composition of
products (tf32 off), cuBLAS, cdist; and our own kernels under @fast (three tf32 products each), which count as peers here."""
import math

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

TEXT = """
kernel attention<D>(q: f32[B,H,M,D], k: f32[B,H,N,D], v: f32[B,H,N,D]) -> (o: f32[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])
}
@fast kernel fast_attention<D>(q: f32[B,H,M,D], k: f32[B,H,N,D], v: f32[B,H,N,D]) -> (o: f32[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])
}
kernel causal<D>(q: f32[B,H,M,D], k: f32[B,H,N,D], v: f32[B,H,N,D]) -> (o: f32[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n where n <= m](s[b,h,m,n]) * v[b,h,n,e])
}
kernel one_head<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {
  o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d]) / sqrt(D)) * v[n,e])
}
@fast kernel fast_one_head<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {
  o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d]) / sqrt(D)) * v[n,e])
}
kernel distances(a: f32[M,K], b: f32[N,K]) -> (d: f32[M,N]) { d[m,n] = norm[k](a[m,k] - b[n,k]) }
kernel by_norms(a: f32[M,K], b: f32[N,K]) -> (d: f32[M,N]) {
  d[m,n] = sqrt(max(sum[k](a[m,k]**2) + sum[k](b[n,k]**2) - 2 * sum[k](a[m,k] * b[n,k]), 0))
}
kernel nearest<K>(a: f32[M,K], b: f32[N,K]) -> (near: i32[M]) {
  near[m] = argmin[n](sum[k](b[n,k]**2) - 2 * sum[k](a[m,k] * b[n,k]))
}
kernel product(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
@fast kernel fast_product(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
@tf32 kernel tf32_product(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
"""


def normal(*shape, seed=1):
    return torch.randn(*shape, device="cuda", generator=torch.Generator("cuda").manual_seed(seed + shape[-2]))


def f32(suite):
    torch.backends.cuda.matmul.allow_tf32 = False
    for b, h, t, d in ((4, 16, 1024, 64), (4, 16, 2048, 128), (1, 8, 4096, 128)):
        for causal in (False, True):
            attention(suite, f"f32-attention-B{b}-H{h}-T{t}-D{d}" + ("-causal" if causal else ""), b, h, t, d, causal)
    for t, d, us in ((128, 64, 8), (256, 128, 10), (512, 128, 13), (1024, 256, 30)):
        one_head(suite, f"f32-head-{t}x{d}", t, d, {"ms": us * 1e-3})
    for kernel, asked in (("distances", {"ms": 1.5}), ("by_norms", {"ms": 1.0}), ("nearest", {"ms": 0.9})):
        pairs(suite, f"f32-{kernel}-16384x16384x64", kernel, 16384, 64, asked)
    for m in (1024, 4096):
        product(suite, f"f32-product-{m}", m)


def attention(suite, name, b, h, t, d, causal):
    if not suite.wanted(name):
        return
    q, k, v = (normal(b, h, t, d, seed=s) for s in (1, 2, 3))
    o = torch.full_like(q, math.nan)
    want = F.scaled_dot_product_attention(*(x[:1, :2].double() for x in (q, k, v)), is_causal=causal)
    error = lambda got: relative((o if got is None else got)[:1, :2], want)  # noqa: E731
    contenders, errors = {}, {}
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, "causal" if causal else "attention", [q, k, v], [o], D=d), error)

    def efficient():
        with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    suite.add(name, contenders, errors, "efficient", lambda: efficient, error)
    if not causal:
        suite.add(name, contenders, errors, "fast", lambda: suite.quern(TEXT, "fast_attention", [q, k, v], [o], D=d), error)
        suite.add(name, contenders, errors, "composed", lambda: lambda: torch.softmax(q @ k.mT / math.sqrt(d), -1) @ v, error)
    suite.report(name, errors, contenders, 1e-5, 4 * b * h * t * t * d / (2 if causal else 1), "TFLOP/s", 1e-12, {"efficient": 1.0})


def one_head(suite, name, t, d, asked):
    if not suite.wanted(name):
        return
    q, k, v = (normal(t, d, seed=s) for s in (1, 2, 3))
    o = torch.full_like(q, math.nan)
    want = torch.softmax(q.double() @ k.double().T / math.sqrt(d), -1) @ v.double()
    error = lambda got: relative(o if got is None else got, want)  # noqa: E731
    contenders, errors = {}, {}
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, "one_head", [q, k, v], [o], D=d), error)
    suite.add(name, contenders, errors, "fast", lambda: suite.quern(TEXT, "fast_one_head", [q, k, v], [o], D=d), error)
    suite.add(name, contenders, errors, "composed", lambda: lambda: torch.softmax(q @ k.T / math.sqrt(d), -1) @ v, error)
    suite.report(name, errors, contenders, 1e-5, 4 * t * t * d, "TFLOP/s", 1e-12, asked, launches=20)


def pairs(suite, name, kernel, n, d, asked):
    if not suite.wanted(name):
        return
    a, b = normal(n, d, seed=1), normal(n, d, seed=2)
    at = torch.arange(0, n, n // 64, device="cuda")
    want = torch.cdist(a[at].double(), b.double())
    contenders, errors = {}, {}
    settings = {"K": d} if kernel == "nearest" else {}
    if kernel == "nearest":
        near = torch.full((n,), -1, device="cuda", dtype=torch.int32)

        def error(got):
            found = (near if got is None else got)[at].long()
            return relative(want.gather(1, found[:, None])[:, 0], want.min(1).values)

        suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, kernel, [a, b], [near], **settings), error)
        suite.add(name, contenders, errors, "composed", lambda: lambda: ((b * b).sum(1) - 2 * (a @ b.T)).argmin(1), error)
    else:
        out = torch.full((n, n), math.nan, device="cuda")
        error = lambda got: relative((out if got is None else got)[at], want)  # noqa: E731
        suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, kernel, [a, b], [out], **settings), error)
        suite.add(name, contenders, errors, "cdist", lambda: lambda: torch.cdist(a, b), error)
    suite.report(name, errors, contenders, 1e-4, 2 * n * n * d, "TFLOP/s", 1e-12, asked)


def product(suite, name, m):
    if not suite.wanted(name):
        return
    a, b = normal(m, m, seed=1), normal(m, m, seed=2)
    c = torch.full_like(a, math.nan)
    at = torch.arange(0, m, m // 64, device="cuda")
    want = a[at].double() @ b.double()
    error = lambda got: relative((c if got is None else got)[at], want)  # noqa: E731
    contenders, errors = {}, {}
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, "product", [a, b], [c]), error)
    suite.add(name, contenders, errors, "fast", lambda: suite.quern(TEXT, "fast_product", [a, b], [c]), error)
    suite.add(name, contenders, errors, "tf32", lambda: suite.quern(TEXT, "tf32_product", [a, b], [c]), error)
    suite.add(name, contenders, errors, "cublas", lambda: lambda: torch.mm(a, b), error)
    suite.report(name, errors, contenders, 1e-2, 2 * m**3, "TFLOP/s", 1e-12, {"cublas": 1.0})


def relative(got, want):
    return (got.double() - want).abs().max().item() / want.abs().max().item() if bool(torch.isfinite(got).all()) else math.inf
