# Cache and ahead of time, again with libquern-aot. Predicted: first process compiles 5 kernels (0.5 to 2 s each), second one loads each in <= 3 ms with
# NVRTC missing and not opened; functions from `quern compile --source` (no LLVM) bit for bit those compiled at run time, speed ratio 1.00 +- 0.02.
b=/tmp/libs; mkdir -p $b
aot=$(find . -name libquern-aot.so.0.1.0 | head -1)
if [ -z "$aot" ]; then
  cmake -S . -B /tmp/aot -G Ninja -DCMAKE_BUILD_TYPE=Release -DQUERN_LLVM=OFF -DQUERN_TESTS=OFF > $OUT/configure.log 2>&1 || tail -5 $OUT/configure.log
  cmake --build /tmp/aot --target libquern-aot.so -j 16 > $OUT/build.log 2>&1 || tail -20 $OUT/build.log
  aot=$(find /tmp/aot -name libquern-aot.so.0.1.0 | head -1)
fi
cp "$aot" $b/libquern-aot.so.0; ln -sf libquern-aot.so.0 $b/libquern-aot.so
cp "$LIB" $b/libquern.so.0; ln -sf libquern.so.0 $b/libquern.so; cp "$Q" $b/quern
export LD_LIBRARY_PATH=$b:${LD_LIBRARY_PATH:-}
tools/ahead_check/run $b 2>&1 | tee $OUT/ahead_check.txt
export QUERN_CACHE=on QUERN_CACHE_DIR=/tmp/judge_cache
for nv in "" /nowhere/libnvrtc.so; do
  if [ -n "$nv" ]; then export QUERN_NVRTC=$nv; fi
  s=$SECONDS
  timeout 40 $Q judge tests/cuda_programs/plans/roles.quern tests/cuda_programs/plans/rows.quern --on cuda --cache --shard 0/8 2>&1 | tail -3
  echo "judge with QUERN_NVRTC='$nv': $((SECONDS - s)) s"
done
