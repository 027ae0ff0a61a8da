// The llama.cpp worker's process: arguments, then the protocol until the end.
// Must not know: models, knobs, how requests are answered.
#include <stdio.h>

#include "worker.h"

static bool was_cancelled(void *user) {
    kvat_llamacpp_worker *worker = user;
    return worker->serve && kvat_serve_cancelled(worker->serve);
}

static void on_progress(void *user, const char *stage, int64_t done, int64_t total) {
    kvat_llamacpp_worker *worker = user;
    if (worker->serve) kvat_serve_progress(worker->serve, stage, done, total);
}

int main(int argc, char **argv) {
    kvat_settings settings;
    kvat_fault fault = {0};
    if (kvat_llamacpp_arguments(&settings, argv + (argc > 0), &fault) != 0) {
        fprintf(stderr, "kvat-llamacpp: %s\n", fault.detail);
        return 2;
    }
    static kvat_llamacpp_worker worker;
    kvat_llama_init(&worker.engine, &settings);
    worker.engine.stop = was_cancelled;
    worker.engine.progress = on_progress;
    worker.engine.user = &worker;
    int code = kvat_serve_run(&kvat_llamacpp_ops, &worker);
    kvat_llama_clear(&worker.engine);
    return code;
}
