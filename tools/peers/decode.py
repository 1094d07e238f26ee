"""One new token against a long cache, bf16, D 128: GB/s of keys and values. Calls are taken from a CUDA graph, so that a launch of
20 us is not measured by its caller. Heads that share keys are known before the call (G); "-any" is the kernel for any number of tokens."""
import attention
import torch
from torch.nn.attention import SDPBackend

TEXT = """
kernel decode<T: type, D, G>(q: T[B,J*G,D], k: T[B,J,N,D], v: T[B,J,N,D]) -> (o: T[B,J*G,D]) {
  s[b,j,g,n] = sum[d](q[b,(j,g),d] * k[b,j,n,d]) / sqrt(D)
  o[b,(j,g),e] = sum[n](softmax[n](s[b,j,g,n]) * v[b,j,n,e])
}
kernel any_tokens<T: type, D>(q: T[B,J*G,M,D], k: T[B,J,N,D], v: T[B,J,N,D]) -> (o: T[B,J*G,M,D]) {
  s[b,j,g,m,n] = sum[d](q[b,(j,g),m,d] * k[b,j,n,d]) / sqrt(D)
  o[b,(j,g),m,e] = sum[n](softmax[n where n <= m + N - M](s[b,j,g,m,n]) * v[b,j,n,e])
}
"""


def decode(suite):
    fast = {"GB/s": 3700}
    for b, h, j, n, asked in ((1, 32, 8, 8192, {"ms": 0.022}), (16, 32, 8, 8192, fast), (64, 32, 8, 4096, fast), (16, 32, 32, 8192, fast), (1, 32, 8, 131072, {})):
        name = f"decode-B{b}-H{h}/{j}-S{n}"
        one(suite, name, "decode", b, h, j, n, asked, {"G": h // j}, flex=b > 1)
        one(suite, name + "-any", "any_tokens", b, h, j, n, {}, {})


def one(suite, name, kernel, b, h, j, n, asked, settings, flex=False, d=128):
    if not suite.wanted(name):
        return
    q, k, v, o = attention.inputs(b, h, j, 1, n, d)
    judge = attention.error_by(attention.reference(q, k, v), o)
    contenders, errors = {}, {}
    token, result = (q[:, :, 0], o[:, :, 0]) if settings else (q, o)
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, kernel, [token, k, v], [result], T=torch.bfloat16, D=d, **settings), judge)
    for who, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("fa2", SDPBackend.FLASH_ATTENTION)):
        suite.add(name, contenders, errors, who, lambda backend=backend: attention.library_call(backend, q, k, v, grouped=h != j), judge)
    if flex:
        import scores
        suite.add(name, contenders, errors, "flex", lambda: scores.flex_call(q, k, v, None, None), judge)
    suite.report(name, errors, contenders, attention.LIMIT, 2 * k.numel() * 2, "GB/s", 1e-9, asked, launches=10)
