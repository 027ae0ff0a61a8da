/* kvat-misbehave: a worker with a tiny fake engine that does one thing wrong, at one method, on demand. */
/* Must not know: kvat's own code. It breaks the protocol by hand. */

/*
 * usage: kvat-misbehave --mode MODE [--at METHOD] [--when TEXT] [--once FILE] [--bytes N] [--delay-ms N]
 *
 * Misbehaves when it is asked METHOD (run when not given). With --when only if the request's line holds TEXT; with
 * --once only while FILE does not exist, and makes it. Otherwise it is a well-behaved worker on a virtual clock.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static const char describe_result[] =
    "\"model\":{\"name\":\"misbehave\",\"architecture\":\"fake\",\"format\":\"none\",\"identity\":\"sha256:00\","
    "\"synthetic\":true,\"training_context_tokens\":1048576,\"token_low\":0,\"token_high\":1000},"
    "\"devices\":[{\"name\":\"CPU\",\"kind\":\"cpu\",\"memory_bytes\":1073741824}],"
    "\"knobs\":[{\"name\":\"speed\",\"type\":\"enum\",\"values\":[\"slow\",\"fast\",\"faster\"],\"default\":\"slow\","
    "\"search\":[\"slow\",\"fast\",\"faster\"],\"scope\":\"context\",\"affects\":[\"ttft\",\"decode\"],"
    "\"help\":\"pretended speed\"}],\"absent\":[]";

typedef struct options {
    const char *mode, *at, *when, *once;
    size_t bytes;
    long delay_ms;
} options;

typedef struct request {
    const char *line;
    long long id;
    char method[64];
} request;

static FILE *wire; /* the protocol's own copy of standard output */
static int64_t clock_ns = 1;
static char speed[16] = "slow";

static void sleep_ms(long ms) {
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void hang(void) {
    for (;;) sleep_ms(1000);
}

/* ---- the fake engine ---- */

/* The integer member of that name, or `otherwise`. */
static long long member(const char *line, const char *name, long long otherwise) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(line, key);
    return at ? atoll(at + strlen(key)) : otherwise;
}

static void member_text(char *out, size_t size, const char *line, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(line, key);
    if (at) snprintf(out, size, "%.*s", (int)strcspn(at + strlen(key), "\""), at + strlen(key));
}

static int64_t token_step_ns(void) {
    return !strcmp(speed, "faster") ? 5000000 : !strcmp(speed, "fast") ? 7000000 : 10000000;
}

static void put_token_times(int64_t first_ns, int64_t n) {
    fputs("\"token_ns\":[", wire);
    for (int64_t i = 0; i < n; i++) fprintf(wire, "%s%" PRId64, i ? "," : "", first_ns + i * token_step_ns());
    fputc(']', wire);
    clock_ns = first_ns + (n - 1) * token_step_ns();
}

static void put_sequences(int64_t first_ns, long long prompt, long long n, long long sequences) {
    fputs("\"sequences\":[", wire);
    for (long long s = 0; s < sequences; s++) {
        fprintf(wire, "%s{\"prompt_tokens\":%lld,\"finish\":\"length\",", s ? "," : "", prompt);
        put_token_times(first_ns, n);
        fputc('}', wire);
    }
    fputc(']', wire);
}

/* One mark a pair of numbers in the request's "marks". */
static void put_marks(const char *line, long long sequences) {
    const char *at = strstr(line, "\"marks\":[");
    bool first = true;
    int64_t prefill_ns = 0, depth = 0;
    fputs("\"marks\":[", wire);
    while (at && (at = strstr(at, "{\"output_tokens\":"))) {
        const long long outputs = member(at, "output_tokens", 2), prompt = member(at, "prompt_tokens", 1);
        const int64_t step = (prompt - depth) * token_step_ns() / 10;
        prefill_ns += step;
        depth = prompt;
        fprintf(wire, "%s{\"prompt_tokens\":%lld,\"ttft_ns\":%" PRId64 ",", first ? "" : ",", prompt, prefill_ns);
        put_sequences(clock_ns + step, prompt, outputs, sequences);
        fputc('}', wire);
        first = false;
        at++;
    }
    fputs("],", wire);
}

static void put_run(const char *line) {
    const int64_t start_ns = clock_ns;
    const long long sequences = member(line, "sequences", 1);
    fprintf(wire, "\"status\":\"ok\",\"start_ns\":%" PRId64 ",\"effective\":{},", start_ns);
    if (strstr(line, "\"marks\":[")) {
        put_marks(line, sequences);
        fprintf(wire, "\"end_ns\":%" PRId64, clock_ns);
    } else {
        const long long outputs = member(line, "output_tokens", 2), prompt = member(line, "count", 1);
        put_sequences(start_ns + prompt * token_step_ns() / 10, prompt, outputs, sequences);
    }
}

static void answer(const request *r, long long id, int protocol) {
    fprintf(wire, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{", id);
    if (!strcmp(r->method, "initialize")) {
        clock_ns = member(r->line, "virtual_now_ns", 0);
        fprintf(wire,
                "\"protocol\":%d,\"engine\":{\"name\":\"misbehave\",\"version\":\"1\",\"build\":\"\",\"flags\":[]},"
                "\"clock\":\"virtual\",\"capabilities\":[\"marks\"]",
                protocol);
    } else if (!strcmp(r->method, "describe")) {
        fputs(describe_result, wire);
    } else if (!strcmp(r->method, "load")) {
        fputs("\"effective\":{},\"load_ns\":1000000,\"memory\":{}", wire);
        clock_ns += 1000000;
    } else if (!strcmp(r->method, "prepare")) {
        member_text(speed, sizeof speed, r->line, "speed");
        fprintf(wire, "\"effective\":{\"speed\":\"%s\"},\"context_tokens\":%lld,\"prepare_ns\":1000000,\"memory\":{}",
                speed, member(r->line, "context_tokens", 1));
        clock_ns += 1000000;
    } else if (!strcmp(r->method, "run")) {
        put_run(r->line);
    } else if (!strcmp(r->method, "resources")) {
        fputs("\"host\":{\"current_bytes\":1000000,\"peak_bytes\":1000000,\"source\":\"pretended\"},\"devices\":[]",
              wire);
    } else {
        fputs("\"done\":true", wire);
    }
    fprintf(wire, ",\"now_ns\":%" PRId64 "}}\n", clock_ns);
    fflush(wire);
}

/* ---- what can go wrong ---- */

static void die_by(int number) {
    signal(number, SIG_DFL);
    raise(number);
}

static void use_memory(size_t cap) {
    for (size_t used = 0; used < cap; used += MIB) {
        char *block = malloc(MIB);
        if (!block) {
            fputs("engine: failed to allocate 1048576 bytes\n", stderr);
            die_by(SIGABRT);
        }
        memset(block, 1, MIB);
        __asm__ volatile("" : : "r"(block) : "memory"); /* it is meant to leak and to be touched */
    }
    fputs("nobody stopped me\n", stderr);
    _exit(7);
}

static void leave_process(bool own_session, bool twice) {
    int ready[2];
    char byte = 0;
    if (pipe(ready) != 0) return;
    if (fork() == 0) {
        if (own_session) setsid();
        if (twice && fork() != 0) _exit(0);
        signal(SIGTERM, SIG_IGN);
        fprintf(stderr, "grandchild %ld\n", (long)getpid());
        if (write(ready[1], &byte, 1) == 1) hang();
        _exit(1);
    }
    if (read(ready[0], &byte, 1) != 1) fputs("no grandchild\n", stderr);
    close(ready[0]);
    close(ready[1]);
}

static void leave_grandchildren(void) {
    leave_process(false, false);
    leave_process(true, false);
    leave_process(true, true);
}

static void put_repeated(int fd, char c, size_t n) {
    char block[65536];
    memset(block, c, sizeof block);
    while (n) {
        const ssize_t written = write(fd, block, n < sizeof block ? n : sizeof block);
        if (written <= 0) return;
        n -= (size_t)written;
    }
}

static void put_wire(const char *text) {
    fputs(text, wire);
    fflush(wire);
}

static void mode_segv(const options *o, const request *r) {
    (void)o, (void)r;
    fputs("about to fail\n", stderr);
    die_by(SIGSEGV);
}
static void mode_abort(const options *o, const request *r) {
    (void)o, (void)r;
    fputs("engine.c:12: assertion failed: x > 0\n", stderr);
    die_by(SIGABRT);
}
static void mode_exit0(const options *o, const request *r) {
    (void)o, (void)r;
    _exit(0);
}
static void mode_exit3(const options *o, const request *r) {
    (void)o, (void)r;
    _exit(3);
}
static void mode_answer_exit(const options *o, const request *r) {
    (void)o;
    answer(r, r->id, 1);
    _exit(0);
}
static void mode_oom(const options *o, const request *r) {
    (void)r;
    use_memory(o->bytes ? o->bytes : 1024 * MIB);
}
static void mode_bad_alloc(const options *o, const request *r) {
    (void)o, (void)r;
    fputs("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n", stderr);
    die_by(SIGABRT);
}
static void mode_ignore_term(const options *o, const request *r) {
    (void)o, (void)r;
    signal(SIGTERM, SIG_IGN);
    hang();
}
static void mode_grandchildren(const options *o, const request *r) {
    (void)o;
    leave_grandchildren();
    answer(r, r->id, 1);
}
static void mode_grandchildren_exit(const options *o, const request *r) {
    (void)o, (void)r;
    leave_grandchildren();
    _exit(5);
}
static void mode_flood_stderr(const options *o, const request *r) {
    put_repeated(STDERR_FILENO, '!', o->bytes ? o->bytes : 1024 * MIB);
    answer(r, r->id, 1);
}
static void mode_flood_progress(const options *o, const request *r) {
    for (size_t n = o->bytes ? o->bytes / 80 : 1000; n; n--)
        fputs("{\"jsonrpc\":\"2.0\",\"method\":\"progress\",\"params\":{\"stage\":\"x\",\"done\":1,\"total\":2}}\n",
              wire);
    answer(r, r->id, 1);
}
static void mode_half_line(const options *o, const request *r) {
    (void)o, (void)r;
    put_wire("{\"jsonrpc\":\"2.0\",\"id\":");
    hang();
}
static void mode_half_line_exit(const options *o, const request *r) {
    (void)o, (void)r;
    put_wire("{\"jsonrpc\":\"2.0\",\"id\":");
    _exit(0);
}
static void mode_long_line(const options *o, const request *r) {
    (void)r;
    put_repeated(fileno(wire), 'x', o->bytes ? o->bytes : 17 * MIB);
    put_wire("\n");
    hang();
}
static void mode_wrong_id(const options *o, const request *r) {
    (void)o;
    answer(r, r->id + 1000, 1);
    hang();
}
static void mode_wrong_version(const options *o, const request *r) {
    (void)o;
    answer(r, r->id, 2);
    hang();
}
static void mode_late_answer(const options *o, const request *r) {
    signal(SIGTERM, SIG_IGN);
    sleep_ms(o->delay_ms);
    answer(r, r->id, 1);
}
static void mode_answer_twice(const options *o, const request *r) {
    (void)o;
    answer(r, r->id, 1);
    answer(r, r->id, 1);
}
static void mode_garbage(const options *o, const request *r) {
    (void)o, (void)r;
    put_wire("Loading model \x1b[31m\xff\xfe 100%\n");
    hang();
}
static void mode_deep_json(const options *o, const request *r) {
    (void)o;
    fprintf(wire, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":", r->id);
    fflush(wire);
    put_repeated(fileno(wire), '[', 100000);
    put_wire("\n");
    hang();
}
static void mode_request(const options *o, const request *r) {
    (void)o, (void)r;
    put_wire("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"give_me_a_shell\",\"params\":{}}\n");
    hang();
}
static void mode_close_stdout(const options *o, const request *r) {
    (void)o, (void)r;
    fclose(wire);
    hang();
}
static void mode_stop(const options *o, const request *r) {
    (void)o, (void)r;
    raise(SIGSTOP);
}
static void mode_stop_both(const options *o, const request *r) {
    (void)o, (void)r;
    kill(getppid(), SIGSTOP); /* its supervisor */
    raise(SIGSTOP);
}
static void mode_hang(const options *o, const request *r) {
    (void)o, (void)r;
    hang();
}
static void mode_none(const options *o, const request *r) {
    (void)o;
    answer(r, r->id, 1);
}

static const struct {
    const char *name;
    void (*act)(const options *o, const request *r);
} modes[] = {
    {"none", mode_none},
    {"segv", mode_segv},
    {"abort", mode_abort},
    {"exit0", mode_exit0},
    {"exit3", mode_exit3},
    {"answer-exit", mode_answer_exit},
    {"oom", mode_oom},
    {"bad-alloc", mode_bad_alloc},
    {"ignore-term", mode_ignore_term},
    {"grandchildren", mode_grandchildren},
    {"grandchildren-exit", mode_grandchildren_exit},
    {"flood-stderr", mode_flood_stderr},
    {"flood-progress", mode_flood_progress},
    {"half-line", mode_half_line},
    {"half-line-exit", mode_half_line_exit},
    {"long-line", mode_long_line},
    {"wrong-id", mode_wrong_id},
    {"wrong-version", mode_wrong_version},
    {"late-answer", mode_late_answer},
    {"answer-twice", mode_answer_twice},
    {"garbage", mode_garbage},
    {"deep-json", mode_deep_json},
    {"request", mode_request},
    {"close-stdout", mode_close_stdout},
    {"stop", mode_stop},
    {"stop-both", mode_stop_both},
    {"hang", mode_hang},
};

/* ---- serving ---- */

/* Is this the moment? */
static bool due(const options *o, const request *r) {
    if (strcmp(o->at, r->method) != 0 || (o->when && !strstr(r->line, o->when))) return false;
    if (!o->once) return true;
    const int fd = open(o->once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static void handle(const options *o, const char *line) {
    request r = {.line = line, .id = member(line, "id", -1)};
    member_text(r.method, sizeof r.method, line, "method");
    if (r.method[0] == '$') return;
    if (!due(o, &r)) {
        answer(&r, r.id, 1);
    } else {
        for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
            if (!strcmp(o->mode, modes[i].name)) modes[i].act(o, &r);
    }
    if (!strcmp(r.method, "shutdown")) exit(0);
}

static bool parse(options *o, int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--mode"))
            o->mode = argv[i + 1];
        else if (!strcmp(argv[i], "--at"))
            o->at = argv[i + 1];
        else if (!strcmp(argv[i], "--when"))
            o->when = argv[i + 1];
        else if (!strcmp(argv[i], "--once"))
            o->once = argv[i + 1];
        else if (!strcmp(argv[i], "--bytes"))
            o->bytes = (size_t)atoll(argv[i + 1]);
        else if (!strcmp(argv[i], "--delay-ms"))
            o->delay_ms = atol(argv[i + 1]);
        else
            return false;
    }
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(o->mode, modes[i].name)) return true;
    return false;
}

int main(int argc, char **argv) {
    options o = {.mode = "none", .at = "run", .delay_ms = 1000};
    if (!parse(&o, argc, argv)) {
        fputs(
            "usage: kvat-misbehave --mode MODE [--at METHOD] [--when TEXT] [--once FILE] [--bytes N] [--delay-ms N]\n",
            stderr);
        return 2;
    }
    wire = fdopen(dup(STDOUT_FILENO), "w");
    if (!wire || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return 1;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) handle(&o, line);
    free(line);
    return 0;
}
