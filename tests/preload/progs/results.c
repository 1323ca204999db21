/* SPDX-License-Identifier: MIT */
/*
 * What malloc and its relatives return: the results that POSIX leaves open are those of glibc
 * 2.36.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "check.h"

static const size_t huge_sizes[] = {
	(size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
	(size_t)1 << 47,     SIZE_MAX - 4096,
	SIZE_MAX - 1,	     SIZE_MAX,
};
#define HUGE_COUNT (sizeof(huge_sizes) / sizeof(huge_sizes[0]))

static void malloc_zero_is_unique_and_freeable(void)
{
	enum { COUNT = 1000 };
	char *p[COUNT];

	for (int i = 0; i < COUNT; i++) {
		switch (i % 5) {
		case 0:
			p[i] = hide(malloc(hide_size(0)));
			break;
		case 1:
			p[i] = hide(calloc(hide_size(0), 8));
			break;
		case 2:
			p[i] = hide(calloc(8, hide_size(0)));
			break;
		case 3:
			p[i] = hide(realloc(NULL, hide_size(0)));
			break;
		default:
			p[i] = hide(reallocarray(NULL, hide_size(0), 4));
			break;
		}
		CHECK(p[i] != NULL, "object %d", i);
		for (int j = 0; j < i; j++)
			CHECK(p[j] != p[i], "objects %d and %d are one", i, j);
	}
	for (int i = 0; i < COUNT; i++)
		free(p[i]);
	say("malloc(0): unique, not NULL, freeable");
}

static void overflow_gives_null_and_enomem(void)
{
	static const size_t pairs[][2] = {
		{ SIZE_MAX, 2 },
		{ 2, SIZE_MAX },
		{ SIZE_MAX / 2 + 1, 2 },
		{ (size_t)1 << 32, (size_t)1 << 32 },
		{ SIZE_MAX, SIZE_MAX },
		{ SIZE_MAX / 16 + 1, 16 },
		{ (size_t)1 << 33, ((size_t)1 << 31) + 1 },
	};
	char *keep = hide(malloc(100));

	pattern_fill(keep, 100, 5);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		size_t n = hide_size(pairs[i][0]), s = hide_size(pairs[i][1]);

		errno = 0;
		CHECK(hide(calloc(n, s)) == NULL && errno == ENOMEM, "calloc(%zu, %zu)", n, s);
		errno = 0;
		CHECK(hide(reallocarray(NULL, n, s)) == NULL && errno == ENOMEM, "%zu * %zu", n, s);
		errno = 0;
		CHECK(hide(reallocarray(keep, n, s)) == NULL && errno == ENOMEM, "%zu * %zu", n, s);
		CHECK(pattern_ok(keep, 100, 5), "a failed reallocarray changed its object");
	}
	free(keep);
	say("overflow: NULL, ENOMEM, the old object kept");
}

static void huge_gives_null_and_enomem(void)
{
	char *keep = hide(malloc(100)), *large = hide(malloc(300000));

	pattern_fill(keep, 100, 6);
	pattern_fill(large, 300000, 7);
	for (size_t i = 0; i < HUGE_COUNT; i++) {
		size_t n = hide_size(huge_sizes[i]);
		void *out = &out;

		errno = 0;
		CHECK(hide(malloc(n)) == NULL && errno == ENOMEM, "malloc(%zu)", n);
		errno = 0;
		CHECK(hide(calloc(1, n)) == NULL && errno == ENOMEM, "calloc(1, %zu)", n);
		errno = 0;
		CHECK(hide(realloc(NULL, n)) == NULL && errno == ENOMEM, "realloc(NULL, %zu)", n);
		errno = 0;
		CHECK(hide(realloc(keep, n)) == NULL && errno == ENOMEM, "realloc(small, %zu)", n);
		errno = 0;
		CHECK(hide(realloc(large, n)) == NULL && errno == ENOMEM, "realloc(large, %zu)", n);
		errno = 0;
		CHECK(hide(memalign(64, n)) == NULL && errno == ENOMEM, "memalign(64, %zu)", n);
		errno = 0;
		CHECK(hide(aligned_alloc(4096, n)) == NULL && errno == ENOMEM,
		      "aligned_alloc(4096, %zu)", n);
		errno = 0;
		CHECK(hide(valloc(n)) == NULL && errno == ENOMEM, "valloc(%zu)", n);
		errno = 0;
		CHECK(hide(pvalloc(n)) == NULL && errno == ENOMEM, "pvalloc(%zu)", n);
		CHECK(posix_memalign(&out, 64, n) == ENOMEM && out == &out,
		      "posix_memalign(64, %zu)", n);
	}
	CHECK(pattern_ok(keep, 100, 6) && pattern_ok(large, 300000, 7),
	      "a failed realloc changed its object");
	free(keep);
	free(large);
	say("huge sizes: NULL, ENOMEM, the old object kept");
}

static void realloc_edges(void)
{
	static const size_t sizes[] = { 1, 16, 100, 4096, SMALL_LIMIT, SMALL_LIMIT + 1, 1 << 20 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = hide(malloc(sizes[i]));

		CHECK(p != NULL, "malloc(%zu)", sizes[i]);
		errno = EXDEV;
		CHECK(hide(realloc(p, hide_size(0))) == NULL && errno == EXDEV, "realloc(%zu -> 0)",
		      sizes[i]);
		p = hide(malloc(sizes[i]));
		CHECK(hide(reallocarray(p, hide_size(0), 8)) == NULL, "reallocarray(%zu -> 0)",
		      sizes[i]);
		p = hide(realloc(NULL, sizes[i]));
		CHECK(p != NULL, "realloc(NULL, %zu)", sizes[i]);
		pattern_fill(p, sizes[i], 9);
		CHECK(pattern_ok(p, sizes[i], 9), "realloc(NULL, %zu) is not usable", sizes[i]);
		free(p);
	}
	say("realloc: (p, 0) frees and gives NULL; (NULL, n) is malloc");
}

static void posix_memalign_errors(void)
{
	static const size_t bad[] = { 0,  1,  2,  3,  4,   5,	 7,    9,	12,
				      20, 24, 40, 48, 100, 4095, 4097, SIZE_MAX };
	void *out;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		out = &out;
		errno = EXDEV;
		CHECK(posix_memalign(&out, hide_size(bad[i]), 64) == EINVAL, "alignment %zu",
		      bad[i]);
		CHECK(errno == EXDEV && out == &out, "alignment %zu touched errno or the result",
		      bad[i]);
	}
	for (size_t align = sizeof(void *); align <= (size_t)1 << 24; align *= 2) {
		static const size_t sizes[] = { 0, 1, 8, 100, 5000, 200000 };

		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			out = NULL;
			errno = EXDEV;
			CHECK(posix_memalign(&out, align, sizes[i]) == 0 && out != NULL, "%zu, %zu",
			      align, sizes[i]);
			CHECK(errno == EXDEV, "posix_memalign(%zu, %zu) touched errno", align,
			      sizes[i]);
			CHECK(((uintptr_t)out & (align - 1)) == 0, "alignment %zu gave %p", align,
			      out);
			memset(out, 1, sizes[i]);
			free(out);
		}
	}
	say("posix_memalign: EINVAL for bad alignments, errno untouched");
}

static void free_keeps_errno(void)
{
	static const size_t sizes[] = { 0,	 1,	  64, 5000, SMALL_LIMIT, SMALL_LIMIT + 1,
					1 << 20, 64 << 20 };
	enum { COUNT = 200 };
	void *p[COUNT];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int count = sizes[i] > 1 << 20 ? 4 : COUNT;

		for (int j = 0; j < count; j++)
			CHECK((p[j] = hide(malloc(sizes[i]))) != NULL, "malloc(%zu)", sizes[i]);
		for (int j = 0; j < count; j++) {
			errno = EXDEV;
			free(p[j]);
			CHECK(errno == EXDEV, "free of %zu bytes", sizes[i]);
		}
	}
	errno = EXDEV;
	free(NULL);
	CHECK(errno == EXDEV, "free(NULL)");
	say("free: errno kept");
}

static void usable_size_holds(void)
{
	size_t step = 1;

	CHECK(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL)");
	for (size_t n = 0; n <= 3000000; n += step) {
		char *p = hide(malloc(n));
		size_t usable = malloc_usable_size(p);

		CHECK(p != NULL && usable >= n, "malloc(%zu): usable %zu", n, usable);
		CHECK(((uintptr_t)p & 15) == 0, "malloc(%zu) gave %p", n, p);
		memset(p, 0x5a, usable);
		char *q = hide(malloc(n));
		memset(q, 0xa5, malloc_usable_size(q));
		CHECK(malloc_usable_size(p) == usable, "usable size of %zu changed", n);
		for (size_t i = 0; i < usable; i += usable / 64 + 1)
			CHECK(p[i] == 0x5a, "malloc(%zu): a neighbour wrote into it", n);
		CHECK(p[usable - 1] == 0x5a, "malloc(%zu): a neighbour wrote into its end", n);
		free(q);
		free(p);
		if (n >= 1024)
			step = n / 61;
		if (n < SMALL_LIMIT - 40 && n + step > SMALL_LIMIT - 40)
			step = SMALL_LIMIT - 40 - n;
		else if (n >= SMALL_LIMIT - 40 && n < SMALL_LIMIT + 40)
			step = 1;
	}
	say("malloc_usable_size: enough, constant, all of it usable; 16-byte alignment throughout");
}

static void tuning_entry_points(void)
{
	enum { COUNT = 200 };
	void *p[COUNT];

	CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) != 0, "mallopt(M_MMAP_THRESHOLD)");
	CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) != 0, "mallopt(M_TRIM_THRESHOLD)");
	CHECK(mallopt(M_ARENA_MAX, 2) != 0, "mallopt(M_ARENA_MAX)");
	for (int i = 0; i < COUNT; i++)
		CHECK((p[i] = hide(malloc(60000))) != NULL, "malloc");
	struct mallinfo2 info = mallinfo2();
	CHECK(info.uordblks + info.hblkhd >= (size_t)COUNT * 60000,
	      "mallinfo2: %zu + %zu bytes in use", info.uordblks, info.hblkhd);
	for (int i = 0; i < COUNT; i++)
		free(p[i]);
	int trimmed = malloc_trim(0);
	CHECK(trimmed == 0 || trimmed == 1, "malloc_trim gave %d", trimmed);

	char *all = NULL;
	size_t length = 0;
	FILE *memory = open_memstream(&all, &length);
	CHECK(memory != NULL, "open_memstream");
	CHECK(malloc_info(0, memory) == 0, "malloc_info");
	fclose(memory);
	CHECK(length > 10 && strncmp(all, "<malloc", 7) == 0, "malloc_info wrote no <malloc");
	free(all);
	CHECK(malloc_info(1, stdout) == EINVAL, "malloc_info with an unknown option");

	/* malloc_stats writes to stderr; only that it returns is the point. */
	int saved = dup(2), null = open("/dev/null", O_WRONLY);
	dup2(null, 2);
	malloc_stats();
	dup2(saved, 2);
	close(saved);
	close(null);
	say("mallopt, mallinfo2, malloc_trim, malloc_info, malloc_stats: work");
}

int main(void)
{
	free(NULL);
	check_library();
	malloc_zero_is_unique_and_freeable();
	overflow_gives_null_and_enomem();
	huge_gives_null_and_enomem();
	realloc_edges();
	posix_memalign_errors();
	free_keeps_errno();
	usable_size_holds();
	tuning_entry_points();
	return 0;
}
