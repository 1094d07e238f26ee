# Cache and ahead of time. Predicted: first process compiles 5 kernels (0.5 to 2 s each), second one loads each in <= 3 ms with NVRTC missing and
# not opened; functions from `quern compile --source` (no LLVM) bit for bit those compiled at run time, speed ratio 1.00 +- 0.02; both .cu programs right.
cmake --build build-device --target libquern-aot.so -j 16 > $OUT/build.log 2>&1 || tail -20 $OUT/build.log
b=$(dirname $LIB); ls $b/libquern-aot.so $b/libquern.so || true
tools/ahead_check/run $b 2>&1 | tee $OUT/ahead_check.txt
export QUERN_CACHE=on QUERN_CACHE_DIR=/tmp/judge_cache
for nv in "" /nowhere/libnvrtc.so; do
  echo "== judge, QUERN_NVRTC='$nv'"; date +%s
  if [ -n "$nv" ]; then export QUERN_NVRTC=$nv; fi
  timeout 60 $Q judge tests/cuda_programs/plans/roles.quern tests/cuda_programs/plans/sorted.quern tests/cuda_programs/plans/stores.quern --on cuda --cache 2>&1 | tail -4
done
date +%s
