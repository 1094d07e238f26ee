#!/usr/bin/env python3
"""Writes compiler/codegen/cpu/math_coefficients.h: minimax polynomials for the vector math, by the Remez exchange.

Each row: name, function, interval, weight (the error is |p - f| * weight), target error for f32 and for f64. The lowest
degree that reaches the target is taken. Needs mpmath. Usage: tools/coefficients/fit.py > compiler/codegen/cpu/math_coefficients.h

With the argument `cuda`: prints the polynomials that stand in compiler/codegen/cuda/prelude_real_functions.cpp (f32).
"""
import sys

from mpmath import mp, mpf, matrix, lu_solve, exp, log, atanh, asin, atan, sin, cos, erf, erfc, sqrt, pi, taylor, expm1

mp.dps = 60


def remez(f, w, lo, hi, degree):
    n = degree + 2
    nodes = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(pi * i / (n - 1)) for i in range(n)]
    grid = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(pi * i / (30 * n)) for i in range(30 * n + 1)]
    values = [(x, f(x), w(x)) for x in grid]
    for _ in range(12):
        a = matrix(n, n)
        b = matrix(n, 1)
        for i, x in enumerate(nodes):
            for k in range(degree + 1):
                a[i, k] = x ** k
            a[i, degree + 1] = (-1) ** i / w(x)
            b[i] = f(x)
        s = lu_solve(a, b)
        c = [s[k] for k in range(degree + 1)]
        level = abs(s[degree + 1])
        errors = [((mp.polyval(c[::-1], x) - y) * u, x) for x, y, u in values]
        # One extremum per run of equal sign.
        best = []
        for e, x in errors:
            if best and (best[-1][0] > 0) == (e > 0):
                if abs(e) > abs(best[-1][0]):
                    best[-1] = (e, x)
            else:
                best.append((e, x))
        worst = max(abs(e) for e, _ in best)
        while len(best) > n:
            best.pop(0 if abs(best[0][0]) < abs(best[-1][0]) else -1)
        if len(best) < n or worst < level * mpf("1.001"):
            break
        nodes = [x for _, x in best]
    return c, worst


def near_zero(f, series):
    """f by its Taylor series where cancellation would spoil it."""
    c = taylor_of(series)
    return lambda x: mp.polyval(c[::-1], x) if abs(x) < mpf("1e-3") else f(x)


def taylor_of(terms):
    return [mpf(t) for t in terms]


def factorials(start, count):
    return [1 / mp.factorial(start + k) for k in range(count)]


ln2 = log(mpf(2))
one = lambda x: mpf(1)


def relative(f):
    return lambda x: 1 / abs(f(x))


def root(z):
    return sqrt(z)


exp2 = lambda x: mpf(2) ** x
expm1_rest = near_zero(lambda r: (expm1(r) - r) / r ** 2, factorials(2, 14))
log_rest = near_zero(lambda z: 2 * (atanh(root(z)) - root(z)) / root(z) ** 3, [mpf(2) / (2 * k + 3) for k in range(14)])
sin_rest = near_zero(lambda z: (sin(root(z)) - root(z)) / root(z) ** 3, [(-1) ** (k + 1) / mp.factorial(2 * k + 3) for k in range(12)])
cos_rest = near_zero(lambda z: (cos(root(z)) - 1 + z / 2) / z ** 2, [(-1) ** k / mp.factorial(2 * k + 4) for k in range(12)])
asin_series = [mp.binomial(2 * k, k) / (mpf(4) ** k * (2 * k + 1)) for k in range(1, 16)]
asin_rest = near_zero(lambda z: (asin(root(z)) - root(z)) / root(z) ** 3, asin_series)
atan_rest = near_zero(lambda z: (atan(root(z)) - root(z)) / root(z) ** 3, [(-1) ** (k + 1) / mpf(2 * k + 3) for k in range(14)])
erf_ratio = near_zero(lambda z: erf(root(z)) / root(z), [(-1) ** k * 2 / sqrt(pi) / (mp.factorial(k) * (2 * k + 1)) for k in range(12)])


def erfcx_of(t):
    x = 2 * (1 + t) / (1 - t)  # t = (x - 2) / (x + 2)
    return exp(x * x) * erfc(x)


def t_of(x):
    return (mpf(x) - 2) / (mpf(x) + 2)


half_ln2 = ln2 / 2 * mpf("1.001")
s_max = (sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1)
quarter = (pi / 4 * mpf("1.001")) ** 2
eighth = (sqrt(mpf(2)) - 1) ** 2 * mpf("1.001")

# Weights turn the error of the fitted rest into the relative error of the function.
ROWS = [
    # name, f, lo, hi, weight, f32 target, f64 target
    ("exp2_floor", exp2, 0, 1, relative(exp2), mpf("3e-9"), None),
    ("exp2_floor_fast", exp2, 0, 1, relative(exp2), mpf("1.5e-7"), None),
    ("exp2_round", exp2, mpf("-0.501"), mpf("0.501"), relative(exp2), mpf("3e-9"), None),
    ("expm1", expm1_rest, -half_ln2, half_ln2, lambda r: abs(r) + mpf("0.01"), mpf("4e-9"), mpf("1e-17")),
    ("log", log_rest, 0, s_max ** 2 * mpf("1.001"), lambda z: z / 2 + mpf("1e-5"), mpf("6e-9"), mpf("1e-17")),
    ("sin", sin_rest, 0, quarter, lambda z: z + mpf("1e-4"), mpf("6e-9"), mpf("2e-17")),
    ("cos", cos_rest, 0, quarter, lambda z: z ** 2 + mpf("1e-3"), mpf("6e-9"), mpf("2e-17")),
    ("asin", asin_rest, 0, mpf("0.2501"), lambda z: z + mpf("1e-4"), mpf("8e-9"), mpf("3e-17")),
    ("atan", atan_rest, 0, eighth, lambda z: z + mpf("1e-4"), mpf("8e-9"), mpf("3e-17")),
    ("erf", erf_ratio, 0, 1, relative(erf_ratio), mpf("8e-9"), mpf("3e-17")),
    ("erfcx", erfcx_of, (t_of("0.47"), t_of("0.47")), (t_of("10.3"), t_of("27.5")), relative(erfcx_of), mpf("2e-8"), mpf("6e-17")),
]

# log2 of erfc(a / sqrt 2) / 2: the weight makes it an absolute error of that half of erfc, which is all that gelu needs.
half_erfc = lambda a: erfc(a / sqrt(mpf(2))) / 2
log1p_ratio = near_zero(lambda t: log(1 + t) / t, [(-1) ** k / mpf(k + 1) for k in range(14)])
tanh_series = [mp.taylor(mp.tanh, 0, 31)[2 * k + 3] for k in range(14)]
tanh_rest = near_zero(lambda z: (mp.tanh(root(z)) - root(z)) / root(z) ** 3, tanh_series)
CUDA_ROWS = [
    ("log2 of half erfc", lambda a: log(half_erfc(a)) / ln2, 0, 6, lambda a: ln2 * half_erfc(a), mpf("1e-8")),
    ("log1p(t) / t", log1p_ratio, 0, 1, relative(log1p_ratio), mpf("1e-8")),
    ("(tanh(x) - x) / x^3 by x^2, |x| to 0.55", tanh_rest, 0, mpf("0.3025"), lambda z: z + mpf("1e-4"), mpf("5e-8")),
]


def lowest_degree(name, f, w, a, b, target):
    for degree in range(2, 30):
        c, error = remez(f, w, a, b, degree)
        if error < target:
            return c, error
    raise SystemExit(f"{name}: no degree reaches {target}")


def emit(name, ctype, c, error):
    if ctype == "float":
        words = ", ".join(float.hex(single(v)) + "f" for v in c)
    else:
        words = ", ".join(float.hex(float(v)) for v in c)
    print(f"inline constexpr {ctype} {name}[] = {{  // degree {len(c) - 1}, error {mp.nstr(error, 2)}")
    print(f"    {words}}};")


def single(v):
    import struct
    return struct.unpack("f", struct.pack("f", float(v)))[0]


def main():
    print("// Minimax polynomials, lowest coefficient first. Written by tools/coefficients/fit.py; change it there.")
    print("#pragma once\n\nnamespace quern::cpu::coefficients {\n\n// clang-format off")
    for name, f, lo, hi, w, f32, f64 in ROWS:
        for k, (ctype, suffix, target) in enumerate((("float", "_f32", f32), ("double", "_f64", f64))):
            if target is None:
                continue
            a = mpf(lo[k] if isinstance(lo, tuple) else lo)
            b = mpf(hi[k] if isinstance(hi, tuple) else hi)
            emit(name + suffix, ctype, *lowest_degree(name, f, w, a, b, target))
    # 2/pi in digits of 24 bits, enough for the largest f64.
    words = []
    mp.dps = 500
    rest = 2 / +pi
    for _ in range(52):
        rest *= 2 ** 24
        word = int(mp.floor(rest))
        rest -= word
        words.append(word)
    print("inline constexpr double two_over_pi[] = {")
    print("    " + ", ".join(f"{w}.0" for w in words) + "};")
    print("// clang-format on\n\n}  // namespace quern::cpu::coefficients")


def main_cuda():
    for name, f, lo, hi, w, target in CUDA_ROWS:
        c, error = lowest_degree(name, f, w, mpf(lo), mpf(hi), target)
        print(f"{name}: degree {len(c) - 1}, error {mp.nstr(error, 2)}, lowest first")
        print("    " + ", ".join(f"{single(v):.9g}f" for v in c))


if sys.argv[1:] == ["cuda"]:
    main_cuda()
else:
    main()
