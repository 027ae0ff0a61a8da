/* SHA-256 against the examples published with the standard (FIPS 180-4).
 * Must not know what is identified. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "kvat/hash.h"

static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

static void published_examples_are_met(void **state) {
    (void)state;
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {two_blocks, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[KVAT_HASH_HEX];
        kvat_hash_bytes(hex, cases[i].text, strlen(cases[i].text));
        assert_string_equal(hex, cases[i].hex);
    }
}

static void pieces_hash_like_the_whole(void **state) {
    (void)state;
    char whole[KVAT_HASH_HEX];
    kvat_hash_bytes(whole, two_blocks, strlen(two_blocks));
    for (size_t cut = 0; cut <= strlen(two_blocks); cut++) {
        char hex[KVAT_HASH_HEX];
        kvat_hash hash;
        kvat_hash_init(&hash);
        kvat_hash_update(&hash, two_blocks, cut);
        kvat_hash_update(&hash, NULL, 0);
        kvat_hash_update(&hash, two_blocks + cut, strlen(two_blocks) - cut);
        kvat_hash_final(hex, &hash);
        assert_string_equal(hex, whole);
    }
}

static void a_million_letters_are_met(void **state) {
    (void)state;
    char block[1000];
    char hex[KVAT_HASH_HEX];
    kvat_hash hash;
    memset(block, 'a', sizeof block);
    kvat_hash_init(&hash);
    for (int i = 0; i < 1000; i++) kvat_hash_update(&hash, block, sizeof block);
    kvat_hash_final(hex, &hash);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_examples_are_met),
        cmocka_unit_test(pieces_hash_like_the_whole),
        cmocka_unit_test(a_million_letters_are_met),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
