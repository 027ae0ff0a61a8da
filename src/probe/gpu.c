// NVIDIA devices by NVML, loaded while running so that no build depends on it.
// Must not know anything of NVML but its public function names.
#include "probe_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef struct nvml_memory {
    unsigned long long total, free, used;
} nvml_memory;

typedef struct nvml {
    void *library;
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned *count);
    int (*handle)(unsigned index, void **device);
    int (*name)(void *device, char *name, unsigned length);
    int (*memory)(void *device, nvml_memory *memory);
    int (*driver)(char *version, unsigned length);
} nvml;

/** A function pointer out of an object pointer, as POSIX allows and ISO C has no cast for. */
static bool look_up(void *function, const nvml *n, const char *name) {
    void *symbol = dlsym(n->library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static bool nvml_open(nvml *n, const char *library) {
    n->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    return n->library && look_up(&n->init, n, "nvmlInit_v2") && look_up(&n->shutdown, n, "nvmlShutdown") &&
           look_up(&n->count, n, "nvmlDeviceGetCount_v2") && look_up(&n->handle, n, "nvmlDeviceGetHandleByIndex_v2") &&
           look_up(&n->name, n, "nvmlDeviceGetName") && look_up(&n->memory, n, "nvmlDeviceGetMemoryInfo") &&
           look_up(&n->driver, n, "nvmlSystemGetDriverVersion");
}

static bool read_gpu(kvat_gpu *out, const nvml *n, unsigned index) {
    void *device = NULL;
    nvml_memory memory = {0};
    if (n->handle(index, &device) != 0 || n->name(device, out->name, sizeof out->name) != 0) return false;
    out->name[sizeof out->name - 1] = '\0';
    if (n->memory(device, &memory) == 0) out->memory_bytes = (int64_t)memory.total;
    if (n->driver(out->driver, sizeof out->driver) != 0) out->driver[0] = '\0';
    out->driver[sizeof out->driver - 1] = '\0';
    return true;
}

static void read_gpus(kvat_machine *out, const nvml *n) {
    const unsigned places = sizeof out->gpus / sizeof out->gpus[0];
    unsigned found = 0;
    if (n->count(&found) != 0) found = 0;
    for (unsigned i = 0; i < found && i < places; i++) {
        kvat_gpu gpu = {0};
        if (read_gpu(&gpu, n, i)) out->gpus[out->n_gpus++] = gpu;
    }
    if (out->n_gpus == 0) (void)snprintf(out->gpu_note, sizeof out->gpu_note, "NVML finds no device");
    if (found > places) (void)snprintf(out->gpu_note, sizeof out->gpu_note, "%u of %u devices shown", places, found);
}

void kvat__gpus_read(kvat_machine *out, const char *library) {
    nvml n = {0};
    out->n_gpus = 0;
    out->gpu_note[0] = '\0';
    bool open = nvml_open(&n, library);
    if (!open) {
        (void)snprintf(out->gpu_note, sizeof out->gpu_note, "%s", n.library ? "NVML is too old" : "NVML not found");
    } else if (n.init() != 0) {
        (void)snprintf(out->gpu_note, sizeof out->gpu_note, "NVML is there but finds no driver");
    } else {
        read_gpus(out, &n);
        (void)n.shutdown();
    }
    if (n.library) dlclose(n.library);
}
