/* SPDX-License-Identifier: MIT */
/*
 * life_plugin.c - a library that life.c loads and unloads. Its constructor allocates and starts a
 * thread, its destructor ends it and frees. Its thread-local storage is too large for what
 * the C library keeps for such, so each thread that touches it has it allocated.
 */
#include "stress.h"

#define LOCAL (40UL << 10)
#define HELD 50

static void *held[HELD];
static pthread_t thread;
static _Atomic int stop;
static __thread char local[LOCAL];

__attribute__((visibility("default"))) void *plugin_block(size_t size);
__attribute__((visibility("default"))) void *plugin_touch(void *unused);

/* Outlives the library. */
void *plugin_block(size_t size)
{
	void *block = malloc(size);

	CHECK(block != NULL);
	stamp(block, size, 4711);
	return block;
}

void *plugin_touch(void *unused)
{
	CHECK(is_zero(local, sizeof(local)) || local[0] == 1);
	memset(local, 1, sizeof(local));
	return unused;
}

static void *allocate(void *unused)
{
	uint64_t state = 4711;

	plugin_touch(NULL);
	do {
		void *block = new_block(&state, random_size(&state), 7);

		CHECK(block != NULL);
		check_stamp(block, 7, "thread of a library");
		free(block);
	} while (!atomic_load(&stop));
	return unused;
}

__attribute__((constructor)) static void load(void)
{
	uint64_t state = 17;

	for (int i = 0; i < HELD; i++)
		CHECK((held[i] = new_block(&state, random_size(&state), 5)) != NULL);
	CHECK(pthread_create(&thread, NULL, allocate, NULL) == 0);
}

__attribute__((destructor)) static void unload(void)
{
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	for (int i = 0; i < HELD; i++) {
		check_stamp(held[i], 5, "held by a library");
		free(held[i]);
	}
}
