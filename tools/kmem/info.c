/* SPDX-License-Identifier: MIT */
/* info.c - `kmem slabinfo`, `kmem status`, `kmem trim`: a process as it is now. */
#include "commands.h"
#include "remote.h"
#include "say.h"
#include "target.h"
#include "view.h"

#include <argp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIM_MS 2000

static error_t parse(int key, char *arg, struct argp_state *state)
{
	pid_t *pid = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "one PID is enough");
		*pid = (pid_t)option_number(state, "PID", arg, 1, INT_MAX);
		break;
	case ARGP_KEY_END:
		if (!*pid)
			argp_error(state, "say which PID");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* The process named on the command line. False: said why not. */
static bool open_process(int argc, char **argv, const char *doc, struct target *target)
{
	const struct argp argp = { NULL, parse, "PID", doc, NULL, NULL, NULL };
	pid_t pid = 0;

	argp_parse(&argp, argc, argv, 0, NULL, &pid);
	return target_open(target, pid, false) == 0 && remote_layout_fits(target);
}

static int gone(const struct target *target)
{
	say("process %d is gone", target->pid);
	return 1;
}

static bool print_slabinfo(const struct kmem_cache *cache, uint64_t address, void *arg)
{
	size_t objects = (size_t)cache->nr_slabs * cache->nr_objects;

	(void)address;
	(void)arg;
	if (!cache->nr_slabs)
		return true;
	printf("%-17s %6lu %6lu %6u %4u %4lu : tunables %4u %4u %4u : slabdata %6u %6u %6u\n",
	       cache->name, cache->nr_inuse, objects, cache->size, cache->nr_objects,
	       (GRANULE_SIZE << cache->order) / (size_t)sysconf(_SC_PAGESIZE), 0U, 0U, 0U,
	       cache->nr_slabs, cache->nr_slabs, 0U);
	return true;
}

int command_slabinfo(int argc, char **argv)
{
	struct target target;

	if (!open_process(
		    argc, argv,
		    "Print the caches of a process in the form of /proc/slabinfo 2.1; active_objs has "
		    "those in sheaves too, as there.",
		    &target))
		return 1;
	puts("slabinfo - version: 2.1\n"
	     "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables "
	     "<limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>");
	if (remote_caches(&target, print_slabinfo, NULL) != 0)
		return gone(&target);
	target_close(&target);
	return 0;
}

struct sums {
	size_t caches, slabs, slab_bytes, objects, object_bytes;
};

static bool add_cache(const struct kmem_cache *cache, uint64_t address, void *arg)
{
	struct sums *sums = arg;

	(void)address;
	if (!cache->nr_slabs)
		return true;
	sums->caches++;
	sums->slabs += cache->nr_slabs;
	sums->slab_bytes += cache->nr_slabs * (GRANULE_SIZE << cache->order);
	sums->objects += cache->nr_inuse;
	sums->object_bytes += cache->nr_inuse * cache->size;
	return true;
}

int command_status(int argc, char **argv)
{
	static const char *const modes[] = { "off", "sample", "all" };
	struct sums sums = { 0 };
	struct target target;
	char bytes[32], objects[32];

	if (!open_process(argc, argv,
			  "Show what the library does in a process, and how much it holds.",
			  &target))
		return 1;
	if (remote_caches(&target, add_cache, &sums) != 0)
		return gone(&target);
	printf("process:      %d\n", target.pid);
	printf("tracing:      %s\n", modes[target.state.mode < 3 ? target.state.mode : 0]);
	if (target.state.nr_rings)
		printf("rings:        %lu, of %u events each\n", target.state.nr_rings,
		       target.state.ring_events);
	printf("kmalloc path: %s in %zu slabs of %zu caches\n",
	       human_bytes((double)sums.slab_bytes, bytes), sums.slabs, sums.caches);
	printf("              %s in %zu objects that are live or in sheaves\n",
	       human_bytes((double)sums.object_bytes, objects), sums.objects);
	target_close(&target);
	return 0;
}

int command_trim(int argc, char **argv)
{
	struct target target;
	uint32_t wanted;
	uint8_t divert = 1;

	if (!open_process(
		    argc, argv,
		    "Have a process give back to the system what is free in it, as malloc_trim(3) does: "
		    "it does so in its next call to the allocator.",
		    &target))
		return 1;
	wanted = target.state.trimmed + 1;
	if (TARGET_WRITE_FIELD(&target, want_trim, wanted) != 0 ||
	    target_write(&target, target.state.divert, &divert, 1) != 0 ||
	    target_divert(&target) != 0)
		return gone(&target);
	for (int ms = 0; ms < TRIM_MS && target.state.trimmed != wanted; ms++) {
		usleep(1000);
		if (target_refresh(&target) != 0)
			return gone(&target);
	}
	if (target.state.trimmed != wanted) {
		say("process %d has not called the allocator since: it will trim when it does",
		    target.pid);
		return 0;
	}
	target_close(&target);
	return 0;
}
