/* Feeds every file of the folders named on the command line to a fuzz target, as an ordinary test.
 * Must not know which target it is linked with. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool complain(const char *path) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return false;
}

/* Exactly `n` bytes on the heap, so that the sanitizers see every step beyond the end. */
static bool replay_bytes(FILE *file, size_t n) {
    uint8_t *bytes = malloc(n ? n : 1);
    bool complete = bytes && fread(bytes, 1, n, file) == n;
    if (complete) LLVMFuzzerTestOneInput(bytes, n);
    free(bytes);
    return complete;
}

static bool replay_file(const char *path) {
    struct stat about;
    FILE *file = fopen(path, "rb");
    if (!file) return complain(path);
    bool replayed = fstat(fileno(file), &about) == 0 && replay_bytes(file, (size_t)about.st_size);
    fclose(file);
    return replayed || complain(path);
}

/* How many files there were; −1 when one could not be read. */
static long replay_folder(const char *path) {
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) {
        complain(path);
        return -1;
    }
    long replayed = 0;
    for (int i = 0; i < n; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && replayed >= 0) replayed = replay_file(name) ? replayed + 1 : -1;
        free(entries[i]);
    }
    free(entries);
    return replayed;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER…\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        long replayed = replay_folder(argv[i]);
        if (replayed < 0) return 1;
        printf("%s: %ld inputs replayed\n", argv[i], replayed);
        if (replayed == 0) return 1;
    }
    return 0;
}
