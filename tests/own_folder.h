// A folder of its own for each test that wants one: made before it, its working folder meanwhile, removed after it.
// Must not know what the tests put there.
#ifndef KVAT_TESTS_OWN_FOLDER_H
#define KVAT_TESTS_OWN_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int enter_folder(void **state) {
    char *folder = strdup("/tmp/kvat-test-XXXXXX");
    *state = folder;
    return folder && mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static inline int leave_folder(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf -- '%s'", (char *)*state);
    free(*state);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

#define FOLDER_TEST(f) cmocka_unit_test_setup_teardown(f, enter_folder, leave_folder)

#endif
