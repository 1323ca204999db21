/* SPDX-License-Identifier: MIT */
/* json.c - what the commands print with --json has in common. */
#include "json.h"

#include <math.h>
#include <stdio.h>

void json_add(struct json_object *object, const char *name, double value)
{
	json_object_object_add(object, name,
			       json_object_new_int64(fabs(value) < 9e18 ? llround(value) : 0));
}

void json_add_text(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, json_object_new_string(text));
}

void json_add_unknown_frees(struct json_object *object, const struct model *model)
{
	if (model->filtered)
		json_object_object_add(object, "unknown_frees", NULL);
	else
		json_add(object, "unknown_frees", (double)model->unknown_frees);
}

struct json_object *json_tally(const struct tally *sum)
{
	struct json_object *object = json_object_new_object();

	json_add(object, "allocs", sum->allocs);
	json_add(object, "frees", sum->frees);
	json_add(object, "bytes_req", sum->req);
	json_add(object, "bytes_alloc", sum->alloc);
	json_add(object, "bytes_freed", sum->freed);
	json_add(object, "live_objects", sum->live_objects);
	json_add(object, "live_bytes", sum->live_bytes);
	json_add(object, "peak_objects", sum->peak_objects);
	json_add(object, "peak_bytes", sum->peak_bytes);
	json_add(object, "short_lived", sum->short_lived);
	json_add(object, "cross_cpu_frees", sum->cross_cpu);
	return object;
}

static struct json_object *frame_json(const struct frame *frame)
{
	struct json_object *object = json_object_new_object();

	if (frame->function)
		json_add_text(object, "function", frame->function);
	if (frame->module)
		json_add_text(object, "module", frame->module);
	if (frame->file) {
		json_add_text(object, "file", frame->file);
		json_add(object, "line", frame->line);
	}
	return object;
}

struct json_object *json_frames(struct view *view, uint64_t address)
{
	struct json_object *list = json_object_new_array();
	struct frame frames[FRAMES_MAX];
	size_t count = symbols_frames(view->symbols, address, frames);

	for (size_t i = 0; i < count; i++)
		json_object_array_add(list, frame_json(&frames[i]));
	return list;
}

void json_print(struct json_object *root)
{
	puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
	json_object_put(root);
}
