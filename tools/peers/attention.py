"""Forward attention, bf16, 16384 tokens, hidden 2048: each head size and length, full and causal; the same in 8 bits; scores with
something done to them are in scores.py. FLOPs of a causal case count as half."""
import math

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

TEXT = """
kernel full<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D]) -> (o: T[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])
}
kernel causal<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D]) -> (o: T[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n where n <= m + N - M](s[b,h,m,n]) * v[b,h,n,e])
}
kernel small_inputs<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D]) -> (o: bf16[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])
}
"""
LIMIT = 2e-2


def inputs(b, h, j, m, n, d, seed=1):
    """Queries [b,h,m,d], keys and values [b,j,n,d], and a result full of NaN."""
    g = torch.Generator("cuda").manual_seed(seed)
    q = torch.randn(b, h, m, d, device="cuda", dtype=torch.bfloat16, generator=g)
    k = torch.randn(b, j, n, d, device="cuda", dtype=torch.bfloat16, generator=g)
    v = torch.randn(b, j, n, d, device="cuda", dtype=torch.bfloat16, generator=g)
    return q, k, v, torch.full((b, h, m, d), math.nan, device="cuda", dtype=torch.bfloat16)


def reference(q, k, v, score=None, keep=None, rows=64):
    """f64 on a few rows of the first and last batch and head. `score(s, b, h, at)` changes scores, `keep(m, n)` says which stay."""
    m, n, d = q.shape[2], k.shape[2], q.shape[3]
    at = torch.randperm(m, device=q.device)[:rows].sort().values
    out = []
    for b, h in ((0, 0), (q.shape[0] - 1, q.shape[1] - 1)):
        kv = h * k.shape[1] // q.shape[1]
        s = q[b, h, at].double() @ k[b, kv].double().T / math.sqrt(d)
        if score:
            s = score(s, b, h, at)
        if keep is not None:
            s = s.masked_fill(~keep(at[:, None], torch.arange(n, device=q.device)[None, :]), -math.inf)
        out.append((b, h, at, torch.softmax(s, -1) @ v[b, kv].double()))
    return out


def error_by(wanted, results=None):
    """A judge of results; `results` is what a call that returns nothing has written."""
    def error(got):
        got = results if got is None else got
        if not bool(torch.isfinite(got).all()):
            return math.inf
        return max((got[b, h, at].double() - want).abs().max().item() / want.abs().max().item() for b, h, at, want in wanted)
    return error


def library_call(backend, q, k, v, causal=False, grouped=False):
    def call():
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)
    return call


def forward(suite):
    for d in (64, 128, 256):
        for t in suite.arguments.lengths:
            for causal in (False, True):
                one_forward(suite, f"attention-{'causal' if causal else 'full'}-{d}-{t}", 16384 // t, 2048 // d, t, d, causal)
    if suite.wanted("attention-8bit-128-8192"):
        in_8_bits(suite, "attention-8bit-128-8192", 2, 16, 8192, 128)


def one_forward(suite, name, b, h, t, d, causal):
    if not suite.wanted(name):
        return
    q, k, v, o = inputs(b, h, h, t, t, d)
    wanted = reference(q, k, v, keep=(lambda m, n: n <= m) if causal else None)
    contenders, errors = {}, {}
    judge = error_by(wanted, o)
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, "causal" if causal else "full", [q, k, v], [o], T=torch.bfloat16, D=d), judge)
    for who, backend in (("fa2", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
        suite.add(name, contenders, errors, who, lambda backend=backend: library_call(backend, q, k, v, causal), judge)
    if suite.arguments.yardstick:
        import yardstick
        for letter, macros in zip("abc", yardstick.VARIANTS[d, causal]):
            out = torch.full_like(o, math.nan)
            suite.add(name, contenders, errors, f"yardstick {letter}",
                      lambda macros=macros, out=out: yardstick.bind(suite.arguments.yardstick, macros, q, k, v, out, causal), error_by(wanted, out))
    asked = {"fa2": 1.0, "yardstick": 0.97}
    if t >= 1024:
        asked["cudnn"] = 1.0
    suite.report(name, errors, contenders, LIMIT, 4 * b * h * d * t * t / (2 if causal else 1), "TFLOP/s", 1e-12, asked)


def in_8_bits(suite, name, b, h, t, d):
    q, k, v, o = inputs(b, h, h, t, t, d)
    q, k, v = (x.to(torch.float8_e4m3fn) for x in (q, k, v))
    wanted = reference(q.to(torch.bfloat16), k.to(torch.bfloat16), v.to(torch.bfloat16))
    contenders, errors = {}, {}
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, "small_inputs", [q, k, v], [o], T=torch.float8_e4m3fn, D=d), error_by(wanted, o))
    fast = TEXT.replace("kernel small_inputs", "@fast\nkernel small_inputs")  # scores may be summed in 14 bits
    suite.add(name, contenders, errors, "quern @fast", lambda: suite.quern(fast, "small_inputs", [q, k, v], [o], T=torch.float8_e4m3fn, D=d), error_by(wanted, o))
    # Weights may be rounded to 8 bits, too: 2^-4 of each, less after averaging.
    suite.report(name, errors, contenders, 6e-2, 4 * b * h * d * t * t, "TFLOP/s", 1e-12, {"TFLOP/s": 750})
