/* Makes allocations of kvat's own code fail on command, so that every path out of memory is walked.
 * Must not be linked into anything but tests. */
#ifndef KVAT_TESTS_FAIL_ALLOC_H
#define KVAT_TESTS_FAIL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#include "kvat/status.h"

/*
 * malloc, calloc, realloc, strdup, strndup, asprintf and vasprintf are intercepted at link time (--wrap) in the test
 * program and the static libraries of kvat, for the thread that armed them. Shared libraries keep their own malloc,
 * unless they are handed the intercepted one:
 *
 *     json_set_alloc_funcs(malloc, free);
 *     uv_replace_allocator(malloc, realloc, calloc, free);
 */

/** The `n`-th allocation from now on (n from 1) fails; with `and_all_after`, so does every later one. */
void fail_alloc_arm(size_t n, bool and_all_after);

/** Allocations succeed again. True when one was made to fail. */
bool fail_alloc_disarm(void);

/** What is to be tried; it must free whatever it made, in every case. */
typedef kvat_status fail_alloc_step(void *context, kvat_error *err);

/**
 * Runs `step` with its first, second, … allocation failing, once alone and once with all that follow, until it gets
 * through without meeting the failure. A step that met one must answer KVAT_ERR_NOMEM with a message, or KVAT_OK when
 * it can do without; the last must answer KVAT_OK. Returns how many failures were met; the sanitizers see the leaks.
 */
size_t fail_alloc_each(fail_alloc_step *step, void *context);

#endif
