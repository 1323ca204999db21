/* SPDX-License-Identifier: MIT */
/*
 * export_dhat.c - `kmem export --dhat`: the JSON of valgrind's DHAT, version 2, which its
 * dh_view.html shows.
 *
 * A call site is a program point. Differences to what DHAT itself writes: time is in microseconds,
 * not instructions; bytes are those that the objects take, not those that were asked for; nothing
 * is known about accesses, so bkacc is false.
 */
#include "export.h"

#include <string.h>

/* "0x1234: function (file.c:12)", as valgrind writes frames. Its number in the table. */
static int frame_number(struct texts *table, uint64_t address, const struct frame *frame)
{
	const char *function = frame->function ? frame->function : "???";
	char text[2048];

	if (frame->file)
		snprintf(text, sizeof(text), "0x%lX: %s (%s:%d)", recording_address(address),
			 function, frame->file, frame->line);
	else if (frame->module)
		snprintf(text, sizeof(text), "0x%lX: %s (in %s)", recording_address(address),
			 function, frame->module);
	else
		snprintf(text, sizeof(text), "0x%lX: %s", recording_address(address), function);
	return (int)texts_number(table, text);
}

static struct json_object *frames_json(const struct export *export, struct texts *table,
				       const struct site *site)
{
	struct json_object *list = json_object_new_array();
	struct frame frames[FRAMES_MAX];
	const uint64_t *addresses;
	size_t nr_addresses = export_stack(export, site, &addresses);

	for (size_t i = 0; i < nr_addresses; i++) {
		size_t count = symbols_frames(export->view.symbols, addresses[i], frames);

		for (size_t j = 0; j < count; j++)
			json_object_array_add(list,
					      json_object_new_int(frame_number(table, addresses[i],
									       &frames[j])));
	}
	return list;
}

static struct json_object *point_json(const struct export *export, struct texts *table,
				      const struct site *site)
{
	struct json_object *point = json_object_new_object();
	const struct tally *sum = &site->sum;

	export_json_add(point, "tb", sum->alloc);
	export_json_add(point, "tbk", sum->allocs);
	export_json_add(point, "tl", (sum->lifetime_ns + sum->live_ns) / 1000);
	export_json_add(point, "mb", sum->max_bytes);
	export_json_add(point, "mbk", sum->max_objects);
	export_json_add(point, "gb", sum->peak_bytes);
	export_json_add(point, "gbk", sum->peak_objects);
	export_json_add(point, "eb", sum->live_bytes);
	export_json_add(point, "ebk", sum->live_objects);
	json_object_object_add(point, "fs", frames_json(export, table, site));
	return point;
}

static void add_head(const struct export *export, struct json_object *root)
{
	const struct model *model = &export->view.model;

	json_object_object_add(root, "dhatFileVersion", json_object_new_int(2));
	json_object_object_add(root, "mode", json_object_new_string("heap"));
	json_object_object_add(root, "verb", json_object_new_string("Allocated"));
	json_object_object_add(root, "bklt", json_object_new_boolean(true));
	json_object_object_add(root, "bkacc", json_object_new_boolean(false));
	json_object_object_add(root, "bu", json_object_new_string("byte"));
	json_object_object_add(root, "bsu", json_object_new_string("bytes"));
	json_object_object_add(root, "bksu", json_object_new_string("blocks"));
	json_object_object_add(root, "tu", json_object_new_string("µs"));
	json_object_object_add(root, "Mtu", json_object_new_string("s"));
	json_object_object_add(root, "tuth", json_object_new_int(MODEL_SHORT_NS / 1000));
	json_object_object_add(root, "cmd", export_json_text(export_command(export)));
	json_object_object_add(root, "pid", json_object_new_int(export_pid(export)));
	export_json_add(root, "te", (double)model->end_ns / 1000);
	export_json_add(root, "tg", (double)model->peak_ns / 1000);
}

/* Without its last `less` characters; frees it. */
static void print(const struct export *export, struct json_object *object, size_t less)
{
	const char *text =
		json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
							       JSON_C_TO_STRING_NOSLASHESCAPE);

	fwrite(text, 1, strlen(text) - less, export->out);
	json_object_put(object);
}

/* Program points one by one: with whole call stacks there may be a million. */
bool export_dhat(struct export *export)
{
	struct json_object *root = json_object_new_object(), *frames = json_object_new_array();
	struct texts *table = texts_new();

	texts_number(table, "[root]");
	add_head(export, root);
	print(export, root, 1);
	fputs(",\"pps\":[", export->out);
	for (size_t i = 0; i < export->nr_sites; i++) {
		if (i)
			fputc(',', export->out);
		print(export, point_json(export, table, export->site[i]), 0);
	}
	for (size_t i = 0; i < texts_count(table); i++)
		json_object_array_add(frames, json_object_new_string(texts_get(table, i)));
	fputs("],\"ftbl\":", export->out);
	print(export, frames, 0);
	fputs("}\n", export->out);
	texts_free(table);
	return true;
}
