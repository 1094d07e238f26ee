# fp8 widened by the loading group, sm_90a. Predicted: e4m3 full D128 T8192 640..700 TFLOP/s (bf16 beside it 673), causal 560..600; product 8192 e4m3 600..690
mkdir -p $OUT; cat > $OUT/b.quern <<'E'
kernel full<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D], q_scale: f32[H], k_scale: f32[H], v_scale: f32[H]) -> (o: bf16[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) * (q_scale[h] * k_scale[h] / sqrt(D))
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e]) * v_scale[h]
}
kernel causal<T: type, D>(q: T[B,H,M,D], k: T[B,H,N,D], v: T[B,H,N,D]) -> (o: bf16[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n where n <= m](s[b,h,m,n]) * v[b,h,n,e])
}
kernel product<T: type>(a: T[M,K], b: T[N,K], scale: f32[N]) -> (c: bf16[M,N]) { c[m,n] = sum[k](a[m,k] * b[n,k]) * scale[n] }
kernel weights(a: bf16[M,K], b: e4m3[N,K], scale: f32[N]) -> (c: bf16[M,N]) { c[m,n] = sum[k](a[m,k] * b[n,k]) * scale[n] }
E
for T in bf16 e4m3 e5m2; do for D in 64 128 256; do for k in full causal; do
  [ $T = e5m2 ] && [ $D != 128 ] && continue
  echo "== $k $T D=$D"; $Q bench $OUT/b.quern $k --on cuda --set T=$T --set D=$D --set B=2 --set H=$((2048/D)) --set M=8192 --set N=8192 --seconds 0.3 | tail -2
done; done; done
for T in bf16 e4m3; do echo "== product $T"; $Q bench $OUT/b.quern product --on cuda --set T=$T --set M=8192 --set N=8192 --set K=8192 --seconds 0.3 | tail -2; done
echo "== weights"; $Q bench $OUT/b.quern weights --on cuda --set M=8192 --set N=8192 --set K=8192 --seconds 0.3 | tail -2
$Q judge tests/cuda_programs/plans/widening.quern --on cuda | tail -3
# wide results (second commit of the branch): predicted D512 250..350, latent 576/512 280..350 TFLOP/s (flat before: < 10)
cat > $OUT/w.quern <<'E'
kernel full<D>(q: bf16[B,H,M,D], k: bf16[B,H,N,D], v: bf16[B,H,N,D]) -> (o: bf16[B,H,M,D]) {
  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)
  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])
}
kernel latent<D = 576, E = 512>(q: bf16[B,H,M,D], c: bf16[B,N,D]) -> (o: bf16[B,H,M,E]) {
  require E <= D
  s[b,h,m,n] = sum[d](q[b,h,m,d] * c[b,n,d]) / sqrt(D)
  o[b,h,m,e in 0:E] = sum[n](softmax[n where n <= m + N - M](s[b,h,m,n]) * c[b,n,e])
}
E
for D in 320 512; do echo "== wide full D=$D"; $Q bench $OUT/w.quern full --on cuda --set D=$D --set B=2 --set H=4 --set M=4096 --set N=4096 --seconds 0.3 | tail -2; done
echo "== latent"; $Q bench $OUT/w.quern latent --on cuda --set B=2 --set H=16 --set M=2048 --set N=2048 --seconds 0.3 | tail -2
ls tests/cuda_programs/plans/wide_results.quern && $Q judge tests/cuda_programs/plans/wide_results.quern --on cuda | tail -3
