/* A library with NVML's interface and two devices, of which the second does not answer.
 * Must not know who loads it. */
#include <stdio.h>
#include <stdlib.h>

#define EXPORTED __attribute__((visibility("default")))

typedef struct memory {
    unsigned long long total, free, used;
} memory;

EXPORTED int nvmlInit_v2(void);
EXPORTED int nvmlShutdown(void);
EXPORTED int nvmlDeviceGetCount_v2(unsigned *count);
EXPORTED int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
EXPORTED int nvmlDeviceGetName(void *device, char *name, unsigned length);
EXPORTED int nvmlDeviceGetMemoryInfo(void *device, memory *info);
EXPORTED int nvmlSystemGetDriverVersion(char *version, unsigned length);

static char devices[2];

int nvmlInit_v2(void) {
    return getenv("FAKE_NVML_NO_DRIVER") ? 9 : 0;
}

int nvmlShutdown(void) {
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = 2;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = &devices[index];
    return index < 1 ? 0 : 15;
}

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    snprintf(name, length, "Fake %d", device == &devices[0] ? 0 : 1);
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *device, memory *info) {
    (void)device;
    info->total = 80ULL << 30;
    return 0;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "550.1");
    return 0;
}
