// malloc and its kin, of the program and on request of jansson, fail once on command: $KVAT_TEST_FAIL_ALLOC counts to
// the failure, and a byte on descriptor $KVAT_TEST_FAIL_FD says that it was met. Linked with --wrap into a copy of the
// program.
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);

static long left; /* allocations until the failure; 0: none is due */

static bool fails(void) {
    if (left == 0 || --left > 0) return false;
    const char *fd = getenv("KVAT_TEST_FAIL_FD");
    if (fd && write(atoi(fd), "x", 1) != 1) abort();
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size) {
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text) {
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t n) {
    return fails() ? NULL : __real_strndup(text, n);
}

int __wrap_main(int argc, char **argv) {
    const char *count = getenv("KVAT_TEST_FAIL_ALLOC");
    left = count ? atol(count) : 0;
    if (getenv("KVAT_TEST_FAIL_JANSSON")) json_set_alloc_funcs(__wrap_malloc, free);
    return __real_main(argc, argv);
}
