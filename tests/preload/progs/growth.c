/* SPDX-License-Identifier: MIT */
/* realloc keeps what was written, from 16 bytes to 64 MiB and back, alone and among others. */
#define _GNU_SOURCE
#include "check.h"

#define TOP ((size_t)64 << 20)

/* Eight bytes at a time: each word holds its own place, mixed with the buffer's number. */
static void write_words(uint64_t *p, size_t from, size_t to, uint64_t id)
{
	for (size_t i = from; i < to; i++)
		p[i] = (i * 0x9e3779b97f4a7c15ull) ^ id;
}

static bool words_ok(const uint64_t *p, size_t to, uint64_t id)
{
	for (size_t i = 0; i < to; i++)
		if (p[i] != ((i * 0x9e3779b97f4a7c15ull) ^ id))
			return false;
	return true;
}

static size_t grown(size_t n)
{
	size_t next = (n + n / 2 + 24) & ~(size_t)7;

	return next > TOP ? TOP : next;
}

static void up_and_down(uint64_t id)
{
	size_t n = 16;
	uint64_t *p = hide(malloc(n));

	CHECK(p != NULL, "malloc(16)");
	write_words(p, 0, n / 8, id);
	while (n < TOP) {
		size_t to = grown(n);

		CHECK((p = hide(realloc(p, to))) != NULL, "realloc(%zu -> %zu)", n, to);
		CHECK(words_ok(p, n / 8, id), "contents lost from %zu to %zu", n, to);
		write_words(p, n / 8, to / 8, id);
		n = to;
	}
	CHECK(words_ok(p, n / 8, id), "contents at the top");
	while (n > 16) {
		size_t to = (n / 3 * 2) & ~(size_t)7;

		if (to < 16)
			to = 16;
		CHECK((p = hide(realloc(p, to))) != NULL, "realloc(%zu -> %zu)", n, to);
		CHECK(words_ok(p, to / 8, id), "contents lost from %zu to %zu", n, to);
		n = to;
	}
	free(p);
}

/* Many at once, so that the next addresses are taken and growing must move. */
static void many_at_once(void)
{
	enum { COUNT = 24 };
	uint64_t *p[COUNT] = { NULL };
	size_t n[COUNT] = { 0 };
	uint32_t seed = 99;

	for (int step = 0; step < 3000; step++) {
		uint32_t r = next_random(&seed);
		int i = r % COUNT;
		size_t to = n[i];

		if (r % 16 < 9)
			to = to + to / 2 + 16 * (r % 7 + 1);
		else if (r % 16 < 15)
			to = to / 2;
		else
			to = (r >> 8) % 600000;
		if (to > 3 << 20)
			to = 100;
		to = (to + 15) & ~(size_t)7;
		CHECK((p[i] = hide(realloc(p[i], to))) != NULL, "realloc(%zu -> %zu)", n[i], to);
		CHECK(words_ok(p[i], (n[i] < to ? n[i] : to) / 8, i), "step %d: contents lost",
		      step);
		write_words(p[i], 0, to / 8, i);
		n[i] = to;
	}
	for (int i = 0; i < COUNT; i++) {
		CHECK(words_ok(p[i], n[i] / 8, i), "buffer %d at the end", i);
		free(p[i]);
	}
}

/* Byte by byte across the limit between the two paths, both ways. */
static void across_the_limit(void)
{
	size_t n = SMALL_LIMIT - 40;
	unsigned char *p = hide(malloc(n));

	CHECK(p != NULL, "malloc");
	pattern_fill(p, n, 3);
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 80; i++) {
			size_t to = round % 2 ? n - 1 : n + 1;

			CHECK((p = hide(realloc(p, to))) != NULL, "realloc(%zu)", to);
			p[to - 1] = pattern_at(3, to - 1);
			n = to;
		}
		CHECK(pattern_ok(p, n, 3), "contents lost at the limit, round %d", round);
	}
	free(p);
}

int main(void)
{
	check_library();
	up_and_down(1);
	say("16 bytes to 64 MiB and back: contents kept");
	across_the_limit();
	say("byte by byte across the limit: contents kept");
	many_at_once();
	say("24 buffers growing and shrinking among each other: contents kept");
	up_and_down(2);
	say("once more: contents kept");
	return 0;
}
