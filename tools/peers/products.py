"""Matrix products of two-byte floats, alone and with what follows them in the same kernel."""
import math

import torch
import torch.nn.functional as F

TEXT = """
kernel product<T: type>(a: T[M,K], b: T[K,N]) -> (c: T[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }
kernel product_gelu<T: type>(a: T[M,K], b: T[K,N], bias: T[N]) -> (c: T[M,N]) { c[m,n] = gelu(sum[k](a[m,k] * b[k,n]) + bias[n]) }
"""


def products(suite):
    for m in (4096, 8192):
        one(suite, f"product-{m}", m, m, m, False, {"cublas": 0.93})
    one(suite, "product-gelu-8192x4096x4096", 8192, 4096, 4096, True, {"cublas+compile": 0.97})


def one(suite, name, m, n, k, gelu, asked):
    if not suite.wanted(name):
        return
    a = torch.randn(m, k, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(k, n, device="cuda", dtype=torch.bfloat16) / (math.sqrt(k) if gelu else 1)
    bias = torch.randn(n, device="cuda", dtype=torch.bfloat16)
    c = torch.full((m, n), math.nan, device="cuda", dtype=torch.bfloat16)
    at = torch.randperm(m, device="cuda")[:64]
    want = a[at].double() @ b.double()
    if gelu:
        want = F.gelu(want + bias.double())

    def error(got):
        got = c if got is None else got
        return (got[at].double() - want).abs().max().item() / want.abs().max().item() if bool(torch.isfinite(got).all()) else math.inf

    contenders, errors = {}, {}
    given = [a, b, bias] if gelu else [a, b]
    suite.add(name, contenders, errors, "quern", lambda: suite.quern(TEXT, "product_gelu" if gelu else "product", given, [c], T=torch.bfloat16), error)
    if gelu:
        compiled = torch.compile(lambda a, b, bias: F.gelu(a @ b + bias))
        suite.add(name, contenders, errors, "cublas+compile", lambda: lambda: compiled(a, b, bias), error)
    else:
        suite.add(name, contenders, errors, "cublas", lambda: lambda: torch.mm(a, b), error)
    suite.report(name, errors, contenders, 1e-2, 2 * m * n * k, "TFLOP/s", 1e-12, asked)
