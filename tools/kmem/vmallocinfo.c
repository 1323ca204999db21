/* SPDX-License-Identifier: MIT */
/*
 * vmallocinfo.c - `kmem vmallocinfo`: the areas of a process in the form of /proc/vmallocinfo.
 *
 * As in the kernel's (mm/vmalloc.c, vmalloc_info_show()) a line has the range with its guard page, its bytes, the pages without the
 * guard page, and words; freed ranges that still wait are "unpurged vm_area". Differences: the library keeps no callers, so
 * there is none; a range says what its guard page is: "guard=mark" faults by a mark in the page table, "guard=gap" is not
 * mapped, "guard=none" is usable. Foreign ranges, where somebody else mapped something, are shown with --all alone, as
 * holes are.
 */
#include "commands.h"
#include "process.h"

#include <stdio.h>
#include <unistd.h>

#define KEY_ALL 701

struct options {
	struct process process;
	bool all;
	struct json_object *list; /* NULL: text */
	uint64_t page;
};

static const char *const guards[] = { "none", "mark", "gap" };
static const char *const states[] = { "busy", "lazy", "hole", "moving", "foreign" };

static const char *name_of(const char *const *names, size_t count, unsigned index)
{
	return index < count ? names[index] : "?";
}

static const char *guard_name(const struct vmap_area *area)
{
	return name_of(guards, sizeof(guards) / sizeof(*guards), area->guard);
}

static const char *state_name(const struct vmap_area *area)
{
	return name_of(states, sizeof(states) / sizeof(*states), area->state);
}

static void print_text(const struct vmap_area *area, uint64_t page)
{
	printf("0x%016lx-0x%016lx %7lu", area->addr, area->addr + area->span, area->span);
	if (area->state == VMAP_BUSY)
		printf(" pages=%lu vmalloc guard=%s\n", area->span / page - 1, guard_name(area));
	else if (area->state == VMAP_LAZY)
		printf(" unpurged vm_area\n");
	else
		printf(" %s\n", state_name(area));
}

static struct json_object *area_json(const struct vmap_area *area, uint64_t page)
{
	struct json_object *object = json_object_new_object();

	json_add_address(object, "start", area->addr);
	json_add_address(object, "end", area->addr + area->span);
	json_add_number(object, "bytes", area->span);
	json_add_string(object, "state", state_name(area));
	if (area->state == VMAP_BUSY) {
		json_add_number(object, "pages", area->span / page - 1);
		json_add_string(object, "guard", guard_name(area));
		json_object_object_add(object, "sampled", json_object_new_boolean(area->sampled));
	}
	if (area->state == VMAP_LAZY)
		json_object_object_add(object, "resident", json_object_new_boolean(!area->zeroed));
	return object;
}

static bool visit(const struct vmap_area *area, void *arg)
{
	const struct options *options = arg;

	if (area->state != VMAP_BUSY && area->state != VMAP_LAZY && !options->all)
		return true;
	if (options->list)
		json_object_array_add(options->list, area_json(area, options->page));
	else
		print_text(area, options->page);
	return !ferror(stdout);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->process;
		return 0;
	case KEY_ALL:
		options->all = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int command_vmallocinfo(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "all", KEY_ALL, NULL, 0,
		  "also holes, what is between two states, and what others mapped there", 1 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &process_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		argp_options,
		parse,
		"PID",
		"Print the areas of a process, its large allocations, in the form of "
		"/proc/vmallocinfo.",
		children,
		NULL,
		NULL
	};
	struct options options = { .page = (uint64_t)sysconf(_SC_PAGESIZE) };
	struct json_object *root = NULL;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	if (!process_open(&options.process))
		return 1;
	if (options.process.json) {
		root = json_object_new_object();
		options.list = json_object_new_array();
		json_object_object_add(root, "areas", options.list);
	}
	if (remote_areas(&options.process.target, &options.process.places, visit, &options) != 0)
		return process_gone(&options.process);
	if (root)
		json_print(root);
	target_close(&options.process.target);
	return 0;
}
