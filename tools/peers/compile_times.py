"""Seconds from a text to a kernel that is ready to launch, through the C library, nothing on disk: attention bf16 and kernels of rows.

As a program (each measurement is a process of its own): compile_times.py LIBRARY; prints JSON, {case: seconds}. The first compile of
a process also opens NVRTC; `first` is that one, the others follow it."""
import json
import os
import subprocess
import sys
import time

import torch

PROCESSES = 3


def compile_times(suite):
    if not suite.wanted("compile"):
        return
    # NVRTC keeps what it compiled in the driver's cache, too.
    environment = {**os.environ, "QUERN_CACHE": "off", "CUDA_CACHE_DISABLE": "1"}
    runs = []
    for _ in range(PROCESSES):
        done = subprocess.run([sys.executable, __file__, suite.arguments.library], env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            print(f"compile: {done.stderr[-600:]}", flush=True)
            return
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    asked = {"attention": 1.0, "rows": 0.1}
    for case in runs[0]:
        seconds = sorted(r[case] for r in runs)[PROCESSES // 2]
        limit = next((limit for kind, limit in asked.items() if case.startswith(f"compile-{kind}")), None)
        row = {"case": case, "s": seconds, "asked": {"s": {"asked": limit, "reached": limit / seconds}} if limit else {}}
        print(f"{case}: {seconds:.3f} s" + (f"  s {limit}: {'ok' if seconds <= limit else 'MISSED'}" if limit else ""), flush=True)
        suite.results.append(row)


def main():
    import attention
    import quern_c
    import rows
    library = quern_c.load(sys.argv[1])
    torch.zeros(1, device="cuda")
    found = {}

    def measure(case, text, kernel, inputs, outputs, **settings):
        begun = time.perf_counter()
        quern_c.Kernel(library, text, kernel, **settings).bind(inputs, outputs)
        found["compile-" + case] = time.perf_counter() - begun

    x = torch.empty(1024, 8192, device="cuda", dtype=torch.bfloat16)
    measure("first, rows: softmax", rows.TEXT, "softmax_rows", [x], [torch.empty_like(x)], T=torch.bfloat16)
    measure("rows: RMS norm", rows.TEXT, "rms_norm", [x, x[0]], [torch.empty_like(x)], T=torch.bfloat16)
    for d in (64, 128, 256):
        for kernel in ("full", "causal"):
            q, k, v, o = attention.inputs(1, 2, 2, 512, 512, d)
            measure(f"attention: {kernel}, D {d}", attention.TEXT, kernel, [q, k, v], [o], T=torch.bfloat16, D=d)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
