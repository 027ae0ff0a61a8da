/* A root of files that stand for /proc and /sys.
 * Must not be used outside tests/unit/probe. */
#ifndef KVAT_TESTS_PROBE_FIXTURE_H
#define KVAT_TESTS_PROBE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "own_folder.h"
#include "probe_internal.h"

#define UNUSED __attribute__((unused))

/* The tests run in the folder that is their root. */
static const kvat__root here = {.prefix = "."};

/* Writes "./<path>" and the folders above it. */
UNUSED static void put(const char *path, const char *text) {
    char full[512];
    snprintf(full, sizeof full, ".%s", path);
    for (char *slash = strchr(full + 2, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "wb");
    if (!file) fail_msg("cannot write %s", full);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

#endif
