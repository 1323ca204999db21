/* SPDX-License-Identifier: MIT */
/*
 * status.c - `kmem status`: what the library does in a process, and how much it holds.
 *
 * The kernel's counterparts are /proc/meminfo and /sys/module/.../parameters. The parameters' defaults are those of this program,
 * which is built from the same table (src/lib/param_table.c).
 */
#include "commands.h"
#include "library.h"
#include "process.h"
#include "view.h"

#include "lib/param.h"

#include <stdio.h>
#include <string.h>

static const char *const mode_names[] = { "off", "sample", "all" };

struct status {
	struct process process;
	struct remote_counts counts;
	struct library library;
	struct params params;
	char version[64], mode[64], reason[256];
};

static bool status_read(struct status *status)
{
	const struct target *target = &status->process.target;
	const struct trace_places *places = &status->process.places;

	remote_string(target, places->version, status->version, sizeof(status->version));
	remote_string(target, places->mode_name, status->mode, sizeof(status->mode));
	remote_string(target, places->mode_reason, status->reason, sizeof(status->reason));
	library_find(target, &status->library);
	return target_read(target, places->params, &status->params, sizeof(status->params)) == 0 &&
	       remote_count(target, places, &status->counts) == 0;
}

static const char *mode_name(uint32_t mode)
{
	return mode_names[mode < sizeof(mode_names) / sizeof(*mode_names) ? mode : TRACE_OFF];
}

static const char *tracing(const struct status *status)
{
	return mode_name(status->process.target.state.mode);
}

/* What will be traced from the next call on. */
static const char *tracing_wanted(const struct status *status)
{
	const struct trace_control *state = &status->process.target.state;

	return mode_name(state->generation == state->applied ? state->mode : state->want_mode);
}

/* The value of a parameter in words, if it is not the default. */
static bool param_changed(const struct params *there, const struct param *param, char *text,
			  size_t size)
{
	const char *here = param->target;
	const char *theirs = (const char *)there + (here - (const char *)&params);
	size_t number;
	int choice;

	switch (param->type) {
	case PARAM_BOOL:
		snprintf(text, size, "%s", *theirs ? "yes" : "no");
		return *theirs != *here;
	case PARAM_SIZE:
		memcpy(&number, theirs, sizeof(number));
		snprintf(text, size, "%zu", number);
		return memcmp(theirs, here, sizeof(number)) != 0;
	case PARAM_CHOICE:
		memcpy(&choice, theirs, sizeof(choice));
		for (int i = 0; param->choices[i]; i++)
			if (i == choice)
				snprintf(text, size, "%s", param->choices[i]);
		return memcmp(theirs, here, sizeof(choice)) != 0;
	default:
		return false;
	}
}

static void print_params(const struct status *status)
{
	unsigned count = 0;
	char text[64];

	for (const struct param *param = param_table; param->name; param++)
		if (param_changed(&status->params, param, text, sizeof(text)))
			printf("%s%s=%s", count++ ? " " : "parameters:   ", param->name, text);
	puts(count ? "" : "parameters:   all as they are by default");
}

static void print_memory(const struct remote_counts *counts)
{
	char a[32], b[32], c[32];

	printf("kmalloc path: %s in %lu objects that are live, %s in %lu that wait in sheaves\n",
	       human_bytes((double)(counts->object_bytes - counts->in_sheaf_bytes), a),
	       counts->objects - counts->in_sheaves, human_bytes((double)counts->in_sheaf_bytes, b),
	       counts->in_sheaves);
	printf("              %s in %lu slabs of %lu caches\n",
	       human_bytes((double)counts->slab_bytes, a), counts->slabs, counts->caches);
	printf("free pages:   %s that may be resident, %s that are not\n",
	       human_bytes((double)counts->free_dirty, a),
	       human_bytes((double)counts->free_clean, b));
	printf("vmalloc path: %s in %lu areas that are live, %s in %lu that wait for reuse\n",
	       human_bytes((double)counts->area_bytes, a), counts->areas,
	       human_bytes((double)counts->lazy_bytes, b), counts->lazy);
	printf("returned:     %s of pages, %s of areas, since the start\n",
	       human_bytes((double)counts->purged_pages, a),
	       human_bytes((double)counts->purged_areas, b));
	printf("mapped:       %s for slabs, %s for metadata\n",
	       human_bytes((double)counts->mapped, b), human_bytes((double)counts->metadata, c));
}

static void print_text(const struct status *status)
{
	const struct trace_control *state = &status->process.target.state;

	printf("process:      %d\n", status->process.pid);
	printf("library:      %s, version %s\n",
	       status->library.path[0] ? status->library.path : "?", status->version);
	if (status->library.build_id[0])
		printf("build-id:     %s\n", status->library.build_id);
	printf("mode:         %s (%s); %u per-CPU areas\n", status->mode, status->reason,
	       status->counts.nr_cpus);
	if (strcmp(tracing(status), tracing_wanted(status)) != 0)
		printf("tracing:      %s; %s from its next call on\n", tracing(status),
		       tracing_wanted(status));
	else
		printf("tracing:      %s\n", tracing(status));
	if (state->nr_rings)
		printf("rings:        %lu, of %u events each\n", state->nr_rings,
		       state->ring_events);
	print_params(status);
	print_memory(&status->counts);
}

static struct json_object *params_json(const struct status *status)
{
	struct json_object *object = json_object_new_object();
	char text[64];

	for (const struct param *param = param_table; param->name; param++)
		if (param_changed(&status->params, param, text, sizeof(text)))
			json_add_string(object, param->name, text);
	return object;
}

static void add_counts(struct json_object *root, const struct remote_counts *counts)
{
	json_add_number(root, "caches", counts->caches);
	json_add_number(root, "slabs", counts->slabs);
	json_add_number(root, "slab_bytes", counts->slab_bytes);
	json_add_number(root, "active_objects", counts->objects);
	json_add_number(root, "active_bytes", counts->object_bytes);
	json_add_number(root, "objects_in_sheaves", counts->in_sheaves);
	json_add_number(root, "bytes_in_sheaves", counts->in_sheaf_bytes);
	json_add_number(root, "live_objects", counts->objects - counts->in_sheaves);
	json_add_number(root, "live_bytes", counts->object_bytes - counts->in_sheaf_bytes);
	json_add_number(root, "areas", counts->areas);
	json_add_number(root, "area_bytes", counts->area_bytes);
	json_add_number(root, "lazy_areas", counts->lazy);
	json_add_number(root, "lazy_bytes", counts->lazy_bytes);
	json_add_number(root, "area_allocs", counts->area_allocs);
	json_add_number(root, "area_frees", counts->area_frees);
	json_add_number(root, "free_dirty_bytes", counts->free_dirty);
	json_add_number(root, "free_clean_bytes", counts->free_clean);
	json_add_number(root, "returned_page_bytes", counts->purged_pages);
	json_add_number(root, "returned_area_bytes", counts->purged_areas);
	json_add_number(root, "mapped_bytes", counts->mapped);
	json_add_number(root, "metadata_bytes", counts->metadata);
	json_add_number(root, "percpu_areas", counts->nr_cpus);
}

static void print_json(const struct status *status)
{
	struct json_object *root = json_object_new_object();

	json_add_number(root, "pid", (uint64_t)status->process.pid);
	json_add_string(root, "library", status->library.path);
	json_add_string(root, "build_id", status->library.build_id);
	json_add_string(root, "version", status->version);
	json_add_string(root, "mode", status->mode);
	json_add_string(root, "mode_reason", status->reason);
	json_add_string(root, "tracing", tracing(status));
	json_add_string(root, "tracing_wanted", tracing_wanted(status));
	json_add_number(root, "rings", status->process.target.state.nr_rings);
	json_object_object_add(root, "parameters", params_json(status));
	add_counts(root, &status->counts);
	json_print(root);
}

int command_status(int argc, char **argv)
{
	static const struct argp_child children[] = { { &process_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		NULL,	  NULL,
		"PID",	  "Show what the library does in a process, and how much it holds.",
		children, NULL,
		NULL
	};
	static struct status status;

	argp_parse(&argp, argc, argv, 0, NULL, &status.process);
	if (!process_open(&status.process))
		return 1;
	if (!status_read(&status))
		return process_gone(&status.process);
	/* the two were not counted at one moment */
	if (status.counts.in_sheaves > status.counts.objects)
		status.counts.in_sheaves = status.counts.objects;
	if (status.counts.in_sheaf_bytes > status.counts.object_bytes)
		status.counts.in_sheaf_bytes = status.counts.object_bytes;
	if (status.process.json)
		print_json(&status);
	else
		print_text(&status);
	target_close(&status.process.target);
	return 0;
}
