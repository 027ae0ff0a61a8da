// links: kvat_sim
/* A surface's file: read or refused, and when read, asked for the truth about a few points. */
/* Must not know: how a surface is played. */
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "surface.h"
#include "truth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const sim_surface *surface) {
    static const sim_point points[] = {{1, 1, 1}, {100, 64, 1}, {512, 32, 4}, {16777216, 2, 1}};
    uint16_t levels[KVAT_KNOBS_MAX] = {0};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        sim_truth truth;
        kvat_error err = KVAT_ERROR_INIT;
        const kvat_status status = sim_truth_at(&truth, surface, levels, points[i], &err);
        if (status == KVAT_OK ? !(isfinite(truth.ttft_s) && truth.ttft_s > 0) : !err.message[0]) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *root = NULL;
    sim_surface *surface = NULL;
    kvat_error err = KVAT_ERROR_INIT;
    if (kvat_json_parse(&root, (const char *)data, size, "surface", &err) == KVAT_OK &&
        sim_surface_parse(&surface, root, &err) == KVAT_OK)
        ask(surface);
    if (!surface && !err.message[0]) abort();
    sim_surface_free(surface);
    json_decref(root);
    return 0;
}
