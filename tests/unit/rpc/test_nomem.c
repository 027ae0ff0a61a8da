/* Running out of memory at any moment of a worker's life: a clean answer, nothing leaked, nobody left behind. */
/* Must not know: where memory is taken. */
#include "worker_kit.h"

#include <jansson.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail_alloc.h"

static kvat_status a_life(void *context, kvat_error *err) {
    (void)context;
    const char *environment[] = {"KVAT_TEST_WORD=x", NULL};
    const char *command[] = {MISBEHAVE, "--mode", "flood-progress", "--bytes", "80", NULL};
    const kvat_worker_options options = {.command = command, .environment = environment};
    kvat_worker *worker = NULL;
    kvat_call call = {0};
    kvat_status status = kvat_worker_spawn(&worker, &options, err);
    if (status == KVAT_OK) status = kvat_worker_call(&call, worker, "run", NULL, 20 * KVAT_NS_PER_S, err);
    if (status == KVAT_OK && call.outcome != KVAT_CALL_OK) {
        /* an answer that could not be kept for want of memory must not pass for one that the worker got wrong */
        status = kvat_fail(err, KVAT_ERR_INTERNAL, "outcome %d: %s", call.outcome, call.detail);
    }
    kvat_call_clear(&call);
    kvat_worker_kill(worker);
    return status;
}

static void memory_may_fail_at_every_moment_of_a_life(void **state) {
    (void)state;
    assert_true(fail_alloc_each(a_life, NULL) > 10);
    while (waitpid(-1, NULL, 0) > 0) fail_msg("a child was not collected");
    assert_int_equal(errno, ECHILD);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_may_fail_at_every_moment_of_a_life)};
    json_set_alloc_funcs(malloc, free); /* libuv is left its own: it aborts without memory for a watcher */
    return cmocka_run_group_tests(tests, use_built_programs, NULL);
}
