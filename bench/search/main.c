// kvat_bench_search: searches over thousands of simulated machines of known truth.
// Knows the library by its public headers alone.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gate.h"
#include "report.h"
#include "serve.h"

typedef struct arguments {
    cell_options cell;
    const char *spaces, *worlds, *noises; // separated by commas
    const char *json;
    bool gate, serve;
} arguments;

static int usage(void) {
    fprintf(stderr,
            "usage: kvat_bench_search [OPTION…]     a table of what searches cost and find\n"
            "  --space N[,N…]         24, 480, 1440, 4800, 10000 configurations (24,480)\n"
            "  --world KIND[,KIND…]   plain, inert, cliffs, infeasible, ties, broken, hard (plain);\n"
            "                         inert and ties not of 10000\n"
            "  --surface FILE         the world of a kvat-surface/1 file instead\n"
            "  --noise KIND[,KIND…]   quiet, desktop, noisy, heavy, step, trace, launch (quiet,desktop,noisy)\n"
            "  --trace FILE           what noise \"trace\" replays\n"
            "  --method NAME          of the library (its choice)\n"
            "  --confirm HOW          pairs, as a run does; none (pairs)\n"
            "  --worlds N             of each cell, each searched twice (20)\n"
            "  --runs N               searches of each world (2)\n"
            "  --seed N               (1)\n"
            "  --trials N             most runs of a search (no limit)\n"
            "  --delta X              what is as good as the best (0.01; 0.02 beyond 24 configurations)\n"
            "  --incumbent            search once more with the first answer stored\n"
            "  --peers NAME[,NAME…]   random, grid, halving: in as much time as the search took in the same world\n"
            "  --times X[,X…]         … times this (1)\n"
            "  --json FILE            write the figures there, too\n"
            "  --gate                 a small part held against the targets; exits 1 when one is missed\n"
            "  --serve                lend worlds to another program (bench/README.md)\n");
    return 2;
}

static bool read_text(arguments *a, const char *name, const char *value) {
    const struct {
        const char *name;
        const char **to;
    } options[] = {{"--space", &a->spaces},         {"--world", &a->worlds},     {"--noise", &a->noises},
                   {"--surface", &a->cell.surface}, {"--trace", &a->cell.trace}, {"--method", &a->cell.method},
                   {"--confirm", &a->cell.confirm}, {"--json", &a->json}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(options[i].name, name) != 0) continue;
        *options[i].to = value;
        return true;
    }
    return false;
}

static bool read_peers(cell_options *options, const char *list) {
    for (size_t length; *list; list += length + (list[length] == ',')) {
        length = strcspn(list, ",");
        size_t p = 0;
        while (p < PEER_COUNT && (strncmp(peer_names[p], list, length) != 0 || peer_names[p][length])) p++;
        if (p == PEER_COUNT) return false;
        options->peers[p] = true;
    }
    return true;
}

static bool read_times(cell_options *options, const char *list) {
    char *end;
    for (options->n_times = 0; *list; list = *end ? end + 1 : end) {
        if (options->n_times == MOST_TIMES) return false;
        options->times[options->n_times] = strtod(list, &end);
        if (end == list || (*end && *end != ',') || !(options->times[options->n_times++] > 0)) return false;
    }
    return options->n_times > 0;
}

static bool read_valued(arguments *a, const char *name, const char *value) {
    if (read_text(a, name, value)) return true;
    if (strcmp(name, "--worlds") == 0) return (a->cell.worlds = strtoul(value, NULL, 10)) > 0;
    if (strcmp(name, "--runs") == 0) return (a->cell.runs = strtoul(value, NULL, 10)) > 0 && a->cell.runs < 4;
    if (strcmp(name, "--trials") == 0) return (a->cell.trials = strtoul(value, NULL, 10)) > 0;
    if (strcmp(name, "--seed") == 0) return a->cell.seed = strtoul(value, NULL, 10), true;
    if (strcmp(name, "--delta") == 0) return (a->cell.delta = strtod(value, NULL)) > 0;
    if (strcmp(name, "--peers") == 0) return read_peers(&a->cell, value);
    if (strcmp(name, "--times") == 0) return read_times(&a->cell, value);
    return false;
}

static bool read_arguments(arguments *a, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--gate") == 0)
            a->gate = true;
        else if (strcmp(argv[i], "--serve") == 0)
            a->serve = true;
        else if (strcmp(argv[i], "--incumbent") == 0)
            a->cell.incumbent = true;
        else if (i + 1 == argc || !read_valued(a, argv[i], argv[i + 1]))
            return false;
        else
            i++;
    }
    return true;
}

// The next name of a list separated by commas; false at its end. `name` has 32 places.
static bool next_name(char *name, const char **list) {
    const size_t length = strcspn(*list, ",");
    if (length == 0 || length > 31) return false;
    memcpy(name, *list, length);
    name[length] = '\0';
    *list += length + ((*list)[length] == ',');
    return true;
}

static bool run_cell(json_t *all, const cell_options *options) {
    cell c;
    if (!cell_run(&c, options)) return false;
    report_line(&c);
    json_array_append_new(all, report_json(&c));
    cell_clear(&c);
    return true;
}

static bool run_noises(json_t *all, cell_options *options, const char *noises) {
    char name[32];
    while (next_name(name, &noises)) {
        options->noise = noise_find(name);
        if (options->noise == ENV_COUNT) return fprintf(stderr, "no such noise: %s\n", name), false;
        if (!run_cell(all, options)) return false;
    }
    return true;
}

static bool run_worlds(json_t *all, cell_options *options, const char *worlds, const char *noises) {
    char name[32];
    while (next_name(name, &worlds)) {
        options->kind = world_kind_find(name);
        if (options->kind == WORLD_KINDS) return fprintf(stderr, "no such kind of world: %s\n", name), false;
        if (!run_noises(all, options, noises)) return false;
    }
    return true;
}

static bool run_all(json_t *all, arguments *a) {
    char name[32];
    report_header();
    if (a->cell.surface) return run_noises(all, &a->cell, a->noises);
    for (const char *spaces = a->spaces ? a->spaces : "24,480"; next_name(name, &spaces);) {
        a->cell.space = strtoul(name, NULL, 10);
        if (!run_worlds(all, &a->cell, a->worlds, a->noises)) return false;
    }
    return true;
}

// Whole or not at all.
static bool write_json(const json_t *all, const char *path) {
    char part[4096];
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part) return false;
    const bool ok = json_dump_file(all, part, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0 && rename(part, path) == 0;
    if (!ok) fprintf(stderr, "cannot write %s\n", path);
    return ok;
}

int main(int argc, char **argv) {
    arguments a = {CELL_OPTIONS_INIT, NULL, "plain", "quiet,desktop,noisy", NULL, false, false};
    if (!read_arguments(&a, argc, argv)) return usage();
    if (a.serve) return serve(stdin, stdout) ? 0 : 1;
    if (a.gate) return gate(a.cell.method, a.spaces) ? 0 : 1;
    json_t *all = json_array();
    bool ok = run_all(all, &a);
    if (ok && a.json) ok = write_json(all, a.json);
    json_decref(all);
    return ok ? 0 : 1;
}
