// Resident memory from /proc, after the C library has given back what it keeps.
// Must not know: libllama, the protocol.
#include "resources.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

static int64_t read_kilobytes(const char *line, const char *name) {
    long long value = 0;
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0 || sscanf(line + n, " %lld kB", &value) != 1) return -1;
    return value * 1024;
}

bool kvat_resources_read(kvat_resources *out) {
    FILE *file = fopen("/proc/self/status", "re");
    if (!file) return false;
    kvat_resources seen = {-1, -1};
    char line[256];
    while (fgets(line, sizeof line, file)) {
        int64_t bytes = read_kilobytes(line, "VmRSS:");
        if (bytes >= 0) seen.current_bytes = bytes;
        bytes = read_kilobytes(line, "VmHWM:");
        if (bytes >= 0) seen.peak_bytes = bytes;
    }
    fclose(file);
    if (seen.current_bytes < 0 || seen.peak_bytes < 0) return false;
    /* The two are counted apart and lazily; a peak below the present would be nonsense. */
    if (seen.peak_bytes < seen.current_bytes) seen.peak_bytes = seen.current_bytes;
    *out = seen;
    return true;
}

bool kvat_resources_reset(void) {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (file < 0) return false;
    bool done = write(file, "5", 1) == 1;
    close(file);
    return done;
}
