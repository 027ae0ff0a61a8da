// What the user should know of the llama-server that will run the plan.
// Must not know: how it is asked, how builds are compared.
#include <stdio.h>
#include <stdlib.h>

#include "kvat/units.h"
#include "server_ask.h"
#include "server_facts.h"
#include "worker.h"

/* For all questions together. A GPU's driver may take seconds to wake. */
#define PATIENCE_NS (10 * KVAT_NS_PER_S)

/* The version is what counts; a server too old to list its devices is compared by the rest. */
static bool ask_all(kvat_server_facts *out, char why[KVAT_SERVER_WHY], const char *path) {
    static const kvat_server_question questions[] = {KVAT_SERVER_VERSION, KVAT_SERVER_DEVICES, KVAT_SERVER_LIBRARIES};
    int64_t deadline_ns = kvat_now_ns() + PATIENCE_NS;
    bool known = false;
    *out = (kvat_server_facts){0};
    for (size_t i = 0; i < sizeof questions / sizeof *questions && (i == 0 || known); i++) {
        kvat_buf said = KVAT_BUF_INIT;
        char ignored[KVAT_SERVER_WHY];
        bool answered = kvat_server_ask(&said, i == 0 ? why : ignored, path, questions[i], deadline_ns);
        const char *text = answered && said.length ? said.bytes : "";
        if (answered && questions[i] == KVAT_SERVER_VERSION) {
            known = kvat_server_facts_version(out, text);
            if (!known) snprintf(why, KVAT_SERVER_WHY, "it did not tell its version");
        } else if (questions[i] == KVAT_SERVER_DEVICES) {
            kvat_server_facts_devices(out, text);
        } else {
            kvat_server_facts_libraries(out, text);
        }
        kvat_buf_clear(&said);
    }
    return known;
}

static bool put_note(kvat_buf *out, const kvat_server_facts *server, const kvat_server_facts *ours) {
    kvat_buf differences = KVAT_BUF_INIT;
    kvat_server_put_differences(&differences, server, ours);
    if (differences.length)
        kvat_buf_printf(out,
                        "The llama-server on PATH is another build than the one measured, libllama %s: %s. Run by it, "
                        "speed and memory may differ from this plan, and another configuration may be best",
                        ours->version, differences.bytes);
    bool whole = kvat_buf_status(&differences, NULL) == KVAT_OK;
    kvat_buf_clear(&differences);
    return whole;
}

static bool add_note(json_t *notes, const kvat_buf *text) {
    return kvat_buf_status(text, NULL) == KVAT_OK && json_array_append_new(notes, json_string(text->bytes)) == 0;
}

static json_t *facts_json(const kvat_server_facts *server, const kvat_server_facts *ours) {
    static const char *const words[] = {
        [KVAT_SERVER_UNKNOWN] = "unknown", [KVAT_SERVER_SAME] = "same", [KVAT_SERVER_OTHER] = "other"};
    return json_pack("{s:s, s:s}", "version", server->line, "libraries",
                     words[kvat_server_libraries_compare(server, ours)]);
}

/* A warning, and deliberately in nothing that a run is known by: the trials were measured by libllama and stay true
 * whatever is on PATH, so that another server must not make an interrupted run start again. Its path is left out, since
 * reports do not name the user. */
bool kvat__llamacpp_note_server(json_t *result, json_t *notes) {
    char path[4096], why[KVAT_SERVER_WHY] = "";
    kvat_server_facts server, ours;
    kvat_buf text = KVAT_BUF_INIT;
    if (!kvat_server_find(path, sizeof path, getenv("PATH"))) return true;
    bool known = ask_all(&server, why, path), done = true;
    kvat_server_facts_of_ours(&ours);
    if (known)
        done = put_note(&text, &server, &ours);
    else
        kvat_buf_printf(&text,
                        "The llama-server on PATH could not be asked which build it is (%s): whether it is the one "
                        "measured, libllama %s, is not known",
                        why, ours.version);
    if (kvat_buf_status(&text, NULL) != KVAT_OK || text.length) done = done && add_note(notes, &text);
    if (known) done = done && json_object_set_new(result, "server", facts_json(&server, &ours)) == 0;
    kvat_buf_clear(&text);
    return done;
}
