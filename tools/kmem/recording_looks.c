/* SPDX-License-Identifier: MIT */
/*
 * recording_looks.c - the looks at which modules there were, from the maps of a recording.
 *
 * A module is lines of the maps that follow each other, are of one file, and go up in it, if any of them is code. Of several looks that
 * saw it the one counts that saw most of it, as others may have come while it was being loaded. The chunks that are no maps are passed
 * over, by their headers. A text that came shortly before is not taken apart again.
 *
 * Nothing in the file is believed: looks, modules and their text have a largest number. More than that is as if it had not been seen.
 */
#include "recording_modules_internal.h"

#include "hash.h"
#include "recording.h"
#include "say.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define LOOKS_MAX (1U << 20)
#define HELD_MAX (8UL << 20)   /* modules in all looks */
#define TEXT_MAX (256UL << 20) /* bytes of all modules */

bool modules_next_line(const char **at, struct map *line)
{
	while (maps_next(at, line))
		if (line->start < line->end && line->end <= TRACE_ADDRESS_MASK &&
		    line->offset <= TRACE_ADDRESS_MASK)
			return true;
	return false;
}

static uint32_t new_module(struct modules *modules, const struct map *first, uint64_t base,
			   uint32_t *bucket)
{
	struct mapped *module;

	if (modules->nr == MODULES_MAX || modules->text_bytes > TEXT_MAX) {
		modules->is_doubtful = true;
		return NOBODY;
	}
	modules->module = xgrow(modules->module, &modules->room, modules->nr, sizeof(*module));
	module = &modules->module[modules->nr];
	*module = (struct mapped){ .base = base, .next = *bucket };
	module->name = strndup(first->file, first->file_length);
	if (!module->name)
		give_up("no memory");
	*bucket = (uint32_t)++modules->nr;
	return *bucket - 1;
}

/* The number of the module of this line, the first of its file; NOBODY: there are too many. */
static uint32_t find_module(struct modules *modules, const struct map *first)
{
	uint64_t base = first->start - first->offset;
	uint32_t *bucket = &modules->bucket[(hash_of(base) >> 32) % BUCKETS];

	for (uint32_t at = *bucket; at; at = modules->module[at - 1].next) {
		const struct mapped *module = &modules->module[at - 1];

		if (module->base == base && strlen(module->name) == first->file_length &&
		    !memcmp(module->name, first->file, first->file_length))
			return at - 1;
	}
	return new_module(modules, first, base, bucket);
}

/* It has these lines, one behind the other, from `first` to `last`. Of several looks the one counts that saw most of it. */
static void see_module(struct modules *modules, const struct map *first, const struct map *last)
{
	uint32_t number = find_module(modules, first);
	struct mapped *module;
	size_t length = (size_t)(last->line - first->line) + last->length;

	if (number == NOBODY || modules->nr_held == HELD_MAX) {
		modules->is_doubtful = true;
		return;
	}
	module = &modules->module[number];
	if (!module->lines || last->end - first->start >= module->end - module->start) {
		module->start = first->start;
		module->end = last->end;
		if (module->lines)
			modules->text_bytes -= strlen(module->lines);
		free(module->lines);
		module->lines = strndup(first->line, length);
		if (!module->lines)
			give_up("no memory");
		modules->text_bytes += length;
	}
	modules->held =
		xgrow(modules->held, &modules->held_room, modules->nr_held, sizeof(*modules->held));
	modules->held[modules->nr_held++] = number;
}

/* Lines that follow each other are of one module if they are of one file, and go up in it. */
static bool go_together(const struct map *a, const struct map *b)
{
	return a->file_length == b->file_length && !memcmp(a->file, b->file, a->file_length) &&
	       a->end <= b->start && a->offset <= b->offset;
}

static void see_text(struct modules *modules, const char *text)
{
	struct map first = { 0 }, last = { 0 }, line;
	bool is_code = false, is_first = true;

	while (modules_next_line(&text, &line)) {
		if (!is_first && go_together(&last, &line)) {
			last = line;
			is_code |= line.perms[2] == 'x';
			continue;
		}
		if (is_code)
			see_module(modules, &first, &last);
		first = last = line;
		is_first = false;
		is_code = line.perms[2] == 'x';
	}
	if (is_code)
		see_module(modules, &first, &last);
}

/* The same text again is the same modules. */
static const struct look *find_look(const struct modules *modules, uint32_t crc, size_t size)
{
	const size_t back = modules->nr_looks < 64 ? modules->nr_looks : 64;

	for (size_t i = 1; i <= back; i++) {
		const struct look *look = &modules->look[modules->nr_looks - i];

		if (look->crc == crc && look->size == size)
			return look;
	}
	return NULL;
}

/* A chunk of maps: when, and the text. None: what came and went before the next one is not certain. */
static void add_look(struct modules *modules, const char *data, size_t size, bool *is_uncertain)
{
	uint64_t when;
	uint32_t crc =
		(uint32_t)crc32(0, (const Bytef *)data + sizeof(when), (uInt)(size - sizeof(when)));
	const struct look *same = find_look(modules, crc, size);
	struct look look = { .crc = crc, .size = size, .is_uncertain = *is_uncertain };

	memcpy(&look.when, data, sizeof(when));
	*is_uncertain = !data[sizeof(when)];
	modules->is_doubtful |= *is_uncertain;
	if (*is_uncertain)
		return;
	if (modules->nr_looks == LOOKS_MAX) {
		modules->is_doubtful = true;
		return;
	}
	look.first = same ? same->first : (uint32_t)modules->nr_held;
	if (!same)
		see_text(modules, data + sizeof(when));
	look.nr = same ? same->nr : (uint32_t)modules->nr_held - look.first;
	for (uint32_t i = 0; i < look.nr; i++)
		modules->module[modules->held[look.first + i]].last = (uint32_t)modules->nr_looks;
	/* in the order of the file, so also if the counter was set back */
	if (modules->nr_looks > modules->image[modules->nr_images - 1] &&
	    look.when < modules->look[modules->nr_looks - 1].when)
		look.when = modules->look[modules->nr_looks - 1].when;
	modules->look = xgrow(modules->look, &modules->look_room, modules->nr_looks,
			      sizeof(*modules->look));
	modules->look[modules->nr_looks++] = look;
}

static void add_image(struct modules *modules)
{
	modules->image = xgrow(modules->image, &modules->image_room, modules->nr_images,
			       sizeof(*modules->image));
	modules->image[modules->nr_images++] = (uint32_t)modules->nr_looks;
	modules->is_doubtful |= modules->nr_images > 1;
}

/* What is in a chunk, with a 0 behind it; NULL: it is damaged. */
static char *read_payload(int fd, off_t at, const struct chunk_header *header)
{
	char *packed = xmalloc(header->bytes + 1UL), *data = NULL;

	if (pread(fd, packed, header->bytes, at) == (ssize_t)header->bytes &&
	    crc32(0, (const Bytef *)packed, header->bytes) == header->crc) {
		data = xmalloc(header->unpacked + 1UL);
		data[header->unpacked] = 0;
		/* an error is a number that is no size either */
		if (ZSTD_decompress(data, header->unpacked, packed, header->bytes) !=
		    header->unpacked) {
			free(data);
			data = NULL;
		}
	}
	free(packed);
	return data;
}

void modules_read_looks(struct modules *modules, int fd)
{
	struct chunk_header header;
	off_t at = sizeof(struct file_header);
	bool is_uncertain = false;

	add_image(modules);
	while (pread(fd, &header, sizeof(header), at) == sizeof(header) &&
	       header.magic == CHUNK_MAGIC && header.header_crc == chunk_header_crc(&header) &&
	       header.bytes <= CHUNK_BYTES_MAX) {
		at += (off_t)sizeof(header);
		if (header.kind == CHUNK_IMAGE && modules->nr_images < LOOKS_MAX)
			add_image(modules);
		if (header.kind == CHUNK_MAPS && header.unpacked > sizeof(uint64_t) &&
		    header.unpacked <= CHUNK_BYTES_MAX) {
			char *data = read_payload(fd, at, &header);

			if (data)
				add_look(modules, data, header.unpacked, &is_uncertain);
			else /* a look that is not known any more */
				is_uncertain = modules->is_doubtful = true;
			free(data);
		}
		at += header.bytes;
	}
}
