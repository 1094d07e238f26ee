"""Attention with something done to its scores: beside FlexAttention and beside our own kernel without it ("plain": the same tensors, its
own work), heads in groups, odd head sizes, and disentangled positions beside torch.compile."""
import math

import attention
import torch

TEXT = """
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
kernel t5_buckets<T: type, D>(q: T[B,H,M,D], k: T[B,H,M,D], v: T[B,H,M,D], bias: f32[H,32]) -> (o: T[B,H,M,D]) {
  bucket[i in 0:M] = where(i < 16, i, min(31, 16 + i64(log(i / 16) / log(8) * 16)))
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D) + where(n <= m, clamp(bias[h, bucket[m - n]]), 0)
  o[b,h,m,d] = sum[n](softmax[n where n <= m](s[b,h,m,n]) * v[b,h,n,d])
}
kernel disentangled<T: type, H>(q: T[B,N,Q,H], k: T[B,N,K,H], v: T[B,N,K,H], r: T[R,N,H]) -> (o: T[B,N,Q,H]) {
  c2p = einsum("bnqh,rnh->bnqr", q, r)
  s[b,n,i,j] = (sum[h](q[b,n,i,h] * k[b,n,j,h]) + clamp(c2p[b,n,i, i - j + R div 2])) / sqrt(2*H)
  o[b,n,i,h] = sum[j](softmax[j](s[b,n,i,j]) * v[b,n,j,h])
}
kernel disentangled_both<T: type, H>(q: T[B,N,Q,H], k: T[B,N,K,H], v: T[B,N,K,H], kr: T[R,N,H], qr: T[R,N,H]) -> (o: T[B,N,Q,H]) {
  c2p = einsum("bnqh,rnh->bnqr", q, kr)
  p2c = einsum("bnkh,rnh->bnkr", k, qr)
  s[b,n,i,j] = (sum[h](q[b,n,i,h] * k[b,n,j,h]) + clamp(c2p[b,n,i, i - j + R div 2]) + clamp(p2c[b,n,j, j - i + R div 2])) / sqrt(3*H)
  o[b,n,i,h] = sum[j](softmax[j](s[b,n,i,j]) * v[b,n,j,h])
}
"""
_flex = []


def flex_call(q, k, v, score_mod, mask_mod):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    if not _flex:
        torch._dynamo.config.recompile_limit = 64  # beyond it cases run uncompiled
        _flex.append(torch.compile(flex_attention, dynamic=False))
    mask = create_block_mask(mask_mod, None, None, q.shape[2], k.shape[2], device="cuda") if mask_mod else None
    return lambda: _flex[0](q, k, v, score_mod=score_mod, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1])


def one(suite, name, kernel, asked, flex, b=4, h=16, t=4096, d=128, j=None, extra=(), score=None, keep=None, work=None, text=TEXT):
    if not suite.wanted(name):
        return
    j = j or h
    masked = keep is not None
    q, k, v, o = attention.inputs(b, h, j, t, t, d)
    judge = attention.error_by(attention.reference(q, k, v, score, keep), o)
    contenders, errors = {}, {}
    bf16 = {"T": torch.bfloat16, "D": d}
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(text, kernel, [q, k, v, *extra], [o], **bf16), judge)
    wide = [x.repeat_interleave(h // j, 1) for x in (k, v)]
    plain = torch.full_like(o, math.nan)
    suite.add(name, contenders, errors, "plain", lambda: suite.quern(attention.TEXT, "causal" if masked else "full", [q, *wide], [plain], **bf16),
              attention.error_by(attention.reference(q, k, v, keep=(lambda m, n: n <= m) if masked else None), plain))
    suite.add(name, contenders, errors, "flex", lambda: flex_call(q, k, v, *flex), judge)
    each = 4 * b * h * d
    suite.report(name, errors, contenders, attention.LIMIT, each * (work or t * t), "TFLOP/s", 1e-12, asked, {"plain": each * t * t / (2 if masked else 1)})


def bucket(i):
    """T5's bucket of a distance: exact up to 15, then by the logarithm."""
    far = 16 + (torch.log(i.clamp(min=1).double() / 16) / math.log(8) * 16).long()
    return torch.where(i < 16, i, far.clamp(max=31))


def scores(suite):
    t, h = 4096, 16
    causal_mask, causal = (lambda _b, _h, m, n: n <= m), (lambda m, n: n <= m)
    asked, half = {"plain": 0.85, "flex": 1.35}, t * t / 2
    slopes = torch.pow(2.0, -torch.arange(1, h + 1, device="cuda") * 8.0 / h)
    n_at = torch.arange(t, device="cuda")
    one(suite, "scores-alibi", "alibi", asked, (lambda s, _b, hh, m, n: s + slopes[hh] * (n - m), causal_mask), extra=(slopes,), keep=causal, work=half,
        score=lambda s, _b, hh, at: s + slopes[hh].double() * (n_at[None, :] - at[:, None]))
    one(suite, "scores-softcap", "soft_cap", asked, (lambda s, _b, _h, m, n: 30 * torch.tanh(s / 30), None), score=lambda s, _b, _h, _a: 30 * torch.tanh(s / 30))
    one(suite, "scores-window", "window", asked, (None, lambda _b, _h, m, n: (n <= m) & (n > m - 1024)),
        keep=lambda m, n: (n <= m) & (n > m - 1024), work=1024 * t - 1024 * 1024 / 2)
    doc = torch.arange(t, device="cuda", dtype=torch.int32) // 700
    one(suite, "scores-documents", "documents", {"plain": 0.75, "flex": 1.35}, (None, lambda _b, _h, m, n: (n <= m) & (doc[m] == doc[n])), extra=(doc,),
        keep=lambda m, n: (n <= m) & (doc[m] == doc[n]), work=700 * t / 2)
    table, far = torch.randn(h, 32, device="cuda"), bucket(n_at)
    one(suite, "scores-t5", "t5_buckets", asked, (lambda s, _b, hh, m, n: s + table[hh, far[(m - n).clamp(min=0)]], causal_mask),
        extra=(table,), keep=causal, work=half,
        score=lambda s, _b, hh, at: s + table[hh, far[(at[:, None] - n_at[None, :]).clamp(min=0)]].double())
    one(suite, "scores-gqa", "grouped", asked, (None, causal_mask), h=32, j=8, keep=causal, work=half)
    if suite.wanted("scores-bias"):
        bias = torch.randn(h, t, t, device="cuda", dtype=torch.bfloat16)
        one(suite, "scores-bias", "dense_bias", {"flex": 1.2}, (lambda s, _b, hh, m, n: s + bias[hh, m, n], None), extra=(bias,),
            score=lambda s, _b, hh, at: s + bias[hh, at].double())
    for width in (80, 96):
        one(suite, f"scores-head{width}", "causal", {"flex": 1.5}, (None, causal_mask), b=2, d=width, keep=causal, work=half, text=attention.TEXT)
    for both in (False, True):
        disentangled(suite, "scores-disentangled" + ("-both" if both else ""), both, 8, 16, 1024, 64, 512)


def disentangled(suite, name, both, b, h, t, d, r):
    """Scores of relative positions, gathered from products with r position vectors: of the query, or of query and key."""
    if not suite.wanted(name):
        return
    q, k, v, o = attention.inputs(b, h, h, t, t, d)
    kr, qr = (torch.randn(r, h, d, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    apart = torch.arange(t, device="cuda")[:, None] - torch.arange(t, device="cuda")[None, :] + r // 2
    c_at, p_at = apart.clamp(0, r - 1), (r - apart).clamp(0, r - 1)
    scale = 1 / math.sqrt((3 if both else 2) * d)

    def peer(q, k, v, kr, qr):
        s = q @ k.transpose(-1, -2) + torch.einsum("bnqh,rnh->bnqr", q, kr).gather(-1, c_at.expand(b, h, t, t))
        if both:
            s = s + torch.einsum("bnkh,rnh->bnkr", k, qr).gather(-1, p_at.T.expand(b, h, t, t)).transpose(-1, -2)
        return torch.softmax(s * scale, -1) @ v

    def score(s, bb, hh, at):
        s = s * math.sqrt(d) + (q[bb, hh, at].double() @ kr[:, hh].double().T).gather(-1, c_at[at])
        if both:
            s = s + (k[bb, hh].double() @ qr[:, hh].double().T).gather(-1, p_at.T).T[at]
        return s * scale

    judge = attention.error_by(attention.reference(q, k, v, score), o)
    contenders, errors = {}, {}
    kernel, given = ("disentangled_both", [q, k, v, kr, qr]) if both else ("disentangled", [q, k, v, kr])
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, kernel, given, [o], T=torch.bfloat16, H=d), judge)
    compiled = torch.compile(peer)
    suite.add(name, contenders, errors, "compile", lambda: lambda: compiled(q, k, v, kr, qr), judge)
    # The peer rounds its scores to two bytes.
    suite.report(name, errors, contenders, 5e-2, 4 * b * h * d * t * t, "TFLOP/s", 1e-12, {"ms": 0.65 if both else 0.45})
