// The fingerprint of the machine, from /proc, /sys and uname.
// Must not know the host's name, the user's, or any path of theirs.
#include "probe_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

enum { KIB = 1024, FLAGS_BYTES = 8192 };

static void read_cpu(kvat_machine *out, const kvat__root *root) {
    char flags[FLAGS_BYTES];
    kvat_buf text = KVAT_BUF_INIT;
    if (kvat__read(&text, root, "/proc/cpuinfo")) {
        kvat__text_after(out->cpu_model, sizeof out->cpu_model, text.bytes, "model name");
        if (!out->cpu_model[0]) kvat__text_after(out->cpu_model, sizeof out->cpu_model, text.bytes, "Model");
        kvat__text_after(flags, sizeof flags, text.bytes, "flags");
        if (!flags[0]) kvat__text_after(flags, sizeof flags, text.bytes, "Features");
        kvat__cpu_features(out->cpu_features, sizeof out->cpu_features, flags);
        out->virtual_machine = kvat__has_word(flags, "hypervisor");
    }
    if (kvat__read(&text, root, "/sys/hypervisor/type")) out->virtual_machine = true;
    if (kvat__read(&text, root, "/proc/device-tree/hypervisor/compatible")) out->virtual_machine = true;
    kvat_buf_clear(&text);
    kvat__read_word(out->governor, sizeof out->governor, root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
}

static void read_os(kvat_machine *out, const kvat__root *root) {
    struct utsname name;
    char distribution[96] = "";
    kvat_buf text = KVAT_BUF_INIT;
    if (kvat__read(&text, root, "/etc/os-release"))
        kvat__text_after(distribution, sizeof distribution, text.bytes, "PRETTY_NAME");
    kvat_buf_clear(&text);
    size_t n = strlen(distribution);
    bool quoted = n >= 2 && distribution[0] == '"' && distribution[n - 1] == '"';
    if (quoted) distribution[n - 1] = '\0';
    if (uname(&name) != 0) return;
    (void)snprintf(out->architecture, sizeof out->architecture, "%.31s", name.machine);
    (void)snprintf(out->os, sizeof out->os, "%.16s %.48s%s%.56s", name.sysname, name.release,
                   distribution[0] ? ", " : "", distribution + quoted);
}

static int64_t kib_after(const char *text, const char *key) {
    int64_t value = kvat__number_after(text, key);
    return value > 0 && value < INT64_MAX / KIB ? value * KIB : 0;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void read_memory(kvat_machine *out, const kvat__limits *limits, const kvat__root *root) {
    kvat_buf text = KVAT_BUF_INIT;
    if (kvat__read(&text, root, "/proc/meminfo")) {
        out->memory_bytes = kib_after(text.bytes, "MemTotal");
        out->swap_bytes = kib_after(text.bytes, "SwapTotal");
        out->memory_limit_bytes = least(out->memory_bytes, limits->memory_bytes);
        out->memory_available_bytes = least(kib_after(text.bytes, "MemAvailable"), limits->headroom_bytes);
    }
    kvat_buf_clear(&text);
}

void kvat__machine_read(kvat_machine *out, const kvat__root *root) {
    kvat__limits limits;
    kvat__limits_read(&limits, root);
    out->cpu_quota = limits.cpu_quota;
    read_cpu(out, root);
    read_os(out, root);
    read_memory(out, &limits, root);
}

/** A quota of 1.5 cores keeps no more than two threads busy. */
static void apply_quota(kvat_machine *m) {
    if (m->cpu_quota <= 0 || m->cpu_quota >= m->threads) return;
    int most = (int)ceil(m->cpu_quota);
    if (m->threads > most) m->threads = most;
    if (m->cores > most) m->cores = most;
}

kvat_status kvat_probe_machine(kvat_machine *out, kvat_error *err) {
    bool out_of_memory = false;
    const kvat__root live = {.prefix = "", .out_of_memory = &out_of_memory};
    kvat_machine machine = {0};
    kvat__machine_read(&machine, &live);
    if (out_of_memory) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot read what this machine is");
    kvat_status status = kvat__topology_read(&machine, err);
    if (status != KVAT_OK) return status;
    apply_quota(&machine);
    kvat__gpus_read(&machine, "libnvidia-ml.so.1");
    *out = machine;
    return KVAT_OK;
}

/** The kernel keeps a few pages more or less for itself from boot to boot: equal machines must look equal. */
static json_int_t coarse(int64_t bytes) {
    const int64_t step = INT64_C(64) << 20;
    return (bytes + step / 2) / step * step;
}

static json_t *gpus_json(const kvat_machine *m) {
    json_t *array = json_array();
    for (int i = 0; array && i < m->n_gpus; i++) {
        const kvat_gpu *gpu = &m->gpus[i];
        json_t *item = json_pack("{s:s, s:I, s:s}", "name", gpu->name, "memory_bytes", coarse(gpu->memory_bytes),
                                 "driver", gpu->driver);
        if (!item || json_array_append_new(array, item) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

kvat_status kvat_machine_json(json_t **out, const kvat_machine *m, kvat_error *err) {
    json_t *gpus = gpus_json(m);
    json_t *json =
        gpus ? json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:f, s:i, s:I, s:I, s:I, s:s, s:b, s:O}", "cpu_model",
                         m->cpu_model, "cpu_features", m->cpu_features, "architecture", m->architecture, "os", m->os,
                         "packages", m->packages, "cores", m->cores, "threads", m->threads, "cpu_quota", m->cpu_quota,
                         "numa_nodes", m->numa_nodes, "memory_bytes", coarse(m->memory_bytes), "memory_limit_bytes",
                         coarse(m->memory_limit_bytes), "swap_bytes", coarse(m->swap_bytes), "governor", m->governor,
                         "virtual_machine", m->virtual_machine, "gpus", gpus)
             : NULL;
    json_decref(gpus);
    if (!json) return kvat_fail(err, KVAT_ERR_NOMEM, "out of memory: cannot describe the machine");
    *out = json;
    return KVAT_OK;
}
