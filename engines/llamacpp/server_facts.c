// Reads what builds of llama.cpp say of themselves, and compares two of them.
// Must not know: processes, the protocol's messages.
#include "server_facts.h"

#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"
#include "llama.h"

/* ---- libraries ---- */

enum { MOST_LIBRARY_BYTES = 256 << 20 };

static const char *const library_names[KVAT_SERVER_LIBRARY_COUNT] = {"libllama.so", "libggml-base.so",
                                                                     "libggml-cpu.so"};

/* The path may be what a stranger's program said: only a file of a library's size, and never one that can block. */
static FILE *open_library(const char *path) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat facts;
    FILE *file = NULL;
    if (fd < 0) return NULL;
    if (fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size <= MOST_LIBRARY_BYTES) file = fdopen(fd, "r");
    if (!file) close(fd);
    return file;
}

static void hash_file(char hex[KVAT_HASH_HEX], const char *path) {
    FILE *file = open_library(path);
    char part[16384];
    kvat_hash hash;
    if (!file) return;
    kvat_hash_init(&hash);
    for (size_t n = 1, sum = 0; n > 0 && sum <= MOST_LIBRARY_BYTES; sum += n) {
        n = fread(part, 1, sizeof part, file);
        kvat_hash_update(&hash, part, n);
    }
    bool whole = feof(file) && !ferror(file);
    fclose(file);
    if (whole) kvat_hash_final(hex, &hash);
}

/* Linked statically, the symbol is in the program itself, whose content tells nothing. */
static void hash_ours(kvat_server_facts *out, int library, const void *symbol) {
    Dl_info info;
    if (!dladdr(symbol, &info) || !info.dli_fname) return;
    const char *slash = strrchr(info.dli_fname, '/');
    const char *name = slash ? slash + 1 : info.dli_fname;
    if (strncmp(name, library_names[library], strlen(library_names[library])) == 0)
        hash_file(out->libraries[library], info.dli_fname);
}

void kvat_server_facts_libraries(kvat_server_facts *out, const char *said) {
    for (const char *line = said; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        char name[128], path[4096];
        if (sscanf(line, " %127s => %4095[^\n]", name, path) != 2) continue;
        char *address = strstr(path, " (0x");
        if (!address || path[0] != '/') continue;
        *address = '\0';
        for (int i = 0; i < KVAT_SERVER_LIBRARY_COUNT; i++)
            if (strncmp(name, library_names[i], strlen(library_names[i])) == 0) hash_file(out->libraries[i], path);
    }
}

kvat_server_likeness kvat_server_libraries_compare(const kvat_server_facts *a, const kvat_server_facts *b) {
    kvat_server_likeness likeness = KVAT_SERVER_SAME;
    for (int i = 0; i < KVAT_SERVER_LIBRARY_COUNT; i++) {
        if (!a->libraries[i][0] || !b->libraries[i][0])
            likeness = KVAT_SERVER_UNKNOWN;
        else if (strcmp(a->libraries[i], b->libraries[i]) != 0)
            return KVAT_SERVER_OTHER;
    }
    return likeness;
}

/* ---- version ---- */

static bool is_plain(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] < ' ' || text[i] > '~') return false;
    return n > 0;
}

/* "unknown", and anything else that is no abbreviated hash, is none. */
static void take_commit(kvat_server_facts *out, const char *text) {
    size_t n = strspn(text, "0123456789abcdef");
    if (n >= 7 && n < sizeof out->commit && !isalnum((unsigned char)text[n]))
        snprintf(out->commit, sizeof out->commit, "%.*s", (int)n, text);
}

/* "0.5.0 (build 123, commit 0123abc)"; before there were such versions, "4567 (0123abc)" */
bool kvat_server_facts_version(kvat_server_facts *out, const char *said) {
    static const char mark[] = "version: ";
    const char *line = said;
    while (line && strncmp(line, mark, strlen(mark)) != 0) line = strchr(line, '\n'), line = line ? line + 1 : NULL;
    if (!line) return false;
    line += strlen(mark);
    size_t n = strcspn(line, "\r\n"), word = strcspn(line, " \r\n");
    if (n >= sizeof out->line || word == 0 || word >= sizeof out->version || !is_plain(line, n)) return false;
    snprintf(out->line, sizeof out->line, "%.*s", (int)n, line);
    snprintf(out->version, sizeof out->version, "%.*s", (int)word, line);
    const char *commit = strstr(out->line, "commit "), *bracket = strchr(out->line, '(');
    if (commit)
        take_commit(out, commit + strlen("commit "));
    else if (bracket)
        take_commit(out, bracket + 1);
    return true;
}

/* ---- devices ---- */

/* Appends "name: description" of `n` bytes; false when there is no room. */
static bool add_device(kvat_server_facts *out, const char *text, size_t n) {
    size_t used = strlen(out->devices);
    int more = snprintf(out->devices + used, sizeof out->devices - used, "%s%.*s", used ? ", " : "", (int)n, text);
    for (char *c = out->devices + used; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return more >= 0 && (size_t)more < sizeof out->devices - used;
}

/* Length without the memory at the end, which changes: "CUDA0: NAME (81089 MiB, 80500 MiB free)" */
static size_t without_memory(const char *line, size_t n) {
    static const char end[] = " MiB free)";
    if (n < strlen(end) || strncmp(line + n - strlen(end), end, strlen(end)) != 0) return n;
    for (size_t i = n; i-- > 1;)
        if (line[i] == '(' && line[i - 1] == ' ') return i - 1;
    return n;
}

void kvat_server_facts_devices(kvat_server_facts *out, const char *said) {
    static const char head[] = "Available devices:\n";
    const char *line = strstr(said, head);
    if (!line) return;
    out->devices_known = true;
    for (line += strlen(head); strncmp(line, "  ", 2) == 0;) {
        size_t n = strcspn(line, "\n");
        bool none = n == 8 && strncmp(line, "  (none)", n) == 0;
        if (!none && !add_device(out, line + 2, without_memory(line + 2, n - 2))) out->devices_known = false;
        line += n + (line[n] == '\n');
    }
}

static void add_our_devices(kvat_server_facts *out) {
    out->devices_known = true;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        char text[256];
        if (ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU) continue;
        snprintf(text, sizeof text, "%s: %s", ggml_backend_dev_name(device), ggml_backend_dev_description(device));
        if (!add_device(out, text, strlen(text))) out->devices_known = false;
    }
}

/* ---- ours, and differences ---- */

void kvat_server_facts_of_ours(kvat_server_facts *out) {
    *out = (kvat_server_facts){0};
    const char *version = llama_version();
    snprintf(out->version, sizeof out->version, "%s", version ? version : "");
    take_commit(out, ggml_commit());
    add_our_devices(out);
    hash_ours(out, KVAT_SERVER_LLAMA, (const void *)(uintptr_t)llama_version);
    hash_ours(out, KVAT_SERVER_GGML_BASE, (const void *)(uintptr_t)ggml_version);
    hash_ours(out, KVAT_SERVER_GGML_CPU, (const void *)(uintptr_t)ggml_cpu_init);
}

/* Abbreviations of one hash may differ in length. */
static bool same_commit(const char *a, const char *b) {
    size_t n = strlen(a) < strlen(b) ? strlen(a) : strlen(b);
    return strncmp(a, b, n) == 0;
}

static bool differ(const char *a, const char *b) {
    return *a && *b && strcmp(a, b) != 0;
}

static const char *or_none(const char *devices) {
    return *devices ? devices : "none";
}

/* Libraries with the same content are the same build, whatever the program around them is called. */
static void put_build_difference(kvat_buf *out, const kvat_server_facts *server, const kvat_server_facts *ours) {
    kvat_server_likeness likeness = kvat_server_libraries_compare(server, ours);
    if (likeness == KVAT_SERVER_SAME) return;
    bool commits = *server->commit && *ours->commit && !same_commit(server->commit, ours->commit);
    if (differ(server->version, ours->version))
        kvat_buf_printf(out, "it is version %s, not %s", server->line, ours->version);
    else if (commits)
        kvat_buf_printf(out, "it was built at commit %s, not %s", server->commit, ours->commit);
    else if (likeness == KVAT_SERVER_OTHER)
        kvat_buf_printf(out,
                        "it calls itself %s too, but its libraries are not those measured, as with other build "
                        "options or another compiler",
                        ours->version);
}

void kvat_server_put_differences(kvat_buf *out, const kvat_server_facts *server, const kvat_server_facts *ours) {
    put_build_difference(out, server, ours);
    if (!server->devices_known || !ours->devices_known || strcmp(server->devices, ours->devices) == 0) return;
    kvat_buf_printf(out, "%sits devices besides the CPU are %s, not %s", out->length ? "; " : "",
                    or_none(server->devices), or_none(ours->devices));
}
