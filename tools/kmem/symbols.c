/* SPDX-License-Identifier: MIT */
/*
 * symbols.c - addresses to names, by elfutils' libdwfl.
 *
 * A return address is behind the call: its line, and the functions inlined there, are those of the byte before. Lookups are
 * kept, as a recording has few sites and many events.
 *
 * C++ names are demangled by the C++ runtime, which is looked for when the first such name comes: where there is none, no
 * program here has needed it, and names stay as they are.
 */
#include "symbols.h"

#include "hash.h"
#include "images.h"
#include "maps.h"
#include "recording.h"
#include "say.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	uint64_t address; /* 0: empty */
	size_t nr_frames;
	struct frame *frame;
};

struct symbols {
	Dwfl *dwfl; /* NULL: nothing is known */
	char *maps;
	struct entry *entry;
	size_t count, room;
	bool mangled; /* names stay so */
	char **name;  /* that were made here */
	size_t nr_names;
};

/* libdwfl's own for processes, and before it what is kept of a file that is gone. */
static int find_elf(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
		    char **file, Elf **elf)
{
	int fd = images_open(name);

	if (fd < 0)
		return dwfl_linux_proc_find_elf(module, data, name, base, file, elf);
	*file = xstrdup(name);
	return fd;
}

struct symbols *symbols_open(const char *maps)
{
	static char *debuginfo_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.debuginfo_path = &debuginfo_path,
	};
	struct symbols *symbols = xcalloc(1, sizeof(*symbols));
	FILE *file;

	symbols->maps = xstrdup(maps ? maps : "");
	if (!maps || !*maps)
		return symbols;
	/* names come from files on this machine, not from servers */
	unsetenv("DEBUGINFOD_URLS");
	symbols->dwfl = dwfl_begin(&callbacks);
	file = fmemopen((void *)(uintptr_t)maps, strlen(maps), "r");
	if (!symbols->dwfl || !file)
		give_up("no memory");
	dwfl_report_begin(symbols->dwfl);
	if (dwfl_linux_proc_maps_report(symbols->dwfl, file) != 0)
		say("the recording's maps can't be read: addresses have no names");
	dwfl_report_end(symbols->dwfl, NULL, NULL);
	fclose(file);
	return symbols;
}

void symbols_close(struct symbols *symbols)
{
	for (size_t i = 0; i < symbols->room; i++)
		free(symbols->entry[i].frame);
	free(symbols->entry);
	for (size_t i = 0; i < symbols->nr_names; i++)
		free(symbols->name[i]);
	free(symbols->name);
	free(symbols->maps);
	if (symbols->dwfl)
		dwfl_end(symbols->dwfl);
	free(symbols);
}

void symbols_keep_mangled(struct symbols *symbols)
{
	symbols->mangled = true;
}

/* abi::__cxa_demangle(), or NULL. */
typedef char *demangle_function(const char *name, char *buf, size_t *size, int *status);

static demangle_function *demangler(void)
{
	static demangle_function *function;
	static bool looked;
	void *runtime;

	if (looked)
		return function;
	looked = true;
	runtime = dlopen("libstdc++.so.6", RTLD_LAZY);
	if (runtime)
		*(void **)&function = dlsym(runtime, "__cxa_demangle");
	return function;
}

static const char *keep_name(struct symbols *symbols, char *name)
{
	symbols->name = xrealloc(symbols->name, (symbols->nr_names + 1) * sizeof(*symbols->name));
	return symbols->name[symbols->nr_names++] = name;
}

/* A function's name as people write it. */
static const char *readable(struct symbols *symbols, const char *name)
{
	demangle_function *demangle;
	char *text;
	int status;

	if (symbols->mangled || strncmp(name, "_Z", 2) != 0)
		return name;
	demangle = demangler();
	text = demangle ? demangle(name, NULL, NULL, &status) : NULL;
	return text ? keep_name(symbols, text) : name;
}

/* Names come from files that anybody may have made. NULL stays so. */
static const char *clean_name(struct symbols *symbols, const char *name)
{
	char *clean = name ? clean_text(xstrdup(name)) : NULL;

	if (!clean || !strcmp(clean, name)) {
		free(clean);
		return name;
	}
	return keep_name(symbols, clean);
}

static void clean_frame(struct symbols *symbols, struct frame *frame)
{
	frame->function = clean_name(symbols, frame->function);
	frame->module = clean_name(symbols, frame->module);
	frame->file = clean_name(symbols, frame->file);
	frame->path = clean_name(symbols, frame->path);
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

/* Where an inlined function was called. */
static void call_place(Dwarf_Die *die, Dwarf_Die *unit, struct frame *frame)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value;
	Dwarf_Files *files;
	size_t count;

	if (dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &attribute), &value) == 0 &&
	    dwarf_getsrcfiles(unit, &files, &count) == 0 && value < count) {
		frame->path = dwarf_filesrc(files, value, NULL, NULL);
		frame->file = base_name(frame->path);
	}
	if (dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &attribute), &value) == 0)
		frame->line = (int)value;
}

/* Put the frames of functions that were inlined at the address before that of the function. Returns how many there are. */
static size_t add_inlined(Dwfl_Module *module, uint64_t at, struct frame *frames)
{
	Dwarf_Addr bias;
	Dwarf_Die *unit = dwfl_module_addrdie(module, at, &bias), *scopes = NULL;
	int nr_scopes = unit ? dwarf_getscopes(unit, at - bias, &scopes) : 0;
	struct frame place = frames[0];
	size_t count = 0;

	for (int i = 0; i < nr_scopes && count < FRAMES_MAX - 1; i++) {
		int tag = dwarf_tag(&scopes[i]);
		const char *name = dwarf_diename(&scopes[i]);

		if (tag == DW_TAG_subprogram)
			break;
		if (tag != DW_TAG_inlined_subroutine || !name)
			continue;
		frames[count] = place;
		frames[count++].function = name;
		place.file = place.path = NULL;
		place.line = 0;
		call_place(&scopes[i], unit, &place);
	}
	if (count)
		frames[count] = place;
	free(scopes);
	return count + 1;
}

static size_t look_up(struct symbols *symbols, uint64_t address, struct frame frames[FRAMES_MAX])
{
	uint64_t at = address - 1;
	Dwfl_Module *module = symbols->dwfl ? dwfl_addrmodule(symbols->dwfl, at) : NULL;
	struct frame *frame = &frames[0];
	const char *path = NULL;
	const char *name;
	Dwarf_Addr start;
	Dwfl_Line *line;
	GElf_Off offset = 0;
	GElf_Sym symbol;

	*frame = (struct frame){ .offset = recording_address(address) };
	if (!module)
		return 1;
	name = dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, &path, NULL);
	frame->module = base_name(path ? path : name);
	frame->offset = address - start;
	name = dwfl_module_addrinfo(module, at, &offset, &symbol, NULL, NULL, NULL);
	if (name) {
		frame->function = readable(symbols, name);
		frame->offset = offset + 1;
	}
	line = dwfl_module_getsrc(module, at);
	if (line) {
		frame->path = dwfl_lineinfo(line, NULL, &frame->line, NULL, NULL, NULL);
		frame->file = base_name(frame->path);
	}
	return add_inlined(module, at, frames);
}

static struct entry *slot_of(struct symbols *symbols, uint64_t address)
{
	size_t at = (hash_of(address) >> 32) & (symbols->room - 1);

	while (symbols->entry[at].address && symbols->entry[at].address != address)
		at = (at + 1) & (symbols->room - 1);
	return &symbols->entry[at];
}

static void grow(struct symbols *symbols)
{
	struct entry *old = symbols->entry;
	size_t room = symbols->room;

	symbols->room = room ? room * 2 : 256;
	symbols->entry = xcalloc(symbols->room, sizeof(*symbols->entry));
	for (size_t i = 0; i < room; i++)
		if (old[i].address)
			*slot_of(symbols, old[i].address) = old[i];
	free(old);
}

size_t symbols_frames(struct symbols *symbols, uint64_t address, struct frame frames[FRAMES_MAX])
{
	struct entry *entry;

	if (!address) {
		frames[0] = (struct frame){ 0 };
		return 1;
	}
	if (symbols->count * 2 >= symbols->room)
		grow(symbols);
	entry = slot_of(symbols, address);
	if (!entry->address) {
		entry->address = address;
		entry->nr_frames = look_up(symbols, address, frames);
		for (size_t i = 0; i < entry->nr_frames; i++)
			clean_frame(symbols, &frames[i]);
		entry->frame = xmalloc(entry->nr_frames * sizeof(*frames));
		memcpy(entry->frame, frames, entry->nr_frames * sizeof(*frames));
		symbols->count++;
	}
	memcpy(frames, entry->frame, entry->nr_frames * sizeof(*frames));
	return entry->nr_frames;
}

const char *symbols_text(struct symbols *symbols, uint64_t address, char *buf, size_t size)
{
	struct frame frames[FRAMES_MAX];
	const struct frame *frame = &frames[symbols_frames(symbols, address, frames) - 1];

	if (frame->function)
		snprintf(buf, size, "%s+0x%lx [%s]", frame->function, frame->offset,
			 frame->module ? frame->module : "?");
	else if (frame->module)
		snprintf(buf, size, "%s+0x%lx", frame->module, frame->offset);
	else
		snprintf(buf, size, "0x%lx", recording_address(address));
	return buf;
}

static void find_build_id(struct symbols *symbols, struct module *module)
{
	Dwfl_Module *found = symbols->dwfl ? dwfl_addrmodule(symbols->dwfl, module->start) : NULL;
	const unsigned char *bytes;
	GElf_Addr bias, vaddr;
	int count;

	module->build_id[0] = 0;
	/* it is known once the file has been looked into */
	if (!found || !dwfl_module_getelf(found, &bias))
		return;
	count = dwfl_module_build_id(found, &bytes, &vaddr);
	for (int i = 0; i < count && i < (int)sizeof(module->build_id) / 2 - 1; i++)
		snprintf(module->build_id + i * 2, 3, "%02x", bytes[i]);
}

bool symbols_next_module(struct symbols *symbols, size_t *at, struct module *module)
{
	const char *line = symbols->maps + *at;
	struct map map;

	while (maps_next(&line, &map)) {
		*at = (size_t)(line - symbols->maps);
		if (map.perms[2] != 'x')
			continue;
		module->start = map.start;
		module->end = map.end;
		module->offset = map.offset;
		if (map.is_deleted)
			map.path_length -= sizeof(MAPS_DELETED) - 1;
		clean_text(maps_path(&map, module->path, sizeof(module->path)));
		find_build_id(symbols, module);
		return true;
	}
	return false;
}
