// Quern: tensor arithmetic written as a string, compiled to a kernel. This is all that a C++ program includes.
//
//   quern::Kernel attention(R"(kernel attention<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {
//     s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)
//     o[m,d] = sum[n](softmax[n](s[m,n]) * v[n,d])
//   })");
//   quern::Tensor o = attention(q, k, v);
#pragma once

#include <quern/cache.h>
#include <quern/error.h>
#include <quern/gpu.h>
#include <quern/kernel.h>
#include <quern/tensor.h>
