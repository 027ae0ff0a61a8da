/* Allocation functions that fail on command.
 * Must not know what is being tested. */
#include "fail_alloc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
int __real_vasprintf(char **text, const char *format, va_list args);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
int __wrap_vasprintf(char **text, const char *format, va_list args);
int __wrap_asprintf(char **text, const char *format, ...);

/* Left to go until the failure; 0 when none is armed or it has passed. */
static _Thread_local size_t countdown;
static _Thread_local bool persistent;
static _Thread_local bool met;

void fail_alloc_arm(size_t n, bool and_all_after) {
    countdown = n;
    persistent = and_all_after;
    met = false;
}

bool fail_alloc_disarm(void) {
    countdown = 0;
    persistent = false;
    return met;
}

static bool fails_now(void) {
    if (met && persistent) {
        errno = ENOMEM;
        return true;
    }
    if (countdown == 0 || --countdown > 0) return false;
    met = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size) {
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return fails_now() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text) {
    return fails_now() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t n) {
    return fails_now() ? NULL : __real_strndup(text, n);
}

int __wrap_vasprintf(char **text, const char *format, va_list args) {
    return fails_now() ? -1 : __real_vasprintf(text, format, args);
}

int __wrap_asprintf(char **text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = __wrap_vasprintf(text, format, args);
    va_end(args);
    return length;
}

/* True when the failure was met. */
static bool run_step(fail_alloc_step *step, void *context, size_t n, bool and_all_after) {
    kvat_error err = KVAT_ERROR_INIT;
    fail_alloc_arm(n, and_all_after);
    kvat_status status = step(context, &err);
    bool reached = fail_alloc_disarm();
    if (!reached && status != KVAT_OK) fail_msg("without a failing allocation: %s", err.message);
    if (reached && status != KVAT_OK && status != KVAT_ERR_NOMEM)
        fail_msg("allocation %zu failing: %s instead of out_of_memory: %s", n, kvat_status_word(status), err.message);
    if (reached && status != KVAT_OK && err.message[0] == '\0') fail_msg("allocation %zu failing: no message", n);
    return reached;
}

size_t fail_alloc_each(fail_alloc_step *step, void *context) {
    size_t n = 1;
    while (run_step(step, context, n, false)) {
        run_step(step, context, n, true);
        n++;
    }
    return n - 1;
}
