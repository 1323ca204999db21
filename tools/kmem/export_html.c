/* SPDX-License-Identifier: MIT */
/*
 * export_html.c - `kmem export --html`: one page that needs nothing else, no network either.
 *
 * The page's script, style and libraries are bundled when kmem is built (page/, bench/page/build),
 * and are in kmem as a template; here the recording's numbers go into it, as JSON. The JSON:
 *
 *	command, pid, host, time, duration_ns, peak_ns, events, lost, unknown_frees, whole,
 *	sampled, sample_bytes, samples
 *	function	what --function was; null: nothing
 *	total		sums of all, as of a site
 *	points		[ns, bytes, objects], the peak among them
 *	sizes		[from, to, objects, bytes]: classes of bytes asked for
 *	lifetimes	[from, to, objects]: classes of nanoseconds
 *	frames		{name, module, file, line, inlined}, each once
 *	sites		{address, kind, stack: numbers of frames, the innermost first; sums}
 */
#include "export.h"

#include "export_page.h"
#include "say.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define PLACEHOLDER "@DATA@"

static void add_text(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, text ? export_json_text(text) : NULL);
}

static void add_sums(struct json_object *object, const struct tally *sum)
{
	export_json_add(object, "allocs", sum->allocs);
	export_json_add(object, "frees", sum->frees);
	export_json_add(object, "req", sum->req);
	export_json_add(object, "alloc", sum->alloc);
	export_json_add(object, "live_objects", sum->live_objects);
	export_json_add(object, "live_bytes", sum->live_bytes);
	export_json_add(object, "peak_objects", sum->peak_objects);
	export_json_add(object, "peak_bytes", sum->peak_bytes);
	export_json_add(object, "max_objects", sum->max_objects);
	export_json_add(object, "max_bytes", sum->max_bytes);
	export_json_add(object, "short_lived", sum->short_lived);
	export_json_add(object, "cross_cpu", sum->cross_cpu);
	export_json_add(object, "lifetime_ns", sum->lifetime_ns);
}

static void push(struct json_object *list, double value)
{
	json_object_array_add(list, json_object_new_int64(export_round(value)));
}

static struct json_object *points_json(const struct export *export)
{
	struct json_object *list = json_object_new_array();
	struct point points[MODEL_POINTS + 1];
	size_t count = export_points(export, points);

	for (size_t i = 0; i < count; i++) {
		struct json_object *point = json_object_new_array();

		push(point, (double)points[i].ns);
		push(point, points[i].bytes);
		push(point, points[i].objects);
		json_object_array_add(list, point);
	}
	return list;
}

/* Classes that are powers of two, from `first` on, which has all below, too. more: a second column; NULL: none. */
static struct json_object *classes_json(const double *values, const double *more, size_t first,
					size_t count)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = first; i < count; i++) {
		struct json_object *class = json_object_new_array();

		push(class, i > first ? (double)(1UL << i) : 0);
		push(class, (double)(1UL << (i + 1)));
		push(class, values[i]);
		if (more)
			push(class, more[i]);
		json_object_array_add(list, class);
	}
	return list;
}

struct frame_table {
	struct texts *keys;
	struct json_object *list;
};

static size_t frame_number(struct frame_table *table, const struct frame *frame, bool inlined)
{
	struct json_object *object;
	char name[1024], key[4096];
	size_t number;

	export_frame_name(frame, name, sizeof(name));
	snprintf(key, sizeof(key), "%s\n%s\n%s\n%d\n%d", name, frame->module ? frame->module : "",
		 frame->file ? frame->file : "", frame->line, inlined);
	number = texts_number(table->keys, key);
	if (number < json_object_array_length(table->list))
		return number;
	object = json_object_new_object();
	add_text(object, "name", name);
	add_text(object, "module", frame->module);
	add_text(object, "file", frame->file);
	json_object_object_add(object, "line", json_object_new_int(frame->line));
	json_object_object_add(object, "inlined", json_object_new_boolean(inlined));
	json_object_array_add(table->list, object);
	return number;
}

static struct json_object *site_json(const struct export *export, struct frame_table *table,
				     const struct site *site)
{
	struct json_object *object = json_object_new_object(), *stack = json_object_new_array();
	struct frame frames[FRAMES_MAX];
	const uint64_t *addresses;
	size_t nr_addresses = export_stack(export, site, &addresses);
	char address[32];

	snprintf(address, sizeof(address), "0x%lx", recording_address(site->address));
	add_text(object, "address", address);
	add_text(object, "kind", event_name(site->type));
	for (size_t i = 0; i < nr_addresses; i++) {
		size_t count = symbols_frames(export->view.symbols, addresses[i], frames);

		for (size_t j = 0; j < count; j++)
			push(stack, (double)frame_number(table, &frames[j], j + 1 < count));
	}
	json_object_object_add(object, "stack", stack);
	add_sums(object, &site->sum);
	return object;
}

static void add_head(const struct export *export, struct json_object *root)
{
	const struct view *view = &export->view;
	const struct model *model = &view->model;

	export_json_add(root, "sample_bytes", (double)export_mean(export));
	add_text(root, "command", export_command(export));
	add_text(root, "host", recording_info(view->reader, "host"));
	add_text(root, "function", view->function);
	export_json_add(root, "pid", export_pid(export));
	export_json_add(root, "time", (double)export_time(export));
	export_json_add(root, "duration_ns", (double)model->end_ns);
	export_json_add(root, "peak_ns", (double)model->peak_ns);
	export_json_add(root, "events", (double)model->nr_events);
	export_json_add(root, "samples", (double)model->sum.events);
	export_json_add(root, "lost", (double)recording_lost(view->reader));
	if (model->filtered)
		json_object_object_add(root, "unknown_frees", NULL);
	else
		export_json_add(root, "unknown_frees", (double)model->unknown_frees);
	json_object_object_add(root, "whole",
			       json_object_new_boolean(recording_is_whole(view->reader)));
	json_object_object_add(root, "sampled", json_object_new_boolean(model->sampled));
}

static struct json_object *recording_json(const struct export *export)
{
	struct json_object *root = json_object_new_object(), *total = json_object_new_object();
	const struct model *model = &export->view.model;

	add_head(export, root);
	add_sums(total, &model->sum);
	json_object_object_add(root, "total", total);
	json_object_object_add(root, "points", points_json(export));
	json_object_object_add(root, "sizes",
			       classes_json(model->by_size, model->by_size_bytes, 0, MODEL_SIZES));
	json_object_object_add(root, "lifetimes",
			       classes_json(model->by_lifetime, NULL, model->least_life,
					    MODEL_LIVES));
	return root;
}

/* The template; NULL: said why. To be freed. */
static char *unpack_template(void)
{
	uLongf size = export_page_unpacked;
	char *text;

	if (!export_page_bytes) {
		say("this kmem was built without the page: building it needs npm; "
		    "`meson setup -Dkmem_page=enabled` says what is missing");
		return NULL;
	}
	text = xmalloc(size + 1);
	if (uncompress((Bytef *)text, &size, export_page, export_page_bytes) != Z_OK)
		give_up("no memory");
	text[size] = 0;
	return text;
}

/*
 * Names may be anything, and must not end the element that the JSON stands in: no "<" stays, which
 * in JSON is in texts only. Without its last `less` characters; frees it.
 */
static void print(FILE *out, struct json_object *object, size_t less)
{
	const char *json =
		json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
							       JSON_C_TO_STRING_NOSLASHESCAPE);
	const char *end = json + strlen(json) - less;

	while (json < end) {
		const char *stop = memchr(json, '<', (size_t)(end - json));

		fwrite(json, 1, (size_t)((stop ? stop : end) - json), out);
		if (stop)
			fputs("\\u003c", out);
		json = stop ? stop + 1 : end;
	}
	json_object_put(object);
}

/* Sites one by one: with whole call stacks there may be a million. */
static void print_recording(const struct export *export)
{
	struct frame_table table = { texts_new(), json_object_new_array() };
	FILE *out = export->out;

	print(out, recording_json(export), 1);
	fputs(",\"sites\":[", out);
	for (size_t i = 0; i < export->nr_sites; i++) {
		if (i)
			fputc(',', out);
		print(out, site_json(export, &table, export->site[i]), 0);
	}
	fputs("],\"frames\":", out);
	print(out, table.list, 0);
	fputc('}', out);
	texts_free(table.keys);
}

bool export_html(struct export *export)
{
	char *text = unpack_template(), *place = text ? strstr(text, PLACEHOLDER) : NULL;

	if (!place) {
		free(text);
		return false;
	}
	fwrite(text, 1, (size_t)(place - text), export->out);
	print_recording(export);
	fputs(place + strlen(PLACEHOLDER), export->out);
	free(text);
	return true;
}
