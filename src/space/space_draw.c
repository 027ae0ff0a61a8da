/* Draws a sample of configurations where there are more than a space may hold (space.h says which are in it).
 * Must not know how a request is written, nor what makes two configurations equal. */
#include <string.h>

#include "space_internal.h"

/** Draws for each place: where more are forbidden, equal or there already, the sample stays smaller. */
#define TRIES_A_PLACE 64

/* --- what there is to draw from --- */

double kvat__choices_product(const kvat__choice *choices, size_t n) {
    double product = 1;
    for (size_t i = 0; i < n; i++) product *= (double)kvat__levels_count(&choices[i].levels);
    return product;
}

/** What is in force of a level before other knobs bound it. */
static int64_t value_alone(const kvat_knobs *knobs, size_t knob, size_t level, int64_t context_tokens) {
    int64_t value = kvat__knob_resolved(&knobs->knobs[knob], level);
    for (size_t i = 0; i < knobs->limits[knob].n; i++)
        if (knobs->limits[knob].by[i] == KVAT__CONTEXT_INDEX && context_tokens > 0 && value > context_tokens)
            value = context_tokens;
    return value;
}

static void reduce(kvat__choice *choice, const kvat_knobs *knobs, size_t knob, int64_t context_tokens) {
    int64_t kept[KVAT_KNOB_MAX_VALUES] = {value_alone(knobs, knob, choice->base, context_tokens)};
    size_t n = 1;
    for (size_t level = kvat__levels_next(&choice->levels, 0); level != SIZE_MAX;
         level = kvat__levels_next(&choice->levels, level + 1)) {
        int64_t value = value_alone(knobs, knob, level, context_tokens);
        size_t i = 0;
        while (i < n && kept[i] != value) i++;
        if (i == n)
            kept[n++] = value;
        else if (level != choice->base)
            kvat__levels_drop(&choice->levels, level);
    }
}

void kvat__choices_reduce(kvat__choice *choices, const kvat_knobs *knobs, int64_t context_tokens) {
    for (size_t i = 0; i < knobs->n; i++) reduce(&choices[i], knobs, i, context_tokens);
}

/* --- no room --- */

/** Knob with the most values but those in `done`, or SIZE_MAX. */
static size_t widest_knob(const kvat__listing *list, const bool *done) {
    size_t widest = SIZE_MAX, most = 1;
    for (size_t i = 0; i < list->knobs->n; i++) {
        size_t values = kvat__levels_count(&list->choices[i].levels);
        if (done[i] || values <= most) continue;
        widest = i;
        most = values;
    }
    return widest;
}

static void put_widest(kvat_buf *out, const kvat__listing *list) {
    bool done[KVAT_KNOBS_MAX] = {false};
    for (int shown = 0; shown < 4; shown++) {
        size_t knob = widest_knob(list, done);
        if (knob == SIZE_MAX) return;
        done[knob] = true;
        kvat_buf_printf(out, "%s%s (%zu values)", shown ? ", " : "", list->knobs->knobs[knob].name,
                        kvat__levels_count(&list->choices[knob].levels));
    }
}

static kvat_status no_room(const kvat__listing *list, size_t singles, kvat_error *err) {
    kvat_buf widest = KVAT_BUF_INIT;
    put_widest(&widest, list);
    kvat_status status = kvat_buf_status(&widest, err);
    if (status == KVAT_OK)
        status = kvat_fail(err, KVAT_ERR_USAGE,
                           "%zu values to try one by one are more than the %zu configurations that can be tried; "
                           "narrow them with --sweep or --set: %s",
                           singles, list->max, widest.bytes);
    kvat_buf_clear(&widest);
    return status;
}

/* --- drawing --- */

/** A configuration in the making. */
typedef struct drawing {
    kvat__listing *list;
    uint64_t state;               /**< of SplitMix64 (Steele, Lea and Flood 2014) */
    size_t tuned[KVAT_KNOBS_MAX]; /**< knobs that have more than one value */
    size_t n_tuned;
    uint16_t levels[KVAT_KNOBS_MAX];
} drawing;

static uint64_t next_random(drawing *d) {
    uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/** From 0 to n − 1; n is at least 1, and small, so that the remainder favours none that could be noticed. */
static size_t random_below(drawing *d, size_t n) {
    return (size_t)(next_random(d) % n);
}

static const kvat__choice *choice_of(const drawing *d, size_t i) {
    return &d->list->choices[d->tuned[i]];
}

/** How many values there are beside the base's. */
static size_t others(const drawing *d, size_t i) {
    return kvat__levels_count(&choice_of(d, i)->levels) - 1;
}

static void set_base(drawing *d) {
    for (size_t i = 0; i < d->list->knobs->n; i++) d->levels[i] = (uint16_t)d->list->choices[i].base;
}

/** Sets a tuned knob to its `which`-th value beside the base's. */
static void set_other(drawing *d, size_t i, size_t which) {
    const kvat__choice *choice = choice_of(d, i);
    size_t level = kvat__levels_next(&choice->levels, 0);
    for (;; level = kvat__levels_next(&choice->levels, level + 1)) {
        if (level == choice->base) continue;
        if (which-- == 0) break;
    }
    d->levels[d->tuned[i]] = (uint16_t)level;
}

static void reset(drawing *d, size_t i) {
    d->levels[d->tuned[i]] = (uint16_t)choice_of(d, i)->base;
}

static kvat_status add_singles(drawing *d, kvat_error *err) {
    set_base(d);
    kvat_status status = kvat__listing_add(d->list, d->levels, err);
    for (size_t i = 0; i < d->n_tuned; i++, reset(d, i - 1)) {
        for (size_t value = 0; value < others(d, i) && status == KVAT_OK; value++) {
            set_other(d, i, value);
            status = kvat__listing_add(d->list, d->levels, err);
        }
    }
    return status;
}

static kvat_status add_pairs_with(drawing *d, size_t i, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (size_t j = i + 1; j < d->n_tuned; j++, reset(d, j - 1)) {
        for (size_t value = 0; value < others(d, j) && status == KVAT_OK; value++) {
            set_other(d, j, value);
            status = kvat__listing_add(d->list, d->levels, err);
        }
    }
    return status;
}

static kvat_status add_pairs(drawing *d, kvat_error *err) {
    kvat_status status = KVAT_OK;
    for (size_t i = 0; i < d->n_tuned; i++, reset(d, i - 1)) {
        for (size_t value = 0; value < others(d, i) && status == KVAT_OK; value++) {
            set_other(d, i, value);
            status = add_pairs_with(d, i, err);
        }
    }
    return status;
}

/** The number of changes, then the knobs (the first places of a shuffle), then their values. */
static void draw(drawing *d) {
    size_t changes = 1 + random_below(d, d->n_tuned);
    set_base(d);
    for (size_t i = 0; i < changes; i++) {
        size_t at = i + random_below(d, d->n_tuned - i), knob = d->tuned[at];
        d->tuned[at] = d->tuned[i];
        d->tuned[i] = knob;
        set_other(d, i, random_below(d, others(d, i)));
    }
}

static void count_tuned(size_t *singles, size_t *pairs, drawing *d) {
    *singles = 1;
    *pairs = 0;
    for (size_t i = 0; i < d->list->knobs->n; i++) {
        if (kvat__levels_count(&d->list->choices[i].levels) < 2) continue;
        d->tuned[d->n_tuned++] = i;
        *pairs += (*singles - 1) * others(d, d->n_tuned - 1);
        *singles += others(d, d->n_tuned - 1);
    }
}

kvat_status kvat__space_draw(kvat__listing *list, uint64_t seed, kvat_error *err) {
    drawing d = {.list = list, .state = seed};
    size_t singles, pairs;
    count_tuned(&singles, &pairs, &d);
    if (singles > list->max) return no_room(list, singles - 1, err);
    kvat_status status = add_singles(&d, err);
    if (status == KVAT_OK && singles + pairs <= list->max / 2) status = add_pairs(&d, err);
    size_t tries = d.n_tuned > 0 ? TRIES_A_PLACE * list->max : 0;
    for (; status == KVAT_OK && tries > 0 && list->count < list->max; tries--) {
        draw(&d);
        status = kvat__listing_add(list, d.levels, err);
    }
    list->left_out = (kvat_space_left_out){.drawn_from = kvat__choices_product(list->choices, list->knobs->n)};
    return status;
}
