/* Hostile text in every sink.
 * Must not know who writes to the sinks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base.h"
#include "kvat/buf.h"

typedef void escaper(kvat_buf *out, const char *text);

static const char *const hostile[] = {
    "\x1b]0;x\a",
    "</script><img src=x onerror=\"alert('1')\">",
    "`id`",
    "$(id) ${HOME}",
    "-rf",
    "gpj.\u202e\u2066x",
    "two\nlines\r\n\tand a tab",
    "it's \"quoted\" \\ and\\\\slashed\\",
    "![i](javascript:x) [l]: <http://x> | a | *b* _c_ ~~d~~ # e",
    "www.example.org https://example.org a@example.org",
    "1. one",
    "    code",
    "ends with blanks  ",
    "{{x}} {0} %s %n",
    "key: [value, *alias, &anchor] # comment",
    "\xff\xfe\xc0\x80\xed\xa0\x80",
    "\xc2\x85\u2028\u2029\ufeff\u00ad\u200b\u200d\u3164",
    "\U000e0041\U0010ffff\ufffe",
    "größe 模型 \U0001F600",
    "]]><!-- -->",
    "",
};

/* The buffer's text, in memory of its own; the caller frees. */
static char *escaped(escaper *escape, const char *text) {
    kvat_buf buf = KVAT_BUF_INIT;
    escape(&buf, text);
    char *bytes = kvat_buf_take(&buf);
    assert_non_null(bytes);
    return bytes;
}

typedef struct expectation {
    const char *text, *expected;
} expectation;

static void check(escaper *escape, const expectation *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char *bytes = escaped(escape, cases[i].text);
        assert_string_equal(bytes, cases[i].expected);
        free(bytes);
    }
}
#define CHECK(escape, cases) check(escape, cases, sizeof cases / sizeof *cases)

static void assert_all_visible(const char *text) {
    for (size_t n = strlen(text); n > 0;) {
        kvat__glyph glyph = kvat__glyph_at(text, n);
        assert_false(glyph.hidden);
        text += glyph.length;
        n -= glyph.length;
    }
}

static void assert_ascii(const char *text) {
    for (; *text; text++) assert_in_range((unsigned char)*text, 0x20, 0x7E);
}

static void no_escaper_but_the_shells_lets_hidden_characters_through(void **state) {
    (void)state;
    static escaper *const escapers[] = {kvat_escape_terminal, kvat_escape_html, kvat_escape_markdown,
                                        kvat_escape_yaml,     kvat_escape_json, kvat_escape_python};
    for (size_t e = 0; e < sizeof escapers / sizeof *escapers; e++) {
        for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
            char *bytes = escaped(escapers[e], hostile[i]);
            assert_all_visible(bytes);
            free(bytes);
        }
        for (int byte = 1; byte < 256; byte++) {
            char *bytes = escaped(escapers[e], (char[]){(char)byte, '\0'});
            assert_all_visible(bytes);
            free(bytes);
        }
    }
}

static void null_is_written_as_nothing(void **state) {
    (void)state;
    static escaper *const escapers[] = {kvat_escape_terminal, kvat_escape_html, kvat_escape_markdown, kvat_escape_shell,
                                        kvat_escape_yaml,     kvat_escape_json, kvat_escape_python};
    for (size_t e = 0; e < sizeof escapers / sizeof *escapers; e++) {
        kvat_buf buf = KVAT_BUF_INIT;
        escapers[e](&buf, NULL);
        assert_int_equal(buf.length, 0);
        kvat_buf_clear(&buf);
    }
}

static void terminal_text_shows_what_would_act(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"\x1b]0;x\a", "\\u{001B}]0;x\\u{0007}"},
        {"a\u202e"
         "b",
         "a\\u{202E}b"},
        {"two\nlines", "two\\u{000A}lines"},
        {"\x7f\xc2\x9b", "\\u{007F}\\u{009B}"},
        {"\xff\xc0\x80", "\\xFF\\xC0\\x80"},
        {"</script>`$(id)`-rf", "</script>`$(id)`-rf"},
        {"größe 模型 \U0001F600", "größe 模型 \U0001F600"},
        {"", ""},
    };
    CHECK(kvat_escape_terminal, cases);
}

static void html_text_and_attributes_stay_text(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"</script><img src=x onerror=\"alert('1')\">",
         "&lt;/script&gt;&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;"},
        {"a & b &amp;", "a &amp; b &amp;amp;"},
        {"\x1b]0;x\a\n", "\\u{001B}]0;x\\u{0007}\\u{000A}"},
        {"\u202e\ufffe\xff", "\\u{202E}\\u{FFFE}\\xFF"},
        {"`id` $(id) -rf", "`id` $(id) -rf"},
    };
    CHECK(kvat_escape_html, cases);
}

static void markdown_punctuation_means_nothing(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"</script><img onerror=x>", "&lt;/script\\>&lt;img onerror\\=x\\>"},
        {"`id` $(id)", "\\`id\\` \\$\\(id\\)"},
        {"-rf", "\\-rf"},
        {"a & b", "a &amp; b"},
        {"a | b", "a \\| b"},
        {"[x](y) ![z] #1", "\\[x\\]\\(y\\) \\!\\[z\\] \\#1"},
        {"_a_ *b* ~c~", "\\_a\\_ \\*b\\* \\~c\\~"},
        {"1. one", "1\\. one"},
        {"www.example.org", "www\\.example\\.org"},
        {"http://x a@b", "http\\://x a\\@b"},
        {"best: it", "best: it"},
        {":joy: x:", "\\:joy: x\\:"},
        {": a [b]: c", "\\: a \\[b\\]\\: c"},
        {"two\nlines", "two\\\\u\\{000A\\}lines"},
        {"\u202e\xff", "\\\\u\\{202E\\}\\\\xFF"},
        {"    code", "&#32;   code"},
        {"ends  ", "ends &#32;"},
        {"qwen2.5-0.5b-q8_0", "qwen2.5-0.5b-q8_0"},
        {"a--b __c", "a\\-\\-b \\_\\_c"},
        {"größe", "größe"},
    };
    CHECK(kvat_escape_markdown, cases);
}

static void plain_shell_words_stay_bare_and_others_are_quoted(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"llama-server", "llama-server"},
        {"/models/qwen2.5_q8@1%+=:,.gguf", "/models/qwen2.5_q8@1%+=:,.gguf"},
        {"", "''"},
        {"-rf", "-rf"},
        {"two words", "'two words'"},
        {"it's", "'it'\\''s'"},
        {"$(id)", "'$(id)'"},
        {"~", "'~'"},
        {"größe", "'größe'"},
    };
    CHECK(kvat_escape_shell, cases);
}

/* What a real shell makes of `word` as the argument of a command. */
static void assert_shell_reads(const char *word, const char *expected) {
    char read[512];
    kvat_buf command = KVAT_BUF_INIT;
    kvat_buf_printf(&command, "LC_ALL=C printf '%%s' %s", word);
    FILE *shell = popen(command.bytes, "r");
    assert_non_null(shell);
    size_t n = fread(read, 1, sizeof read - 1, shell);
    read[n] = '\0';
    assert_int_equal(pclose(shell), 0);
    assert_string_equal(read, expected);
    kvat_buf_clear(&command);
}

static void a_shell_reads_back_the_exact_bytes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        char *word = escaped(kvat_escape_shell, hostile[i]);
        assert_shell_reads(word, hostile[i]);
        free(word);
    }
}

static void yaml_scalars_keep_their_value_in_yamls_own_escapes(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"", "\"\""},
        {"key: [v] # c", "\"key: [v] # c\""},
        {"a \"b\" \\", "\"a \\\"b\\\" \\\\\""},
        {"two\nlines", "\"two\\x0Alines\""},
        {"\x1b]0;x\a", "\"\\x1B]0;x\\x07\""},
        {"\xc2\x85\u202e\U000e0041", "\"\\x85\\u202E\\U000E0041\""},
        {"a\xff", "\"a\\\\xFF\""},
        {"größe \U0001F600", "\"größe \U0001F600\""},
        {"</script>`$(id)`", "\"</script>`$(id)`\""},
    };
    CHECK(kvat_escape_yaml, cases);
}

static void python_literals_keep_their_value_in_ascii(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"", "\"\""},
        {"a \"b\" \\ 'c'", "\"a \\\"b\\\" \\\\ 'c'\""},
        {"two\nlines", "\"two\\x0alines\""},
        {"\x1b]0;x\a", "\"\\x1b]0;x\\x07\""},
        {"ü\u202e\U0001F600", "\"\\xfc\\u202e\\U0001f600\""},
        {"a\xff", "\"a\\udcff\""},
        {"\\N{BULLET}", "\"\\\\N{BULLET}\""},
        {"`$(id)` -rf", "\"`$(id)` -rf\""},
    };
    CHECK(kvat_escape_python, cases);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        char *bytes = escaped(kvat_escape_python, hostile[i]);
        assert_ascii(bytes);
        free(bytes);
    }
}

static void json_strings_are_ascii_and_cannot_end_a_script(void **state) {
    (void)state;
    static const expectation cases[] = {
        {"", "\"\""},
        {"a \"b\" \\", "\"a \\\"b\\\" \\\\\""},
        {"two\n\tlines\r", "\"two\\n\\tlines\\u000d\""},
        {"</script><img><!--", "\"\\u003c/script>\\u003cimg>\\u003c!--\""},
        {"a < b", "\"a < b\""},
        {"\x1b\x7f", "\"\\u001b\\u007f\""},
        {"ü\u202e\U0001F600", "\"\\u00fc\\u202e\\ud83d\\ude00\""},
        {"a\xff", "\"a\\ufffd\""},
    };
    CHECK(kvat_escape_json, cases);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        char *bytes = escaped(kvat_escape_json, hostile[i]);
        assert_ascii(bytes);
        free(bytes);
    }
}

/* UTF-8 of a code point that is no surrogate. */
static void encode(char text[5], unsigned c) {
    kvat_buf buf = KVAT_BUF_INIT;
    if (c < 0x80) {
        kvat_buf_putc(&buf, (char)c);
    } else if (c < 0x800) {
        kvat_buf_printf(&buf, "%c%c", (int)(0xC0 | c >> 6), (int)(0x80 | (c & 63)));
    } else if (c < 0x10000) {
        kvat_buf_printf(&buf, "%c%c%c", (int)(0xE0 | c >> 12), (int)(0x80 | (c >> 6 & 63)), (int)(0x80 | (c & 63)));
    } else {
        kvat_buf_printf(&buf, "%c%c%c%c", (int)(0xF0 | c >> 18), (int)(0x80 | (c >> 12 & 63)),
                        (int)(0x80 | (c >> 6 & 63)), (int)(0x80 | (c & 63)));
    }
    memcpy(text, buf.bytes, buf.length + 1);
    kvat_buf_clear(&buf);
}

static void every_character_survives_as_json(void **state) {
    (void)state;
    kvat_buf buf = KVAT_BUF_INIT;
    for (unsigned c = 1; c <= 0x10FFFF; c += c < 0x3100 ? 1 : 17) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        char text[5];
        encode(text, c);
        kvat_buf_reset(&buf);
        kvat_escape_json(&buf, text);
        json_t *read = json_loads(buf.bytes, JSON_DECODE_ANY, NULL);
        assert_non_null(read);
        assert_string_equal(json_string_value(read), text);
        json_decref(read);
    }
    kvat_buf_clear(&buf);
}

static void an_ini_value_is_written_only_when_it_can_be(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int written;
    } cases[] = {
        {"q8_0", 1},       {"/models/it's a \"model\" [x]=\\`$(id)`.gguf", 1},
        {"größe", 1},      {"", 1},
        {"a#b", 0},        {"a;b", 0},
        {" a", 0},         {"a ", 0},
        {"\ta", 0},        {"two\nlines", 0},
        {"\x1b]0;x\a", 0}, {"a\u202e", 0},
        {"a\xff", 0},      {" ", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvat_buf buf = KVAT_BUF_INIT;
        kvat_buf_puts(&buf, "k = ");
        assert_int_equal(kvat_escape_ini(&buf, cases[i].text), cases[i].written);
        assert_string_equal(buf.bytes + 4, cases[i].written ? cases[i].text : "");
        kvat_buf_clear(&buf);
    }
}

static void escaping_stops_at_the_ceiling(void **state) {
    (void)state;
    static escaper *const escapers[] = {kvat_escape_terminal, kvat_escape_html, kvat_escape_markdown, kvat_escape_shell,
                                        kvat_escape_yaml,     kvat_escape_json, kvat_escape_python};
    for (size_t e = 0; e < sizeof escapers / sizeof *escapers; e++) {
        kvat_buf buf;
        kvat_buf_init(&buf, 8);
        escapers[e](&buf, "<<<<<<<<<<<<\n");
        assert_int_equal(kvat_buf_status(&buf, NULL), KVAT_ERR_DATA);
        assert_true(buf.length <= 8);
        kvat_buf_clear(&buf);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_escaper_but_the_shells_lets_hidden_characters_through),
        cmocka_unit_test(null_is_written_as_nothing),
        cmocka_unit_test(terminal_text_shows_what_would_act),
        cmocka_unit_test(html_text_and_attributes_stay_text),
        cmocka_unit_test(markdown_punctuation_means_nothing),
        cmocka_unit_test(plain_shell_words_stay_bare_and_others_are_quoted),
        cmocka_unit_test(a_shell_reads_back_the_exact_bytes),
        cmocka_unit_test(yaml_scalars_keep_their_value_in_yamls_own_escapes),
        cmocka_unit_test(python_literals_keep_their_value_in_ascii),
        cmocka_unit_test(json_strings_are_ascii_and_cannot_end_a_script),
        cmocka_unit_test(every_character_survives_as_json),
        cmocka_unit_test(an_ini_value_is_written_only_when_it_can_be),
        cmocka_unit_test(escaping_stops_at_the_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
