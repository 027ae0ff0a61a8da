/* Winners of earlier runs: what was written is read back, and nothing else is believed.
 * Must not know what a fingerprint is made of. */
#include "unit/store/fixture.h"

#include <jansson.h>

#include "fail_alloc.h"
#include "kvat/file.h"

static const char mine[] = "00000000000000000000000000000000000000000000000000000000000000aa";
static const char other[] = "00000000000000000000000000000000000000000000000000000000000000bb";

static json_t *winner_of(const char *fingerprint, const char *label) {
    return json_pack("{s:s, s:s, s:s, s:{s:i, s:s}}", "format", "kvat-winner/1", "fingerprint", fingerprint, "label",
                     label, "settings", "threads", 4, "flash-attn", "on");
}

static void write_winner(const char *fingerprint, const char *label) {
    json_t *winner = winner_of(fingerprint, label);
    assert_ok(kvat_winner_write("state/winners", winner, err));
    json_decref(winner);
}

static void what_is_remembered_is_read_back_and_replaced(void **state) {
    (void)state;
    static const char *const labels[] = {"threads 4", "threads 2"};
    for (size_t i = 0; i < 2; i++) {
        json_t *found = NULL;
        write_winner(mine, labels[i]);
        assert_ok(kvat_winner_read(&found, "state/winners", mine, err));
        json_t *expected = winner_of(mine, labels[i]);
        assert_true(json_equal(found, expected));
        json_decref(expected);
        json_decref(found);
    }
}

static void without_a_folder_or_a_file_there_is_none(void **state) {
    (void)state;
    json_t *found = NULL;
    assert_ok(kvat_winner_read(&found, "state/winners", mine, err));
    assert_null(found);
    write_winner(other, "threads 4");
    assert_ok(kvat_winner_read(&found, "state/winners", mine, err));
    assert_null(found);
}

static void put_file(const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s.json", mine);
    assert_ok(kvat_file_write(path, text, strlen(text), 0644, err));
}

static void what_is_no_winner_of_that_fingerprint_is_refused_and_named(void **state) {
    (void)state;
    static const char head[] = "{\"format\": \"kvat-winner/1\", \"fingerprint\": "
                               "\"00000000000000000000000000000000000000000000000000000000000000aa\", ";
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", ".json"},
        {"nonsense", ".json"},
        {"[]", "expected an object"},
        {"{\"format\": \"kvat-winner/2\"}", "kvat-winner/1"},
        {"{\"format\": \"kvat-winner/1\", \"fingerprint\": \"b\", \"label\": \"x\", \"settings\": {}}", "named after"},
        {"HEAD\"settings\": {}}", "label"},
        {"HEAD\"label\": \"x\", \"settings\": []}", "settings"},
        {"HEAD\"label\": \"x\", \"settings\": {\"threads\": 1.5}}", "threads"},
        {"HEAD\"label\": \"x\", \"settings\": {\"threads\": {}}}", "threads"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        bool with_head = strncmp(cases[i].text, "HEAD", 4) == 0;
        snprintf(text, sizeof text, "%s%s", with_head ? head : "", cases[i].text + (with_head ? 4 : 0));
        put_file(text);
        json_t *found = NULL;
        assert_refused(KVAT_ERR_DATA, cases[i].words, kvat_winner_read(&found, ".", mine, err));
        assert_null(found);
    }
}

static void a_fingerprint_is_no_path(void **state) {
    (void)state;
    static const char *const names[] = {"", "../../etc/passwd", "AA", "00/00"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *found = NULL, *winner = winner_of(names[i], "x");
        assert_refused(KVAT_ERR_USAGE, "hexadecimal", kvat_winner_read(&found, ".", names[i], err));
        assert_refused(KVAT_ERR_USAGE, "hexadecimal", kvat_winner_write(".", winner, err));
        json_decref(winner);
    }
}

static void nothing_but_a_regular_file_is_read_or_replaced(void **state) {
    (void)state;
    char path[128];
    json_t *found = NULL, *winner = winner_of(mine, "x");
    snprintf(path, sizeof path, "%s.json", mine);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_refused(KVAT_ERR_DATA, ".json", kvat_winner_read(&found, ".", mine, err));
    assert_refused(KVAT_ERR_IO, ".json", kvat_winner_write(".", winner, err));
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0644), 0);
    assert_refused(KVAT_ERR_DATA, ".json", kvat_winner_read(&found, ".", mine, err));
    json_decref(winner);
}

static kvat_status try_both(void *context, kvat_error *err) {
    (void)context;
    json_t *found = NULL, *winner = winner_of(mine, "threads 4");
    kvat_status status = winner ? kvat_winner_write("state/winners", winner, err)
                                : kvat_fail(err, KVAT_ERR_NOMEM, "no memory for the test");
    if (status == KVAT_OK) status = kvat_winner_read(&found, "state/winners", mine, err);
    json_decref(winner);
    json_decref(found);
    return status;
}

/* jansson's own are left alone: its parser makes a shorter text where memory is lacking, and says nothing. */
static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    assert_true(fail_alloc_each(try_both, NULL) > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(what_is_remembered_is_read_back_and_replaced),
        FOLDER_TEST(without_a_folder_or_a_file_there_is_none),
        FOLDER_TEST(what_is_no_winner_of_that_fingerprint_is_refused_and_named),
        FOLDER_TEST(a_fingerprint_is_no_path),
        FOLDER_TEST(nothing_but_a_regular_file_is_read_or_replaced),
        FOLDER_TEST(every_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
