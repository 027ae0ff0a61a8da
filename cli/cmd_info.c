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

#define NAME_COLUMN 14

static void put_row(kvat_buf *out, const char *name) {
    kvat_buf_printf(out, "%-*s", NAME_COLUMN, name);
}

static void put_text_row(kvat_buf *out, const cli_io *io, const char *name, const char *text) {
    if (!*text) return;
    put_row(out, name);
    cli_put_wrapped(out, io, text, NAME_COLUMN, NAME_COLUMN);
}

/** Empties `text`. */
static void put_buf_row(kvat_buf *out, const cli_io *io, const char *name, kvat_buf *text) {
    put_row(out, name);
    cli_put_wrapped_buf(out, io, text, NAME_COLUMN, NAME_COLUMN);
}

static void put_size_row(kvat_buf *out, const char *name, int64_t bytes) {
    put_row(out, name);
    cli_put_size(out, bytes);
    kvat_buf_putc(out, '\n');
}

static void put_cpu(kvat_buf *out, const cli_io *io, const kvat_machine *machine) {
    put_text_row(out, io, "processor", machine->cpu_model);
    put_text_row(out, io, "features", machine->cpu_features);
    kvat_buf text = KVAT_BUF_INIT;
    kvat_buf_printf(&text, "%d core%s, %d thread%s, %d package%s, %d NUMA node%s", machine->cores,
                    machine->cores == 1 ? "" : "s", machine->threads, machine->threads == 1 ? "" : "s",
                    machine->packages, machine->packages == 1 ? "" : "s", machine->numa_nodes,
                    machine->numa_nodes == 1 ? "" : "s");
    if (machine->cpu_quota > 0) kvat_buf_printf(&text, ", limited to %.3g by the cgroup", machine->cpu_quota);
    put_buf_row(out, io, "cores", &text);
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
    kvat_buf text = KVAT_BUF_INIT;
    for (int i = 0; i < machine->n_gpus; i++) {
        kvat_buf_printf(&text, "%s, ", machine->gpus[i].name);
        cli_put_size(&text, machine->gpus[i].memory_bytes);
        kvat_buf_printf(&text, ", driver %s", machine->gpus[i].driver);
        put_buf_row(out, io, "GPU", &text);
    }
    if (machine->n_gpus > 0) return;
    kvat_buf_puts(&text, "none");
    if (*machine->gpu_note) kvat_buf_printf(&text, " (%s)", machine->gpu_note);
    put_buf_row(out, io, "GPU", &text);
}

static void put_ratio(kvat_buf *out, const char *label, double ratio) {
    if (isfinite(ratio) && ratio > 1)
        kvat_buf_printf(out, "%sover 100 %%", label);
    else if (isfinite(ratio) && ratio >= 0)
        kvat_buf_printf(out, ratio < 0.001 ? "%s%.2f %%" : "%s%.3g %%", label, 100 * ratio);
}

static void put_noise(kvat_buf *out, const cli_io *io, const kvat_noise *noise) {
    double sd = fmax(noise->cpu_ratio, noise->memory_ratio);
    kvat_buf text = KVAT_BUF_INIT;
    put_ratio(&text, "processor ", noise->cpu_ratio);
    put_ratio(&text, ", memory ", noise->memory_ratio);
    put_ratio(&text, ", worst ", noise->worst_ratio);
    kvat_buf_printf(&text, " (%s)", sd < 0.03 ? "fine" : sd < 0.05 ? "usable" : "noisy: answers will take longer");
    put_buf_row(out, io, "noise", &text);
    put_text_row(out, io, "", "how far equal short loops spread; worst: how much the slow ones exceed the usual one");
    kvat_buf_printf(&text, "%.2f", noise->load_average);
    put_ratio(&text, ", others took ", noise->foreign_cpu_ratio);
    kvat_buf_puts(&text, " of the processor");
    put_buf_row(out, io, "load", &text);
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
    if (with_noise) put_noise(&text, context->io, &noise);
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
