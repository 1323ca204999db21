/* SPDX-License-Identifier: MIT */
/*
 * replay.c - `kmem replay`: a recording's allocations and frees once more, on whatever malloc this process has.
 *
 * So allocators can be compared by what a real program asked for: `--preload` names one, or LD_PRELOAD does. The order is that of
 * the recording, all of it in one thread; every object is written to, a byte in each page, as its owner would have. Objects that
 * the recorder missed the allocation of are left out.
 *
 *  1. The events become operations of 8 bytes: a slot and a size, 0 for a free. A slot is a place for one live object, so
 *     there are as many as objects were live at once. Both tables are mappings of their own: the heap is the
 *     recording's alone.
 *  2. The operations are done, in turn, and timed.
 */
#include "commands.h"
#include "hash.h"
#include "recording.h"
#include "say.h"
#include "view.h"

#include <dlfcn.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define ROOM_FIRST (1UL << 16)

struct operation {
	uint32_t slot;
	uint32_t size; /* asked for, at least 1; 0: a free */
};

/* An array in a mapping of its own. */
struct table {
	void *start;
	size_t count, room, each;
};

/* A hash table of what is live, at most three quarters full. */
struct slots {
	struct place {
		uint64_t ptr; /* address in the recording; 0: empty */
		uint32_t slot;
	} * place;
	size_t room, count;
	unsigned shift; /* of a hash, to a place */
};

struct replay {
	struct table operations;
	struct table unused; /* slots of objects that were freed, to be used again */
	struct slots slots;
	uint32_t nr_slots;
	uint64_t allocs, frees, bytes, unknown, too_large;
};

static void *map(size_t bytes)
{
	void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		give_up("no memory for %zu bytes of operations", bytes);
	return start;
}

static void *push(struct table *table)
{
	if (table->count == table->room) {
		size_t room = table->room ? table->room * 2 : ROOM_FIRST;

		if (!table->start)
			table->start = map(room * table->each);
		else
			table->start = mremap(table->start, table->room * table->each,
					      room * table->each, MREMAP_MAYMOVE);
		if (table->start == MAP_FAILED)
			give_up("no memory for %zu operations", room);
		table->room = room;
	}
	return (char *)table->start + table->count++ * table->each;
}

static size_t home_of(const struct slots *slots, uint64_t ptr)
{
	return hash_of(ptr) >> slots->shift;
}

/* Its place, or the empty one where it may go. */
static struct place *place_of(const struct slots *slots, uint64_t ptr)
{
	size_t at = home_of(slots, ptr);

	while (slots->place[at].ptr && slots->place[at].ptr != ptr)
		at = (at + 1) & (slots->room - 1);
	return &slots->place[at];
}

static void grow(struct slots *slots)
{
	struct slots old = *slots;

	slots->room = old.room ? old.room * 2 : ROOM_FIRST;
	slots->shift = 64 - (unsigned)__builtin_ctzl(slots->room);
	slots->place = map(slots->room * sizeof(*slots->place));
	madvise(slots->place, slots->room * sizeof(*slots->place), MADV_HUGEPAGE);
	for (size_t i = 0; i < old.room; i++)
		if (old.place[i].ptr)
			*place_of(slots, old.place[i].ptr) = old.place[i];
	if (old.room)
		munmap(old.place, old.room * sizeof(*old.place));
}

/* Take the entry out; those that follow move up as far as they may. */
static void forget(struct slots *slots, struct place *place)
{
	size_t mask = slots->room - 1, hole = (size_t)(place - slots->place), at = hole;

	for (;;) {
		size_t home;

		at = (at + 1) & mask;
		if (!slots->place[at].ptr)
			break;
		home = home_of(slots, slots->place[at].ptr);
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			slots->place[hole] = slots->place[at];
			hole = at;
		}
	}
	slots->place[hole].ptr = 0;
	slots->count--;
}

static void add_operation(struct replay *replay, uint32_t slot, uint64_t size)
{
	struct operation *operation = push(&replay->operations);

	*operation = (struct operation){ slot, (uint32_t)size };
}

static void add_free(struct replay *replay, uint64_t ptr)
{
	struct place *place = replay->slots.room ? place_of(&replay->slots, ptr) : NULL;

	if (!place || !place->ptr) {
		replay->unknown++;
		return;
	}
	add_operation(replay, place->slot, 0);
	*(uint32_t *)push(&replay->unused) = place->slot;
	forget(&replay->slots, place);
	replay->frees++;
}

/*
 * Another program took the process' place: what was live is gone with the one before. These are no frees of the program,
 * but the heap is as empty for the next one as it was for that.
 */
static void free_all(struct replay *replay)
{
	for (size_t i = 0; i < replay->slots.room; i++) {
		struct place *place = &replay->slots.place[i];

		if (!place->ptr)
			continue;
		add_operation(replay, place->slot, 0);
		*(uint32_t *)push(&replay->unused) = place->slot;
		place->ptr = 0;
	}
	replay->slots.count = 0;
}

static void add_alloc(struct replay *replay, const struct event *event)
{
	uint64_t size = event->req ? event->req : 1;
	struct place *place;
	uint32_t slot;

	if (size > UINT32_MAX) {
		replay->too_large++;
		return;
	}
	if (replay->slots.count >= replay->slots.room / 4 * 3)
		grow(&replay->slots);
	if (place_of(&replay->slots, event->ptr)->ptr)
		add_free(replay, event->ptr); /* its free was lost */
	slot = replay->unused.count ? ((uint32_t *)replay->unused.start)[--replay->unused.count] :
				      replay->nr_slots++;
	place = place_of(&replay->slots, event->ptr);
	*place = (struct place){ event->ptr, slot };
	replay->slots.count++;
	add_operation(replay, slot, size);
	replay->allocs++;
	replay->bytes += size;
}

static void fetch_ahead(const struct replay *replay, const struct reader *reader)
{
	const struct event *ahead = recording_ahead(reader);

	if (ahead && replay->slots.room)
		__builtin_prefetch(&replay->slots.place[home_of(&replay->slots, ahead->ptr)], 1);
}

static bool load(struct replay *replay, const char *path)
{
	struct reader *reader = recording_open(path);
	struct event event;
	unsigned image = 0;

	if (!reader)
		return false;
	if (recording_info(reader, "sample_bytes")) {
		recording_reader_close(reader);
		say("%s holds samples: a replay wants every call (kmem record --all)", path);
		return false;
	}
	replay->operations.each = sizeof(struct operation);
	replay->unused.each = sizeof(uint32_t);
	while (recording_next(reader, &event)) {
		fetch_ahead(replay, reader);
		if (recording_image(reader) != image)
			free_all(replay);
		image = recording_image(reader);
		if (!event.ptr)
			continue;
		if (event_is_alloc(&event))
			add_alloc(replay, &event);
		else if (event_is_free(&event))
			add_free(replay, event.ptr);
	}
	recording_reader_close(reader);
	/* the heap that is measured has the memory to itself, but for the operations */
	if (replay->slots.room)
		munmap(replay->slots.place, replay->slots.room * sizeof(*replay->slots.place));
	return true;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Returns the nanoseconds; what is live at the end is freed, untimed. */
static uint64_t run(const struct replay *replay, void **objects)
{
	const struct operation *operation = replay->operations.start;
	const struct operation *end = operation + replay->operations.count;
	uint64_t start = now_ns(), spent;

	for (; operation < end; operation++) {
		char *object;

		if (!operation->size) {
			free(objects[operation->slot]);
			objects[operation->slot] = NULL;
			continue;
		}
		object = malloc(operation->size);
		if (!object)
			give_up("this malloc has no %u bytes more", operation->size);
		for (size_t at = 0; at < operation->size; at += PAGE)
			*(volatile char *)(object + at) = 1;
		objects[operation->slot] = object;
	}
	spent = now_ns() - start;
	for (uint32_t i = 0; i < replay->nr_slots; i++) {
		free(objects[i]);
		objects[i] = NULL;
	}
	return spent;
}

struct options {
	const char *path, *preload;
	uint64_t repeat;
	bool json;
};

static void print(const struct options *options, const struct replay *replay, uint64_t best)
{
	double each = replay->operations.count ? (double)best / (double)replay->operations.count :
						 0;
	char bytes[32], peak[32];
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	if (options->json) {
		struct json_object *root = json_object_new_object();

		json_object_object_add(root, "allocs",
				       json_object_new_int64((int64_t)replay->allocs));
		json_object_object_add(root, "frees",
				       json_object_new_int64((int64_t)replay->frees));
		json_object_object_add(root, "bytes",
				       json_object_new_int64((int64_t)replay->bytes));
		json_object_object_add(root, "most_objects",
				       json_object_new_int64((int64_t)replay->nr_slots));
		json_object_object_add(root, "ns", json_object_new_int64((int64_t)best));
		json_object_object_add(root, "max_rss_kib", json_object_new_int64(usage.ru_maxrss));
		json_object_object_add(root, "minor_faults",
				       json_object_new_int64(usage.ru_minflt));
		puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
		json_object_put(root);
		return;
	}
	printf("%lu allocations of %s requested, %lu frees; at most %u objects at once\n",
	       replay->allocs, human_bytes((double)replay->bytes, bytes), replay->frees,
	       replay->nr_slots);
	printf("%.3f ms, %.1f ns for each (the best of %lu); peak resident %s with the operations, %ld minor faults\n",
	       (double)best / 1e6, each, options->repeat,
	       human_bytes((double)usage.ru_maxrss * 1024, peak), usage.ru_minflt);
}

/* Once more with another malloc in place. */
static int run_preloaded(const char *library, char **argv)
{
	if (access(library, R_OK) != 0) {
		say("%s can't be preloaded: %s", library, strerror(errno));
		return 1;
	}
	setenv("LD_PRELOAD", library, 1);
	setenv("KMEM_REPLAY", library, 1);
	argv[0] = (char *)(uintptr_t) "replay";
	execv("/proc/self/exe",
	      (char *[]){ (char *)(uintptr_t) "kmem", (char *)(uintptr_t) "replay", argv[1],
			  argv[2], argv[3], argv[4], NULL });
	say("kmem can't be started again: %s", strerror(errno));
	return 1;
}

/* The loader says what it can't take, and goes on without. */
static bool is_preloaded(const char *library)
{
	if (!library || dlopen(library, RTLD_LAZY | RTLD_NOLOAD))
		return true;
	say("%s can't be preloaded: the numbers would be those of another malloc", library);
	return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'p':
		options->preload = arg;
		break;
	case 'r':
		options->repeat = option_number(state, "-r", arg, 1, 1000000);
		break;
	case 'j':
		options->json = true;
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			return ARGP_ERR_UNKNOWN;
		options->path = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int command_replay(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "preload", 'p', "LIBRARY", 0, "on this library's malloc", 0 },
		{ "repeat", 'r', "N", 0, "so many times; the best counts (default 3)", 0 },
		{ "json", 'j', NULL, 0, "for a script to read", 0 },
		{ 0 },
	};
	static const struct argp argp = {
		argp_options,
		parse,
		"[FILE]",
		"Do a recording's allocations and frees again, in one thread, on whatever malloc is "
		"there: by --preload or LD_PRELOAD any other's, for comparison.",
		NULL,
		NULL,
		NULL
	};
	struct options options = { .path = RECORDING_DEFAULT, .repeat = 3 };
	struct replay replay = { 0 };
	uint64_t best = UINT64_MAX;
	void **objects;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	if (options.preload && !getenv("KMEM_REPLAY")) {
		char repeat[32];
		char *again[] = { NULL, (char *)(uintptr_t)options.path, (char *)(uintptr_t) "-r",
				  repeat, options.json ? (char *)(uintptr_t) "-j" : NULL };

		snprintf(repeat, sizeof(repeat), "%lu", options.repeat);
		return run_preloaded(options.preload, again);
	}
	if (!is_preloaded(getenv("KMEM_REPLAY")) || !load(&replay, options.path))
		return 1;
	if (!replay.allocs) {
		say("%s has no allocations", options.path);
		return 1;
	}
	objects = map((replay.nr_slots + 1UL) * sizeof(*objects));
	for (uint64_t i = 0; i < options.repeat; i++) {
		uint64_t spent = run(&replay, objects);

		best = spent < best ? spent : best;
	}
	print(&options, &replay, best);
	if (replay.too_large)
		say("%lu areas of 4 GiB and more were left out", replay.too_large);
	return 0;
}
