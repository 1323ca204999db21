/* SPDX-License-Identifier: MIT */
/*
 * export_chrome.c - `kmem export --chrome`: Chrome's trace events, as a JSON object.
 *
 * The process has its name (M), two counters (C) of live bytes and objects over time, and a mark
 * (i) at the peak. Stacks have no place in that format, so the call sites are not in it.
 */
#include "export.h"

static struct json_object *new_event(const struct export *export, const char *phase,
				     const char *name)
{
	struct json_object *event = json_object_new_object();

	json_object_object_add(event, "name", json_object_new_string(name));
	json_object_object_add(event, "ph", json_object_new_string(phase));
	json_object_object_add(event, "pid", json_object_new_int(export_pid(export)));
	json_object_object_add(event, "tid", json_object_new_int(export_pid(export)));
	return event;
}

/* Time stamps are microseconds; the nanoseconds stand behind the point. */
static void add_time(struct json_object *event, uint64_t ns)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu.%03lu", ns / 1000, ns % 1000);
	json_object_object_add(event, "ts", json_object_new_double_s((double)ns / 1000, text));
}

static void add_counter(const struct export *export, struct json_object *list, uint64_t ns,
			const char *name, const char *unit, double value)
{
	struct json_object *event = new_event(export, "C", name), *args = json_object_new_object();

	json_object_object_add(event, "cat", json_object_new_string("heap"));
	add_time(event, ns);
	export_json_add(args, unit, value);
	json_object_object_add(event, "args", args);
	json_object_array_add(list, event);
}

static void add_name(const struct export *export, struct json_object *list)
{
	struct json_object *event = new_event(export, "M", "process_name"),
			   *args = json_object_new_object();

	json_object_object_add(args, "name", export_json_text(export_command(export)));
	json_object_object_add(event, "args", args);
	json_object_array_add(list, event);
}

static void add_peak(const struct export *export, struct json_object *list)
{
	const struct model *model = &export->view.model;
	struct json_object *event = new_event(export, "i", "peak"),
			   *args = json_object_new_object();

	json_object_object_add(event, "cat", json_object_new_string("heap"));
	json_object_object_add(event, "s", json_object_new_string("p"));
	add_time(event, model->peak_ns);
	export_json_add(args, "bytes", model->sum.peak_bytes);
	export_json_add(args, "objects", model->sum.peak_objects);
	json_object_object_add(event, "args", args);
	json_object_array_add(list, event);
}

static struct json_object *other_data(const struct export *export)
{
	const struct view *view = &export->view;
	const struct tally *sum = &view->model.sum;
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "command", export_json_text(export_command(export)));
	export_json_add(object, "time", (double)export_time(export));
	export_json_add(object, "duration_ns", (double)view->model.end_ns);
	export_json_add(object, "allocs", sum->allocs);
	export_json_add(object, "bytes_alloc", sum->alloc);
	export_json_add(object, "live_objects", sum->live_objects);
	export_json_add(object, "live_bytes", sum->live_bytes);
	export_json_add(object, "lost", (double)recording_lost(view->reader));
	json_object_object_add(object, "sampled", json_object_new_boolean(view->model.sampled));
	return object;
}

bool export_chrome(struct export *export)
{
	struct json_object *root = json_object_new_object(), *list = json_object_new_array();
	struct point points[MODEL_POINTS + 1];
	size_t count = export_points(export, points);

	add_name(export, list);
	for (size_t i = 0; i < count; i++) {
		add_counter(export, list, points[i].ns, "heap bytes", "bytes", points[i].bytes);
		add_counter(export, list, points[i].ns, "heap objects", "objects",
			    points[i].objects);
	}
	if (export->view.model.sum.peak_bytes > 0)
		add_peak(export, list);
	json_object_object_add(root, "traceEvents", list);
	json_object_object_add(root, "displayTimeUnit", json_object_new_string("ns"));
	json_object_object_add(root, "otherData", other_data(export));
	fputs(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN |
							   JSON_C_TO_STRING_NOSLASHESCAPE),
	      export->out);
	fputc('\n', export->out);
	json_object_put(root);
	return true;
}
