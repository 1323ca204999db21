/* SPDX-License-Identifier: MIT */
/*
 * library.c - the file in which the library is that a process runs: its path, code, and build-id.
 *
 * The build-id is read from the process' memory, where the file's first page is mapped: so it is that of what runs, even if the file
 * was replaced. The program headers there lead to the note (elf(5)).
 */
#include "library.h"

#include "maps.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOTES_MAX 4096
#define PARTS_MAX 64

/* The build-id in the text of notes, in hex. */
static void take_build_id(const char *notes, size_t size, struct library *library)
{
	for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= size;) {
		Elf64_Nhdr note;
		size_t name = at + sizeof(note), data;

		memcpy(&note, notes + at, sizeof(note));
		data = name + ((note.n_namesz + 3UL) & ~3UL);
		at = data + ((note.n_descsz + 3UL) & ~3UL);
		if (at > size || at <= name)
			return;
		if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != sizeof(ELF_NOTE_GNU) ||
		    memcmp(notes + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) != 0)
			continue;
		for (size_t i = 0; i < note.n_descsz && i < BUILD_ID_MAX; i++)
			snprintf(library->build_id + 2 * i, 3, "%02x",
				 (unsigned char)notes[data + i]);
		return;
	}
}

/* `start`: where the file's first page is mapped. */
static void read_build_id(const struct target *target, uint64_t start, struct library *library)
{
	Elf64_Ehdr header;
	char notes[NOTES_MAX];

	if (target_read(target, start, &header, sizeof(header)) != 0 ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_phentsize != sizeof(Elf64_Phdr))
		return;
	for (unsigned i = 0; i < header.e_phnum && i < PARTS_MAX && !library->build_id[0]; i++) {
		Elf64_Phdr part;
		uint64_t bias = header.e_type == ET_DYN ? start : 0;

		if (target_read(target, start + header.e_phoff + i * sizeof(part), &part,
				sizeof(part)) != 0 ||
		    part.p_type != PT_NOTE || part.p_memsz > sizeof(notes) ||
		    target_read(target, bias + part.p_vaddr, notes, part.p_memsz) != 0)
			continue;
		take_build_id(notes, part.p_memsz, library);
	}
}

/* The path of the mapping that has the control block, or, where that is not of a file, of the one before it. */
static void find_path(const struct target *target, const char *maps, struct library *library)
{
	struct map map;

	while (maps_next(&maps, &map)) {
		if (map.start > target->control)
			return;
		if (*map.path == '/')
			maps_path(&map, library->path, sizeof(library->path));
		if (target->control < map.end)
			return;
	}
}

static void find_parts(const struct target *target, const char *maps, struct library *library)
{
	size_t length = strlen(library->path);
	struct map map;

	while (maps_next(&maps, &map)) {
		if (map.path_length != length || memcmp(map.path, library->path, length) != 0)
			continue;
		if (map.offset == 0 && !library->build_id[0])
			read_build_id(target, map.start, library);
		if (map.perms[2] != 'x')
			continue;
		if (!library->text)
			library->text = map.start;
		library->text_end = map.end;
	}
}

bool library_find(const struct target *target, struct library *library)
{
	char name[64], program[4096] = "", *maps = maps_read(target->pid, false);

	*library = (struct library){ 0 };
	if (!maps)
		return false;
	find_path(target, maps, library);
	if (library->path[0])
		find_parts(target, maps, library);
	free(maps);
	snprintf(name, sizeof(name), "/proc/%d/exe", target->pid);
	if (readlink(name, program, sizeof(program) - 1) < 0)
		program[0] = 0;
	library->shared = library->path[0] && strcmp(program, library->path) != 0;
	return library->path[0] != 0;
}
