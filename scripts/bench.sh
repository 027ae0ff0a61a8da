#!/usr/bin/env bash
# Runs the benchmarks of bench/README.md, or those named: search store startup overhead llama_bench fidelity; and, only
# when named, large (LARGE_SHORT and LARGE_LONG are its budgets, 10m and 40m).
# Results go to bench/results/. OVERHEAD_TIME (60s) is the length of the real run, BENCH_PAIRS (15) those of llama_bench.
# SEARCH_SIZE (quick) is quick or full: only full-size figures go to bench/results/ and docs/. SEARCH_JOBS (all processors)
# cells run at once; SEARCH_RESUME=1 goes on with a run that was interrupted; SEARCH_ONLY is a regular expression of cells.
# SEARCH_SURFACES names recorded surfaces to search, too.
set -euo pipefail
cd "$(dirname "$0")/.."

all=(startup store search overhead llama_bench fidelity)
wanted=("$@")
[ $# -gt 0 ] || wanted=("${all[@]}")
for name in "${wanted[@]}"; do
    case " ${all[*]} large " in
    *" $name "*) ;;
    *)
        echo "bench: no benchmark '$name' (there are: ${all[*]} large)" >&2
        exit 2
        ;;
    esac
done

KVAT_LLAMA_PREFIX=$(engines/llamacpp/find-libllama.sh --peers)
export KVAT_LLAMA_PREFIX KVAT_BUILD=$PWD/build/release KVAT=$PWD/build/release/bin/kvat
scripts/build.sh release
build() { cmake --build --preset release --target "$1" >/dev/null; }
results=bench/results
mkdir -p "$results"
failed=0

search() {
    local size=${SEARCH_SIZE:-quick} out=$PWD/build/bench-search docs=$PWD/build/bench-search surface args=()
    build kvat_bench_search
    if [ "$size" = full ]; then
        out=$results/search docs=docs
    fi
    [ -z "${SEARCH_RESUME:-}" ] || args+=(--resume)
    for surface in ${SEARCH_SURFACES:-}; do args+=(--surface "$surface"); done
    python3 bench/search/run.py build/release/bench/search/kvat_bench_search "$out" --size "$size" \
        --jobs "${SEARCH_JOBS:-$(nproc)}" --only "${SEARCH_ONLY:-}" "${args[@]}" &&
        python3 bench/search/plot.py "$out" "$docs" &&
        python3 bench/search/table.py "$out" "$docs/search-figures.md"
}

large() {
    local model=synthetic:qwen2.5-0.5b out=$PWD/build/bench-large length seed=0 rc
    for length in "${LARGE_SHORT:-10m}" "${LARGE_LONG:-40m}"; do
        rc=0
        "$KVAT" tune "$model" --sweep all --profile ci-micro --time "$length" --seed "$seed" --winners none --fresh \
            -o "$out/$length" || rc=$?
        [ "$rc" = 0 ] || [ "$rc" = 6 ] || return "$rc" # 6: not decided, which is an answer, too
        seed=7
    done
    python3 bench/large/pairs.py "$model" "$out/${LARGE_SHORT:-10m}/best_plan.json" "$out/${LARGE_LONG:-40m}/best_plan.json"
}

run() {
    case $1 in
    startup) python3 bench/startup/startup.py ;;
    overhead) python3 bench/overhead/overhead.py --time "${OVERHEAD_TIME:-60s}" ;;
    llama_bench) python3 bench/llama_bench/compare.py --pairs "${BENCH_PAIRS:-15}" ;;
    fidelity)
        build kvat_bench_fidelity
        python3 bench/fidelity/agreement.py
        ;;
    search) search ;;
    large) large ;;
    store)
        build kvat_bench_store
        build/release/bench/store/kvat_bench_store | tee "$results/store.txt"
        ;;
    esac
}

load=$(cut -d' ' -f1 /proc/loadavg)
echo "bench: load average $load; figures mean something on a machine that has nothing else to do"
for name in "${wanted[@]}"; do
    echo "bench: $name"
    run "$name" || failed=1
done
echo "bench: results are in $PWD/$results"
exit "$failed"
