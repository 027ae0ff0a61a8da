// kvat info: the machine, as far as it matters to measurements, and how noisy it is.
// It must not name the host or the user.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "kvat/probe.h"
#include "kvat/units.h"

#define NOISE_PROBE_NS (2 * KVAT_NS_PER_S)

static const cli_example examples[] = {
    {"kvat info", "processor, memory, devices, versions"},
    {"kvat info --noise", "measure for two seconds how steady this machine is"},
    {NULL, NULL},
};
static const char *const about[] = {
    "What is printed names neither the host nor the user, and can be passed on as it is.",
    NULL,
};
static const cli_option options[] = {
    {.id = CLI_NOISE, .name = "noise", .group = "Machine", .help = "measure the noise of the machine, for two seconds"},
};

static void put_row(kvat_buf *out, const char *name) {
    kvat_buf_printf(out, "%-14s", name);
}

static void put_text_row(kvat_buf *out, const cli_io *io, const char *name, const char *text) {
    if (!*text) return;
    put_row(out, name);
    cli_put(out, io, text);
    kvat_buf_putc(out, '\n');
}

static void put_size_row(kvat_buf *out, const char *name, int64_t bytes) {
    put_row(out, name);
    cli_put_size(out, bytes);
    kvat_buf_putc(out, '\n');
}

static void put_cpu(kvat_buf *out, const cli_io *io, const kvat_machine *machine) {
    put_text_row(out, io, "processor", machine->cpu_model);
    put_text_row(out, io, "features", machine->cpu_features);
    put_row(out, "cores");
    kvat_buf_printf(out, "%d core%s, %d thread%s, %d package%s, %d NUMA node%s", machine->cores,
                    machine->cores == 1 ? "" : "s", machine->threads, machine->threads == 1 ? "" : "s",
                    machine->packages, machine->packages == 1 ? "" : "s", machine->numa_nodes,
                    machine->numa_nodes == 1 ? "" : "s");
    if (machine->cpu_quota > 0) kvat_buf_printf(out, ", limited to %.3g by the cgroup", machine->cpu_quota);
    kvat_buf_putc(out, '\n');
    put_text_row(out, io, "governor", machine->governor);
    put_text_row(out, io, "architecture", machine->architecture);
    put_text_row(out, io, "system", machine->os);
    if (machine->virtual_machine) put_text_row(out, io, "virtual", "yes: expect more noise than on bare metal");
}

static void put_memory(kvat_buf *out, const kvat_machine *machine) {
    put_size_row(out, "memory", machine->memory_bytes);
    if (machine->memory_limit_bytes != machine->memory_bytes)
        put_size_row(out, "limited to", machine->memory_limit_bytes);
    put_size_row(out, "available", machine->memory_available_bytes);
    put_row(out, "swap");
    if (machine->swap_bytes > 0)
        kvat_put_bytes(out, machine->swap_bytes);
    else
        kvat_buf_puts(out, "none");
    kvat_buf_putc(out, '\n');
}

static void put_gpus(kvat_buf *out, const cli_io *io, const kvat_machine *machine) {
    for (int i = 0; i < machine->n_gpus; i++) {
        put_row(out, "GPU");
        cli_put(out, io, machine->gpus[i].name);
        kvat_buf_puts(out, ", ");
        cli_put_size(out, machine->gpus[i].memory_bytes);
        kvat_buf_puts(out, ", driver ");
        cli_put(out, io, machine->gpus[i].driver);
        kvat_buf_putc(out, '\n');
    }
    if (machine->n_gpus > 0) return;
    put_row(out, "GPU");
    kvat_buf_puts(out, "none");
    if (*machine->gpu_note) {
        kvat_buf_puts(out, " (");
        cli_put(out, io, machine->gpu_note);
        kvat_buf_putc(out, ')');
    }
    kvat_buf_putc(out, '\n');
}

static void put_ratio(kvat_buf *out, const char *label, double ratio) {
    if (isfinite(ratio) && ratio >= 0) kvat_buf_printf(out, "%s%.2g %%", label, 100 * ratio);
}

static void put_noise(kvat_buf *out, const kvat_noise *noise) {
    double sd = fmax(noise->cpu_ratio, noise->memory_ratio);
    put_row(out, "noise");
    put_ratio(out, "processor ", noise->cpu_ratio);
    put_ratio(out, ", memory ", noise->memory_ratio);
    put_ratio(out, ", worst ", noise->worst_ratio);
    kvat_buf_printf(out, " (%s)\n", sd < 0.03 ? "fine" : sd < 0.05 ? "usable" : "noisy: answers will take longer");
    put_row(out, "load");
    kvat_buf_printf(out, "%.2f", noise->load_average);
    put_ratio(out, ", others took ", noise->foreign_cpu_ratio);
    kvat_buf_puts(out, " of the processor\n");
}

static void put_versions(kvat_buf *out) {
    put_row(out, "kvat");
    kvat_buf_printf(out, "%s\n", kvat_version());
    put_row(out, "jansson");
    kvat_buf_printf(out, "%s\n", jansson_version_str());
}

static json_t *noise_json(const kvat_noise *noise) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:i}", "cpu_ratio", cli_json_real(noise->cpu_ratio), "memory_ratio",
                     cli_json_real(noise->memory_ratio), "worst_ratio", cli_json_real(noise->worst_ratio),
                     "load_average", cli_json_real(noise->load_average), "foreign_cpu_ratio",
                     cli_json_real(noise->foreign_cpu_ratio), "samples", noise->samples);
}

static kvat_status show_json(cli_io *io, const kvat_machine *machine, const kvat_noise *noise, kvat_error *err) {
    json_t *json = NULL;
    kvat_status status = kvat_machine_json(&json, machine, err);
    if (status != KVAT_OK) return status;
    json_t *document =
        json_pack("{s:s, s:s, s:{s:s}, s:o, s:I, s:o}", "format", "kvat-info/1", "version", kvat_version(), "libraries",
                  "jansson", jansson_version_str(), "machine", json, "memory_available_bytes",
                  (json_int_t)machine->memory_available_bytes, "noise", noise ? noise_json(noise) : json_null());
    return cli_out_json(io, document, err);
}

static kvat_status info(cli_context *context, kvat_error *err) {
    kvat_machine machine;
    kvat_noise noise;
    kvat_buf text = KVAT_BUF_INIT;
    bool with_noise = cli_has(context->args, CLI_NOISE);
    kvat_status status = kvat_probe_machine(&machine, err);
    if (status == KVAT_OK && with_noise) status = kvat_probe_noise(&noise, NOISE_PROBE_NS, err);
    if (status != KVAT_OK) return status;
    if (context->io->json) return show_json(context->io, &machine, with_noise ? &noise : NULL, err);
    put_versions(&text);
    put_cpu(&text, context->io, &machine);
    put_memory(&text, &machine);
    put_gpus(&text, context->io, &machine);
    if (with_noise) put_noise(&text, &noise);
    cli_next(context->io, with_noise ? "Next: kvat engines" : "Next: kvat info --noise, kvat engines");
    return cli_out_buf(context->io, &text, err);
}

const cli_command cli_cmd_info = {
    .name = "info",
    .summary = "show the machine, versions, and how noisy it is",
    .usage = "[options]",
    .examples = examples,
    .about = about,
    .options = options,
    .n_options = CLI_COUNT(options),
    .max_words = 0,
    .completes = CLI_TEXT,
    .run = info,
};
