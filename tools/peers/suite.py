"""What all tables share: contenders on the same tensors, judged against one reference, timed in turn, printed and kept for JSON.

A case is a dict of contenders (functions without arguments that queue work), their errors, and what is asked of Quern:
`asked={"cudnn": 1.0}` is a share of a peer's speed, `{"ms": 0.45}` a time, `{"GB/s": 3700}` a rate."""
import statistics

import quern_c
import torch


def timed(contenders, seconds):
    """Milliseconds per call by name: median over rounds in which each runs in turn."""
    each = min(20.0, 100 * seconds)  # milliseconds of a contender in a round
    counts, times = {}, {name: [] for name in contenders}
    for name, call in contenders.items():
        for _ in range(3):
            call()
        torch.cuda.synchronize()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        counts[name] = max(1, int(each / max(start.elapsed_time(end), 1e-3)))
    spent = 0.0
    while spent < seconds * 1e3 * len(contenders) or len(times[next(iter(times))]) < 5:
        for name, call in contenders.items():
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            for _ in range(counts[name]):
                call()
            end.record()
            torch.cuda.synchronize()
            ms = start.elapsed_time(end)
            spent += ms
            times[name].append(ms / counts[name])
    return {name: statistics.median(t) for name, t in times.items()}


def graphed(call, launches):
    """`launches` calls as one CUDA graph on the current stream: what a short kernel takes without its caller's time."""
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        for _ in range(launches):
            call()
    return graph.replay


class Suite:
    def __init__(self, arguments):
        self.library, self.seconds = quern_c.load(arguments.library), arguments.seconds
        self.only = [o for o in arguments.only.split(",") if o]
        self.arguments, self.results, self.kernels = arguments, [], {}

    def wanted(self, name):
        """Whether a case, or any case of a table, was asked for."""
        return not self.only or any(name.startswith(o) or o.startswith(name + "-") for o in self.only)

    def quern(self, text, kernel, inputs, outputs, **settings):
        """A call of a kernel, compiled once for all cases."""
        key = (text, kernel, tuple(sorted(settings.items(), key=lambda s: s[0])))
        if key not in self.kernels:
            self.kernels[key] = quern_c.Kernel(self.library, text, kernel, **settings)
        return self.kernels[key].bind(inputs, outputs)

    def add(self, name, contenders, errors, who, make, error):
        """One contender: what `make` gives is called once and judged; a peer that refuses the case is named and left out."""
        try:
            call = make()
            result = call()
            torch.cuda.synchronize()
            contenders[who], errors[who] = call, error(result)
        except Exception as e:
            print(f"{name}: {who} does not take it: {' '.join(str(e).split())[:300]}", flush=True)

    def report(self, name, errors, contenders, limit, work, unit, scale, asked=None, works=None, launches=0):
        """`work` by `scale` and seconds gives `unit`; `works`: contenders that do other work. `launches`: times are those of a
        call in a graph of that many."""
        good = {}
        for who, call in contenders.items():
            if errors[who] <= limit:
                good[who] = graphed(call, launches) if launches else call
            else:
                print(f"{name}: {who} is WRONG: error {errors[who]:.3g} > {limit:.3g}", flush=True)
        if not good:
            return
        times = {w: t / max(1, launches) for w, t in timed(good, self.seconds).items()}
        works = works or {}
        rates = {w: works.get(w, work) / (t * 1e-3) * scale for w, t in times.items()}
        row = {"case": name, "ms": times, "error": errors, unit: rates}
        text = "  ".join(f"{w} {t:.4f} ms {rates[w]:.0f} {unit}" for w, t in times.items())
        if "quern" in times:
            row["share"] = {w: rates["quern"] / r for w, r in rates.items() if w != "quern"}
            text += "  [" + " ".join(f"{share:.3f} x {w}" for w, share in row["share"].items()) + "]"
        row["asked"] = {}
        for what, least in (asked or {}).items():
            # A family of contenders ("yardstick a", "yardstick b") is held against its best.
            family = [s for w, s in row.get("share", {}).items() if w.split()[0] == what]
            if "quern" not in times:
                reached = 0.0
            elif what == "ms":
                reached = least / times["quern"]
            elif what == unit:
                reached = rates["quern"] / least
            elif family:
                reached = min(family) / least
            else:
                continue
            row["asked"][what] = {"asked": least, "reached": reached}
            text += f"  {what} {least}: {'ok' if reached >= 1 else f'MISSED, {reached:.3f} of it'}"
        print(f"{name}: {text}", flush=True)
        self.results.append(row)

    def summary(self):
        asked = [(r["case"], what, a) for r in self.results for what, a in r["asked"].items()]
        missed = [(case, what, a) for case, what, a in asked if a["reached"] < 1]
        print(f"{len(asked)} figures asked, {len(missed)} missed" + (":" if missed else ""))
        for case, what, a in missed:
            print(f"  {case}: {a['reached']:.3f} of {what} {a['asked']}")
