/* SPDX-License-Identifier: MIT */
/*
 * Little address space: under `ulimit -v 262144` (argument "ulimit"), or with RLIMIT_AS lowered
 * at run time (argument "setrlimit"). Most of it must be usable in small objects, and just so
 * in large ones; the end is NULL and ENOMEM, and after everything is freed it can be had again.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "check.h"

#define LIMIT ((size_t)262144 * 1024)
#define MANY 4096

struct node {
	struct node *next;
	size_t n;
};

/* Allocate until there is no more; how many bytes were asked for and given. */
static size_t fill_up(struct node **list, size_t (*size)(uint32_t *seed))
{
	uint32_t seed = 42;
	size_t total = 0;

	for (;;) {
		size_t n = size(&seed);

		errno = 0;
		struct node *node = hide(malloc(n));
		if (node == NULL)
			break;
		/* Both ends are enough to see objects overlap; touching all would take its time. */
		((unsigned char *)node)[n - 1] = 0x77;
		node->next = *list;
		node->n = n;
		*list = node;
		total += n;
		CHECK(total <= LIMIT, "more than the limit was given");
	}
	CHECK(errno == ENOMEM, "NULL without ENOMEM");
	return total;
}

static void free_all(struct node **list)
{
	while (*list != NULL) {
		struct node *node = *list;

		CHECK(((unsigned char *)node)[node->n - 1] == 0x77, "an object changed");
		*list = node->next;
		free(node);
	}
}

static size_t size_256(uint32_t *seed)
{
	(void)seed;
	return 256;
}

static size_t size_mixed(uint32_t *seed)
{
	return 32 + next_random(seed) % 2000;
}

static size_t size_page(uint32_t *seed)
{
	return 4096 + next_random(seed) % 60000;
}

static size_t size_large(uint32_t *seed)
{
	(void)seed;
	return 1 << 20;
}

static size_t size_very_large(uint32_t *seed)
{
	(void)seed;
	return 16 << 20;
}

/* In turn, each after all of the one before was freed. */
static const struct {
	const char *name;
	size_t (*size)(uint32_t *seed);
} kinds[] = {
	{ "32 to 2031 bytes", size_mixed }, { "1 MiB", size_large },   { "4 to 64 KiB", size_page },
	{ "16 MiB", size_very_large },	    { "256 bytes", size_256 },
};

static void *thread_main(void *arg)
{
	free(hide(malloc(1000)));
	return arg;
}

/*
 * What is not the allocator's must stay possible: the program's own mappings and threads'
 * stacks.
 */
static void others_have_room(const char *when, size_t n)
{
	pthread_t thread;
	void *own = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(own != MAP_FAILED, "no room for a mapping of %zu MiB %s", n >> 20, when);
	munmap(own, n);
	CHECK(pthread_create(&thread, NULL, thread_main, NULL) == 0, "no room for a thread %s",
	      when);
	pthread_join(thread, NULL);
	say("room for others %s", when);
}

static void use_it_all(void)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct node *list = NULL;
		size_t total = fill_up(&list, kinds[i].size);

		CHECK(total >= LIMIT / 10 * 6, "%s: only %zu MiB", kinds[i].name, total >> 20);
		/* At the very end: what fails fails cleanly, and small things may be swapped. */
		errno = 0;
		CHECK(hide(malloc(LIMIT)) == NULL && errno == ENOMEM, "malloc of everything");
		errno = 0;
		CHECK(hide(calloc(LIMIT / 8, 8)) == NULL && errno == ENOMEM,
		      "calloc of everything");
		errno = 0;
		CHECK(hide(realloc(list, LIMIT)) == NULL && errno == ENOMEM,
		      "realloc to everything");
		free_all(&list);
		say("%s: most of the limit, then ENOMEM, then freed", kinds[i].name);
	}
}

/* What the process has mapped already, by its own account. */
static size_t mapped_now(void)
{
	unsigned long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	CHECK(statm != NULL && fscanf(statm, "%lu", &pages) == 1, "/proc/self/statm");
	fclose(statm);
	return pages * sysconf(_SC_PAGESIZE);
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct node *list = NULL;
	bool at_run_time = argc == 2 && strcmp(argv[1], "setrlimit") == 0;

	CHECK(at_run_time || (argc == 2 && strcmp(argv[1], "ulimit") == 0), "ulimit or setrlimit?");
	check_library();
	if (at_run_time) {
		/* It has been working for a while, then is held to what it has and the limit on top. */
		uint32_t seed = 1;
		for (int i = 0; i < MANY; i++) {
			struct node *node = hide(malloc(size_mixed(&seed)));
			node->n = 32;
			((unsigned char *)node)[31] = 0x77;
			node->next = list;
			list = node;
		}
		CHECK(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit");
		limit.rlim_cur = mapped_now() + LIMIT;
		CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
	} else {
		CHECK(getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur == LIMIT,
		      "ulimit -v is not set");
	}
	others_have_room("at the start", 64 << 20);
	if (!at_run_time)
		use_it_all();
	else
		for (size_t i = 0; i < 3; i++) {
			struct node *more = NULL;

			/* How much there is depends on what was reserved before: the clean end is the point. */
			errno = 0;
			fill_up(&more, kinds[i].size);
			CHECK(more != NULL, "%s: nothing at all", kinds[i].name);
			free_all(&more);
			say("%s: some, then ENOMEM, then freed", kinds[i].name);
		}
	free_all(&list);
	malloc_trim(0);
	/* glibc keeps the pieces that it had to map once it could not grow its heap. */
	others_have_room("after all is freed", preloaded() ? 64 << 20 : 4096);
	return 0;
}
