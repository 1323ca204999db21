/* SPDX-License-Identifier: MIT */
/*
 * export_pprof.c - `kmem export --pprof`: a gzipped profile.proto (profile.proto beside this file),
 * by protobuf-c.
 *
 * Sample types are those of Go's heap profiles: alloc_objects, alloc_space, inuse_objects,
 * inuse_space, the last one the default. A site is a sample, with its kind as a label; an address
 * is a location, whose lines are its functions, inlined ones first. Numbers of a sampled recording
 * are scaled already, as pprof wants them; the period is the mean of bytes between samples, 1 where
 * all was recorded.
 */
#include "export.h"

#include "say.h"

#include "profile.pb-c.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct pprof {
	Perftools__Profiles__Profile *profile;
	struct symbols *symbols;
	struct texts *strings, *locations, *functions;
};

static int64_t string_number(struct pprof *pprof, const char *text)
{
	return (int64_t)texts_number(pprof->strings, text);
}

static Perftools__Profiles__ValueType *new_value_type(struct pprof *pprof, const char *type,
						      const char *unit)
{
	Perftools__Profiles__ValueType *value =
		EXPORT_NEW(Perftools__Profiles__ValueType, perftools__profiles__value_type__init);

	value->type = string_number(pprof, type);
	value->unit = string_number(pprof, unit);
	return value;
}

static void add_mappings(struct pprof *pprof)
{
	Perftools__Profiles__Profile *profile = pprof->profile;
	struct module module;
	size_t at = 0;

	while (symbols_next_module(pprof->symbols, &at, &module)) {
		Perftools__Profiles__Mapping *mapping =
			EXPORT_NEW(Perftools__Profiles__Mapping,
				   perftools__profiles__mapping__init);

		mapping->id = profile->n_mapping + 1;
		mapping->memory_start = module.start;
		mapping->memory_limit = module.end;
		mapping->file_offset = module.offset;
		mapping->filename = string_number(pprof, module.path);
		mapping->build_id = string_number(pprof, module.build_id);
		EXPORT_PUSH(profile->mapping, profile->n_mapping, mapping);
	}
}

static const Perftools__Profiles__Mapping *mapping_of(const struct pprof *pprof, uint64_t address)
{
	for (size_t i = 0; i < pprof->profile->n_mapping; i++) {
		const Perftools__Profiles__Mapping *mapping = pprof->profile->mapping[i];

		if (address >= mapping->memory_start && address < mapping->memory_limit)
			return mapping;
	}
	return NULL;
}

static uint64_t function_id(struct pprof *pprof, const struct frame *frame)
{
	Perftools__Profiles__Profile *profile = pprof->profile;
	Perftools__Profiles__Function *function;
	char key[8192], name[1024];
	size_t number;

	export_frame_name(frame, name, sizeof(name));
	snprintf(key, sizeof(key), "%s\n%s", name, frame->path ? frame->path : "");
	number = texts_number(pprof->functions, key);
	if (number < profile->n_function)
		return number + 1;
	function = EXPORT_NEW(Perftools__Profiles__Function, perftools__profiles__function__init);
	function->id = number + 1;
	function->name = function->system_name = string_number(pprof, name);
	function->filename = string_number(pprof, frame->path ? frame->path : "");
	EXPORT_PUSH(profile->function, profile->n_function, function);
	return number + 1;
}

static void add_lines(struct pprof *pprof, Perftools__Profiles__Location *location,
		      uint64_t address)
{
	struct frame frames[FRAMES_MAX];
	size_t count = symbols_frames(pprof->symbols, address, frames);

	for (size_t i = 0; i < count; i++) {
		Perftools__Profiles__Line *line;

		/* what has no name is left to pprof, which may find one by the build-id */
		if (!frames[i].function)
			continue;
		line = EXPORT_NEW(Perftools__Profiles__Line, perftools__profiles__line__init);
		line->function_id = function_id(pprof, &frames[i]);
		line->line = frames[i].line;
		EXPORT_PUSH(location->line, location->n_line, line);
	}
}

static uint64_t location_id(struct pprof *pprof, uint64_t address)
{
	Perftools__Profiles__Profile *profile = pprof->profile;
	Perftools__Profiles__Location *location;
	const Perftools__Profiles__Mapping *mapping;
	char key[32];
	size_t number;

	snprintf(key, sizeof(key), "%lx", address);
	number = texts_number(pprof->locations, key);
	if (number < profile->n_location)
		return number + 1;
	location = EXPORT_NEW(Perftools__Profiles__Location, perftools__profiles__location__init);
	location->id = number + 1;
	/* a return address is behind the call */
	location->address = address ? address - 1 : 0;
	mapping = mapping_of(pprof, location->address);
	location->mapping_id = mapping ? mapping->id : 0;
	add_lines(pprof, location, address);
	EXPORT_PUSH(profile->location, profile->n_location, location);
	return number + 1;
}

/*
 * Say of each mapping what is known of its locations. Where a function is missing pprof is told
 * that functions are, so that it looks for them.
 */
static void note_symbols(const Perftools__Profiles__Profile *profile)
{
	for (size_t i = 0; i < profile->n_location; i++) {
		const Perftools__Profiles__Location *location = profile->location[i];
		Perftools__Profiles__Mapping *mapping;

		if (!location->mapping_id || !location->n_line)
			continue;
		mapping = profile->mapping[location->mapping_id - 1];
		mapping->has_functions = true;
		if (!profile->function[location->line[0]->function_id - 1]->filename)
			continue;
		mapping->has_filenames = mapping->has_line_numbers = mapping->has_inline_frames =
			true;
	}
	for (size_t i = 0; i < profile->n_location; i++)
		if (profile->location[i]->mapping_id && !profile->location[i]->n_line)
			profile->mapping[profile->location[i]->mapping_id - 1]->has_functions =
				false;
}

static void add_sample(struct pprof *pprof, const struct export *export, const struct site *site)
{
	const struct tally *sum = &site->sum;
	const double values[] = { sum->allocs, sum->alloc, sum->live_objects, sum->live_bytes };
	Perftools__Profiles__Profile *profile = pprof->profile;
	Perftools__Profiles__Sample *sample =
		EXPORT_NEW(Perftools__Profiles__Sample, perftools__profiles__sample__init);
	Perftools__Profiles__Label *label =
		EXPORT_NEW(Perftools__Profiles__Label, perftools__profiles__label__init);
	const uint64_t *addresses;
	size_t count = export_stack(export, site, &addresses);

	for (size_t i = 0; i < count; i++)
		EXPORT_PUSH(sample->location_id, sample->n_location_id,
			    location_id(pprof, addresses[i]));
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
		EXPORT_PUSH(sample->value, sample->n_value, export_round(values[i]));
	label->key = string_number(pprof, "kind");
	label->str = string_number(pprof, event_name(site->type));
	EXPORT_PUSH(sample->label, sample->n_label, label);
	EXPORT_PUSH(profile->sample, profile->n_sample, sample);
}

static void add_head(struct pprof *pprof, const struct export *export)
{
	static const char *const types[][2] = { { "alloc_objects", "count" },
						{ "alloc_space", "bytes" },
						{ "inuse_objects", "count" },
						{ "inuse_space", "bytes" } };
	Perftools__Profiles__Profile *profile = pprof->profile;
	int64_t mean = export_mean(export);
	char text[128];

	string_number(pprof, "");
	profile->period = mean ? mean : 1;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		EXPORT_PUSH(profile->sample_type, profile->n_sample_type,
			    new_value_type(pprof, types[i][0], types[i][1]));
	profile->default_sample_type = string_number(pprof, "inuse_space");
	profile->period_type = new_value_type(pprof, "space", "bytes");
	profile->time_nanos = export_time(export) * 1000000000;
	profile->duration_nanos = (int64_t) export->view.model.end_ns;
	EXPORT_PUSH(profile->comment, profile->n_comment,
		    string_number(pprof, export_command(export)));
	if (recording_lost(export->view.reader)) {
		snprintf(text, sizeof(text), "%lu events were lost while recording",
			 recording_lost(export->view.reader));
		EXPORT_PUSH(profile->comment, profile->n_comment, string_number(pprof, text));
	}
}

/* The strings come last: until then there may be new ones. */
static void add_strings(struct pprof *pprof)
{
	Perftools__Profiles__Profile *profile = pprof->profile;

	for (size_t i = 0; i < texts_count(pprof->strings); i++)
		EXPORT_PUSH(profile->string_table, profile->n_string_table,
			    xstrdup(texts_get(pprof->strings, i)));
}

static void write_gzipped(FILE *out, const void *data, size_t size)
{
	z_stream stream = { .next_in = (void *)(uintptr_t)data };
	unsigned char packed[65536];
	int status = Z_OK;

	/* 16: gzip's header and trailer */
	if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		give_up("no memory");
	while (status != Z_STREAM_END) {
		uInt piece = size < 1U << 30 ? (uInt)size : 1U << 30;

		if (!stream.avail_in) {
			stream.avail_in = piece;
			size -= piece;
		}
		stream.next_out = packed;
		stream.avail_out = sizeof(packed);
		status = deflate(&stream, size ? Z_NO_FLUSH : Z_FINISH);
		fwrite(packed, 1, sizeof(packed) - stream.avail_out, out);
	}
	deflateEnd(&stream);
}

bool export_pprof(struct export *export)
{
	struct pprof pprof = {
		.profile = EXPORT_NEW(Perftools__Profiles__Profile,
				      perftools__profiles__profile__init),
		.symbols = export->view.symbols,
		.strings = texts_new(),
		.locations = texts_new(),
		.functions = texts_new(),
	};
	void *data;
	size_t size;

	add_head(&pprof, export);
	add_mappings(&pprof);
	for (size_t i = 0; i < export->nr_sites; i++)
		add_sample(&pprof, export, export->site[i]);
	note_symbols(pprof.profile);
	add_strings(&pprof);
	size = perftools__profiles__profile__get_packed_size(pprof.profile);
	data = xmalloc(size);
	perftools__profiles__profile__pack(pprof.profile, data);
	write_gzipped(export->out, data, size);
	free(data);
	perftools__profiles__profile__free_unpacked(pprof.profile, NULL);
	texts_free(pprof.strings);
	texts_free(pprof.locations);
	texts_free(pprof.functions);
	return true;
}
