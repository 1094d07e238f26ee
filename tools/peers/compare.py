#!/usr/bin/env python3
"""Quern beside its peers on one GPU: the same tensors, in one process, interleaved, results checked before a speed counts.

  compare.py --library build-device/libquern.so [--only attention,rows] [--json FILE] [--seconds 0.2] [--lengths 2048,8192] [--yardstick FOLDER]

Each case: random normal data; every contender's result, Quern's and the peers', against one reference in f64 (sampled rows for
attention and products); who is wrong is named and not timed. Then rounds in which each contender runs for a while in turn; the
median over rounds is printed with Quern's share of each contender's speed, and whether what is asked of the case was reached.
A table is a file with a function: a new one gets a row in TABLES."""
import argparse
import json

import attention
import compile_times
import decode
import f32
import products
import rows
import scores
import suite
import torch

TABLES = {"attention": attention.forward, "scores": scores.scores, "product": products.products, "decode": decode.decode,
          "rows": rows.rows, "f32": f32.f32, "compile": compile_times.compile_times}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="libquern.so")
    parser.add_argument("--only", default="", help=f"tables ({', '.join(TABLES)}) or starts of the names of cases, separated by commas")
    parser.add_argument("--json", help="write all figures there")
    parser.add_argument("--seconds", type=float, default=0.2, help="measuring time per contender and case")
    parser.add_argument("--lengths", default="512,1024,2048,4096,8192,16384", type=lambda s: [int(t) for t in s.split(",")], help="of the table attention")
    parser.add_argument("--yardstick", help="folder with a hand-written attention_sm90.cu, one more contender of the table attention")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with torch.cuda.stream(torch.cuda.Stream()):  # one that can be captured
        run = suite.Suite(arguments)
        for name, table in TABLES.items():
            if run.wanted(name):
                table(run)
    run.summary()
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump(run.results, f, indent=1)


if __name__ == "__main__":
    main()
