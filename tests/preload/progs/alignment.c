/* SPDX-License-Identifier: MIT */
/*
 * Aligned allocation: every entry point, alignments from 1 byte to 64 MiB, contents kept,
 * reallocatable.
 */
#define _GNU_SOURCE
#include "check.h"

#define COUNT 12

static const size_t sizes[] = {
	1,
	8,
	16,
	24,
	100,
	512,
	1000,
	4096,
	5000,
	32768,
	65536,
	100000,
	SMALL_LIMIT - 1,
	SMALL_LIMIT,
	SMALL_LIMIT + 1,
	131072,
	131073,
	1 << 20,
	3000000,
};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void *by(int how, size_t align, size_t n)
{
	void *out = NULL;

	switch (how) {
	case 0:
		return hide(memalign(align, n));
	case 1:
		return hide(aligned_alloc(align, n));
	default:
		return posix_memalign(&out, align, n) == 0 ? hide(out) : NULL;
	}
}

static void try_one(int how, size_t align, size_t n)
{
	char *p[COUNT];
	/* Large ones are spared: each may cost its alignment in address space. */
	int count = n + align > 4 << 20 ? 2 : n > 40000 ? 3 : COUNT;

	for (int i = 0; i < count; i++) {
		p[i] = by(how, align, n);
		CHECK(p[i] != NULL, "entry %d, alignment %zu, size %zu", how, align, n);
		CHECK(((uintptr_t)p[i] & (align - 1)) == 0, "alignment %zu, size %zu: %p", align, n,
		      p[i]);
		CHECK(malloc_usable_size(p[i]) >= n, "alignment %zu, size %zu", align, n);
		pattern_fill(p[i], n, i);
	}
	for (int i = 0; i < count; i++)
		CHECK(pattern_ok(p[i], n, i), "alignment %zu, size %zu: contents lost", align, n);
	for (int i = 0; i < count; i++) {
		if (i % 2 == 0) {
			size_t to = i % 4 == 0 ? n * 2 : n / 2 + 1;

			p[i] = hide(realloc(p[i], to));
			CHECK(p[i] != NULL, "realloc of an aligned object");
			CHECK(pattern_ok(p[i], to < n ? to : n, i),
			      "alignment %zu, size %zu: realloc", align, n);
		}
		free(p[i]);
	}
}

static void page_entry_points(void)
{
	size_t page = sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < SIZES; i++) {
		char *v = hide(valloc(sizes[i])), *pv = hide(pvalloc(sizes[i]));

		CHECK(v != NULL && pv != NULL, "valloc, pvalloc(%zu)", sizes[i]);
		CHECK((uintptr_t)v % page == 0 && (uintptr_t)pv % page == 0, "%p %p", v, pv);
		CHECK(malloc_usable_size(v) >= sizes[i], "valloc(%zu)", sizes[i]);
		CHECK(malloc_usable_size(pv) >= (sizes[i] + page - 1) / page * page, "pvalloc(%zu)",
		      sizes[i]);
		memset(v, 1, malloc_usable_size(v));
		memset(pv, 2, malloc_usable_size(pv));
		CHECK(v[0] == 1 && pv[0] == 2, "valloc and pvalloc overlap");
		free(v);
		free(pv);
	}
	say("valloc, pvalloc: page aligned; pvalloc in whole pages");
}

static void odd_alignment_is_rounded_up(void)
{
	static const size_t odd[][2] = { { 0, 16 },  { 1, 16 },	   { 3, 16 },	  { 24, 32 },
					 { 48, 64 }, { 100, 128 }, { 5000, 8192 } };

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		for (size_t n = 1; n <= 100000; n = n * 3 + 1) {
			void *p = hide(memalign(odd[i][0], n)),
			     *q = hide(aligned_alloc(odd[i][0], n));

			CHECK(p != NULL && (uintptr_t)p % odd[i][1] == 0, "memalign(%zu): %p",
			      odd[i][0], p);
			CHECK(q != NULL && (uintptr_t)q % odd[i][1] == 0, "aligned_alloc(%zu): %p",
			      odd[i][0], q);
			free(p);
			free(q);
		}
	}
	say("memalign, aligned_alloc: an alignment that is no power of two is rounded up");
}

int main(void)
{
	check_library();
	for (size_t align = 8; align <= (size_t)64 << 20; align *= 2) {
		for (size_t i = 0; i < SIZES; i++)
			for (int how = 0; how < 3; how++)
				if (align <= 1 << 20 || sizes[i] <= 1 << 20)
					try_one(how, align, sizes[i]);
		say("alignment %zu: kept", align);
	}
	page_entry_points();
	odd_alignment_is_rounded_up();
	return 0;
}
