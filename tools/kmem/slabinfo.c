/* SPDX-License-Identifier: MIT */
/*
 * slabinfo.c - `kmem slabinfo`: the caches of a process in the form of /proc/slabinfo 2.1.
 *
 * As in the kernel's (mm/slab_common.c, slabinfo_show()), active_objs are the objects that are out of slabs: those in sheaves too.
 * With --live they are those in the program's hands. Differences: size classes that have no slab are left out, as there are
 * many; sharedavail and the tunables are 0, as in SLUB.
 */
#include "caches.h"
#include "commands.h"

#include <stdio.h>
#include <unistd.h>

#define KEY_LIVE 700

struct options {
	struct process process;
	bool exact; /* --live */
};

static bool is_shown(const struct cache_row *row)
{
	return row->cache.nr_slabs || row->cache.flags & KMEM_CACHE_PROGRAM;
}

static uint64_t pages_of(const struct cache_row *row)
{
	return cache_row_slab_bytes(row) / (uint64_t)sysconf(_SC_PAGESIZE);
}

static void print_row(const struct cache_row *row, bool exact)
{
	const struct kmem_cache *cache = &row->cache;

	printf("%-17s %6lu %6lu %6u %4u %4lu : tunables %4u %4u %4u : slabdata %6u %6u %6u\n",
	       cache->name, exact ? cache_row_live(row) : cache->nr_inuse, cache_row_objects(row),
	       cache->size, cache->nr_objects, pages_of(row), 0U, 0U, 0U, cache->nr_slabs,
	       cache->nr_slabs, 0U);
}

static void print_text(const struct cache_rows *rows, bool exact)
{
	puts("slabinfo - version: 2.1\n"
	     "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables "
	     "<limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>");
	for (size_t i = 0; i < rows->count; i++)
		if (is_shown(&rows->row[i]))
			print_row(&rows->row[i], exact);
}

static struct json_object *row_json(const struct cache_row *row)
{
	struct json_object *object = json_object_new_object();

	json_add_string(object, "name", row->cache.name);
	json_add_number(object, "active_objs", row->cache.nr_inuse);
	json_add_number(object, "in_sheaves", row->in_sheaves);
	json_add_number(object, "live_objs", cache_row_live(row));
	json_add_number(object, "num_objs", cache_row_objects(row));
	json_add_number(object, "objsize", row->cache.size);
	json_add_number(object, "object_size", row->cache.object_size);
	json_add_number(object, "objperslab", row->cache.nr_objects);
	json_add_number(object, "pagesperslab", pages_of(row));
	json_add_number(object, "num_slabs", row->cache.nr_slabs);
	return object;
}

static void print_json(const struct cache_rows *rows)
{
	struct json_object *root = json_object_new_object(), *list = json_object_new_array();

	for (size_t i = 0; i < rows->count; i++)
		if (is_shown(&rows->row[i]))
			json_object_array_add(list, row_json(&rows->row[i]));
	json_object_object_add(root, "caches", list);
	json_print(root);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->process;
		return 0;
	case KEY_LIVE:
		options->exact = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int command_slabinfo(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "live", KEY_LIVE, NULL, 0,
		  "active_objs without those that are free and in sheaves, for CPUs to hand out "
		  "next: what the program holds",
		  1 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &process_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		argp_options, parse,
		"PID",	      "Print the caches of a process in the form of /proc/slabinfo 2.1.",
		children,     NULL,
		NULL
	};
	struct options options = { 0 };
	struct cache_rows rows = { 0 };

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	if (!process_open(&options.process))
		return 1;
	if (cache_rows_read(&options.process, &rows) != 0)
		return process_gone(&options.process);
	if (options.process.json)
		print_json(&rows);
	else
		print_text(&rows, options.exact);
	cache_rows_free(&rows);
	target_close(&options.process.target);
	return 0;
}
