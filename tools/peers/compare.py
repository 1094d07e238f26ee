#!/usr/bin/env python3
"""Quern beside its peers on one GPU: the same tensors, in one process, interleaved, results checked before a speed counts.

  compare.py --library build-device/runtime/libquern.so [--only attention,rows] [--json FILE] [--seconds 0.3]

Each case: random normal data; every contender's result, Quern's and the peers', against one reference in f64 (sampled rows for
attention and products); who is wrong is named and not timed. Then rounds in which each contender runs for a while in turn; the
median over rounds is printed, with the ratio of the best peer's time to Quern's.
FLOPs of a causal case count as half; bytes: each input read once, each output written once."""
import argparse
import json
import math
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, __file__.rsplit("/", 1)[0])
import quern_c  # noqa: E402

ATTENTION = """
kernel full<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D]) -> (o: T[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])
}
kernel causal<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D]) -> (o: T[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n where n <= m + N - M](s[b,h,m,n]) * v[b,h,n,e])
}
kernel alibi<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D], slope: f32[H]) -> (o: T[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D) + slope[h] * (n - m)
  o[b,h,m,e] = sum[n](softmax[n where n <= m](s[b,h,m,n]) * v[b,h,n,e])
}
kernel soft_cap<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D]) -> (o: T[B,H,M,D]) {
  s[b,h,m,n] = 30 * tanh(sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D) / 30)
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])
}
kernel window<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D]) -> (o: T[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n where n <= m and n > m - 1024](s[b,h,m,n]) * v[b,h,n,e])
}
kernel documents<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D], doc: i32[M] nondecreasing) -> (o: T[B,H,M,D]) {
  require M == N
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n where n <= m and doc[n] == doc[m]](s[b,h,m,n]) * v[b,h,n,e])
}
kernel dense_bias<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D], bias: T[H,M,N]) -> (o: T[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D) + bias[h,m,n]
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])
}
kernel grouped<T: type, D>(q: T[B,J*G,M,D], k: T[B,J,N,D], v: T[B,J,N,D]) -> (o: T[B,J*G,M,D]) {
  s[b,j,g,m,n] = sum[d](q[b,(j,g),m,d] * k[b,j,n,d]) / sqrt(D)
  o[b,(j,g),m,e] = sum[n](softmax[n where n <= m + N - M](s[b,j,g,m,n]) * v[b,j,n,e])
}
"""

ROWS = """
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

PRODUCT = """
kernel product<T: type>(a: T[M,K], b: T[K,N]) -> (c: T[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
"""


def timed(contenders, seconds):
    """Milliseconds per call by name: median over rounds in which each runs in turn."""
    counts, times = {}, {name: [] for name in contenders}
    for name, call in contenders.items():
        for _ in range(3):
            call()
        torch.cuda.synchronize()
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        counts[name] = max(1, int(0.02e3 / max(start.elapsed_time(end), 1e-3)))
    spent = 0.0
    while spent < seconds * 1e3 * len(contenders) or len(times[next(iter(times))]) < 5:
        for name, call in contenders.items():
            start, end = torch.cuda.Event(True), torch.cuda.Event(True)
            start.record()
            for _ in range(counts[name]):
                call()
            end.record()
            torch.cuda.synchronize()
            ms = start.elapsed_time(end)
            spent += ms
            times[name].append(ms / counts[name])
    return {name: statistics.median(t) for name, t in times.items()}


def attention_reference(q, k, v, score=None, keep=None, rows=64):
    """f64 on a few rows of the first and last batch and head: values and row indices."""
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


def attention_error(o, reference):
    return max((o[b, h, at].double() - want).abs().max().item() / want.abs().max().item() for b, h, at, want in reference)


class Suite:
    def __init__(self, library, seconds, only):
        self.library, self.seconds, self.only, self.results = library, seconds, only, []
        self.flex = None

    def wanted(self, name):
        return not self.only or any(name.startswith(o) for o in self.only)

    def report(self, name, errors, contenders, limit, work, unit, scale):
        good = {}
        for who, call in contenders.items():
            if errors[who] <= limit:
                good[who] = call
            else:
                print(f"{name}: {who} is WRONG: error {errors[who]:.3g} > {limit:.3g}", flush=True)
        if not good:
            return
        times = timed(good, self.seconds)
        row = {"case": name, "ms": times, "error": errors, unit: {w: work / (t * 1e-3) * scale for w, t in times.items()}}
        peers = {w: t for w, t in times.items() if w != "quern"}
        text = "  ".join(f"{w} {t:.4f} ms {row[unit][w]:.0f} {unit}" for w, t in times.items())
        ratio = ""
        if "quern" in times and peers:
            best = min(peers, key=peers.get)
            row["ratio"] = peers[best] / times["quern"]
            ratio = f"  [{row['ratio']:.3f} x {best}]"
        print(f"{name}: {text}{ratio}", flush=True)
        self.results.append(row)

    def attention(self, name, kernel, b, h, t, d, causal=False, j=None, score=None, keep=None, extra=(), flex=None, work=None, peers=True):
        if not self.wanted(name):
            return
        j = j or h
        g = torch.Generator("cuda").manual_seed(1)
        q = torch.randn(b, h, t, d, device="cuda", dtype=torch.bfloat16, generator=g)
        k = torch.randn(b, j, t, d, device="cuda", dtype=torch.bfloat16, generator=g)
        v = torch.randn(b, j, t, d, device="cuda", dtype=torch.bfloat16, generator=g)
        o = torch.full((b, h, t, d), math.nan, device="cuda", dtype=torch.bfloat16)
        reference = attention_reference(q, k, v, score, keep)
        contenders, errors = {}, {}
        try:
            quern = quern_c.Kernel(self.library, ATTENTION, kernel, T=torch.bfloat16, D=d).bind([q, k, v, *extra], [o])
            quern()
            torch.cuda.synchronize()
            contenders["quern"], errors["quern"] = quern, attention_error(o, reference)
            if not bool(torch.isfinite(o).all()):
                errors["quern"] = math.inf
        except RuntimeError as e:
            print(f"{name}: quern: {str(e)[:600]}", flush=True)
        if peers:
            for who, backend in (("fa2", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
                def call(backend=backend):
                    with sdpa_kernel(backend):
                        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=j != h)
                try:
                    errors[who] = attention_error(call(), reference)
                    contenders[who] = call
                except Exception as e:  # a peer that does not take the case
                    print(f"{name}: {who} does not take it: {str(e)[:80]}")
        if flex is not None:
            try:
                from torch.nn.attention.flex_attention import create_block_mask, flex_attention
                self.flex = self.flex or torch.compile(flex_attention, dynamic=False)
                score_mod, mask_mod = flex
                mask = create_block_mask(mask_mod, None, None, t, t, device="cuda") if mask_mod else None
                call = lambda: self.flex(q, k, v, score_mod=score_mod, block_mask=mask, enable_gqa=j != h)  # noqa: E731
                errors["flex"] = attention_error(call(), reference)
                contenders["flex"] = call
            except Exception as e:
                print(f"{name}: flex does not take it: {str(e)[:200]}")
        flops = 4 * b * h * d * (work if work else t * t / (2 if causal else 1))
        self.report(name, errors, contenders, 2e-2, flops, "TFLOP/s", 1e-12)

    def rows(self, name, kernel, inputs, outputs, error, peers, moved, limit, settings=None, start=None):
        """`error`: of a list of results, against the reference. `start`: brings what the kernel updates back to its start and
        names it, where the results are not `outputs`. A peer returns its result, or several."""
        if not self.wanted(name):
            return

        def judged(call):
            for x in outputs:
                x.fill_(math.nan if x.is_floating_point() else -1)
            updated = start() if start else None
            result = call()
            torch.cuda.synchronize()
            result = updated or (outputs if result is None else [result] if isinstance(result, torch.Tensor) else list(result))
            finite = all(bool(torch.isfinite(x).all()) for x in result if x.is_floating_point())
            return error(result) if finite else math.inf

        contenders, errors = {}, {}
        try:
            contenders["quern"] = quern_c.Kernel(self.library, ROWS, kernel, **(settings or {})).bind(inputs, outputs)
            errors["quern"] = judged(contenders["quern"])
        except RuntimeError as e:
            contenders.pop("quern", None)
            print(f"{name}: quern: {str(e)[:600]}", flush=True)
        for who, call in peers.items():
            contenders[who], errors[who] = call, judged(call)
        self.report(name, errors, contenders, limit, moved, "GB/s", 1e-9)

    def product(self, name, m, n, k):
        if not self.wanted(name):
            return
        a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
        b = torch.randn(k, n, device="cuda", dtype=torch.bfloat16)
        c = torch.full((m, n), math.nan, device="cuda", dtype=torch.bfloat16)
        at = torch.randperm(m, device="cuda")[:64]
        want = a[at].double() @ b.double()
        error = lambda x: (x[at].double() - want).abs().max().item() / want.abs().max().item()  # noqa: E731
        contenders, errors = {}, {}
        try:
            quern = quern_c.Kernel(self.library, PRODUCT, "product", T=torch.bfloat16).bind([a, b], [c])
            quern()
            torch.cuda.synchronize()
            contenders["quern"], errors["quern"] = quern, error(c) if bool(torch.isfinite(c).all()) else math.inf
        except RuntimeError as e:
            print(f"{name}: quern: {str(e)[:600]}", flush=True)
        contenders["cublas"], errors["cublas"] = lambda: torch.mm(a, b), error(torch.mm(a, b))
        self.report(name, errors, contenders, 1e-2, 2 * m * n * k, "TFLOP/s", 1e-12)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="libquern.so")
    parser.add_argument("--only", default="", help="cases whose names start with one of these, separated by commas")
    parser.add_argument("--json", help="write all figures there")
    parser.add_argument("--seconds", type=float, default=0.2, help="measuring time per contender and case")
    args = parser.parse_args()
    torch.manual_seed(0)
    suite = Suite(quern_c.load(args.library), args.seconds, [o for o in args.only.split(",") if o])
    for d in (64, 128, 256):
        for t in (2048, 8192):
            b, h = 16384 // t, 2048 // d
            suite.attention(f"attention-full-{d}-{t}", "full", b, h, t, d)
            suite.attention(f"attention-causal-{d}-{t}", "causal", b, h, t, d, causal=True, keep=lambda m, n: n <= m)
    t, d, b, h = 4096, 128, 4, 16
    causal = lambda _b, _h, m, n: n <= m  # noqa: E731
    slopes = torch.pow(2.0, -torch.arange(1, h + 1, device="cuda") * 8.0 / h)
    n_at = torch.arange(t, device="cuda")
    suite.attention("scores-alibi", "alibi", b, h, t, d, keep=lambda m, n: n <= m, extra=(slopes,), peers=False, work=t * t / 2,
                    score=lambda s, _b, hh, at: s + slopes[hh].double() * (n_at[None, :] - at[:, None]),
                    flex=(lambda s, _b, hh, m, n: s + slopes[hh] * (n - m), causal))
    suite.attention("scores-softcap", "soft_cap", b, h, t, d, peers=False,
                    score=lambda s, _b, _h, _a: 30 * torch.tanh(s / 30), flex=(lambda s, _b, _h, m, n: 30 * torch.tanh(s / 30), None))
    suite.attention("scores-window", "window", b, h, t, d, keep=lambda m, n: (n <= m) & (n > m - 1024), peers=False,
                    work=1024 * t - 1024 * 1024 / 2, flex=(None, lambda _b, _h, m, n: (n <= m) & (n > m - 1024)))
    doc = torch.arange(t, device="cuda", dtype=torch.int32) // 700
    suite.attention("scores-documents", "documents", b, h, t, d, keep=lambda m, n: (n <= m) & (doc[m] == doc[n]), extra=(doc,), peers=False,
                    work=700 * t / 2, flex=(None, lambda _b, _h, m, n: (n <= m) & (doc[m] == doc[n])))
    bias = torch.randn(h, t, t, device="cuda", dtype=torch.bfloat16)
    suite.attention("scores-bias", "dense_bias", b, h, t, d, extra=(bias,), peers=False,
                    score=lambda s, _b, hh, at: s + bias[hh, at].double(), flex=(lambda s, _b, hh, m, n: s + bias[hh, m, n], None))
    del bias
    suite.attention("scores-gqa", "grouped", b, 32, t, d, causal=True, j=8, keep=lambda m, n: n <= m, peers=False, flex=(None, causal))
    for width in (80, 96):
        suite.attention(f"scores-head{width}", "causal", 2, 16, t, width, causal=True, keep=lambda m, n: n <= m, peers=False, flex=(None, causal))
    suite.product("product-4096", 4096, 4096, 4096)
    suite.product("product-8192", 8192, 8192, 8192)
    close = lambda want: lambda out: ((out[0].double() - want).abs().max() / want.abs().max()).item()  # noqa: E731
    wrong = lambda *tests: float(sum(t.sum().item() for t in tests))  # noqa: E731

    if suite.wanted("rows-") or suite.wanted("rows"):
        bf16 = {"T": torch.bfloat16}
        x = torch.randn(32768, 8192, device="cuda", dtype=torch.bfloat16)
        w, bb, y = torch.randn(8192, device="cuda", dtype=torch.bfloat16), torch.randn(8192, device="cuda", dtype=torch.bfloat16), torch.empty_like(x)
        both = 2 * x.numel() * 2
        c_softmax = torch.compile(lambda x: torch.softmax(x, -1))
        c_rms = torch.compile(lambda x, w: F.rms_norm(x, (8192,), w, 1e-6))
        c_layer = torch.compile(lambda x, w, b: F.layer_norm(x, (8192,), w, b, 1e-5))
        suite.rows("rows-softmax", "softmax_rows", [x], [y], close(torch.softmax(x.double(), -1)), {"compile": lambda: c_softmax(x)}, both, 1e-2, bf16)
        suite.rows("rows-rms", "rms_norm", [x, w], [y], close(F.rms_norm(x.double(), (8192,), w.double(), 1e-6)), {"compile": lambda: c_rms(x, w)}, both, 1e-2, bf16)
        suite.rows("rows-layer", "layer_norm", [x, w, bb], [y], close(F.layer_norm(x.double(), (8192,), w.double(), bb.double(), 1e-5)), {"compile": lambda: c_layer(x, w, bb)}, both, 1e-2, bf16)
        del x, y
        x = torch.randn(16384, 16384, device="cuda")
        y = torch.empty_like(x)
        at = torch.empty(16384, device="cuda", dtype=torch.int32)
        suite.rows("rows-argmax", "largest", [x], [at], lambda out: wrong(x.gather(1, out[0].long()[:, None])[:, 0] != x.amax(1)), {"eager": lambda: x.argmax(1)}, x.numel() * 4, 0.0)
        suite.rows("rows-cumsum", "row_sums", [x], [y], close(torch.cumsum(x.double(), 1)), {"eager": lambda: torch.cumsum(x, 1)}, x.numel() * 8, 1e-5)
        suite.rows("rows-centre", "centre", [x], [y], close(x - x.double().mean(0)), {"eager": lambda: x - x.mean(0)}, x.numel() * 12, 1e-5)
        top = lambda x: lambda out: wrong(out[0] != x.sort(1, descending=True).values[:, :8], x.gather(1, out[1].long()) != out[0])  # noqa: E731
        v8, a8 = torch.empty(16384, 8, device="cuda"), torch.empty(16384, 8, device="cuda", dtype=torch.int32)
        suite.rows("rows-top8", "top8", [x], [v8, a8], top(x), {"eager": lambda: torch.topk(x, 8, 1)}, x.numel() * 4, 0.0)
        z = torch.randn(65536, 128, device="cuda")
        vz, az = torch.empty(65536, 8, device="cuda"), torch.empty(65536, 8, device="cuda", dtype=torch.int32)
        suite.rows("rows-top8-short", "top8", [z], [vz, az], top(z), {"eager": lambda: torch.topk(z, 8, 1)}, z.numel() * 4, 0.0)
        flat, out = x.view(-1), y.view(-1)
        suite.rows("rows-copy", "copy", [flat], [out], lambda o: wrong(o[0] != flat), {"eager": lambda: out.copy_(flat)}, flat.numel() * 8, 0.0)
        one = torch.empty((), device="cuda")
        suite.rows("rows-total", "total", [flat], [one], lambda o: abs(o[0].item() - flat.double().sum().item()) / flat.double().abs().sum().item(), {"eager": lambda: flat.sum()}, flat.numel() * 4, 1e-6)
        suite.rows("rows-scan", "vector_sums", [flat], [out], lambda o: ((o[0].double() - torch.cumsum(flat.double(), 0)).abs().max() / 16384).item(), {"eager": lambda: torch.cumsum(flat, 0)}, flat.numel() * 8, 1e-4)
        del x, y, flat, out
        table = torch.randn(1 << 20, 128, device="cuda")
        ids = torch.randint(0, 1 << 20, (1 << 21,), device="cuda", dtype=torch.int32)
        got = torch.empty(1 << 21, 128, device="cuda")
        suite.rows("rows-gather", "gather", [table, ids], [got], lambda o: wrong(o[0] != table[ids.long()]), {"eager": lambda: table.index_select(0, ids)}, 2 * got.numel() * 4, 0.0)
        got.normal_()
        long_ids = ids.long()
        zero = torch.zeros_like(table)
        want = torch.zeros(1 << 20, 128, device="cuda", dtype=torch.float64).index_add_(0, long_ids, got.double())
        suite.rows("rows-scatter", "scatter", [zero, ids, got], [], close(want), {"eager": lambda: zero.index_add_(0, long_ids, got)}, 3 * got.numel() * 4, 1e-5, start=lambda: [zero.zero_()])
    if args.json:
        with open(args.json, "w") as f:
            json.dump(suite.results, f, indent=1)


if __name__ == "__main__":
    main()
