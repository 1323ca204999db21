/* SPDX-License-Identifier: MIT */
/*
 * images.c - the code that a live process has mapped of files that are gone.
 *
 * A service whose library was updated still runs the old one, which has no name any more. Its file is had
 *
 * 1. from /proc/PID/map_files, whole, with its symbol table; the system lets those do so who may checkpoint a process;
 * 2. from /proc/PID/exe, if it is the program itself;
 * 3. from the process' memory: what is mapped of the file, at its place there. There are no sections in that, but the dynamic symbols,
 *    the build-id (which leads to debug information), and the unwind tables.
 *
 * It is done while the process lives, so that names can be looked up after its end.
 */
#include "images.h"

#include "maps.h"
#include "say.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGES_MAX 256
#define COPY_MAX (256UL << 20) /* of a file that is had from memory */
#define BUFFER (256UL << 10)

static struct image {
	char *name;
	int fd; /* -1: it could not be had */
} image[IMAGES_MAX];
static size_t nr_images;

static const struct image *find(const char *name)
{
	for (size_t i = 0; i < nr_images; i++)
		if (!strcmp(image[i].name, name))
			return &image[i];
	return NULL;
}

static void copy_part(int from, int to, const struct map *map, uint64_t *left)
{
	static uint8_t buffer[BUFFER];
	uint64_t offset = map->offset;

	for (uint64_t at = map->start; at < map->end && *left;) {
		size_t size = map->end - at < BUFFER ? map->end - at : BUFFER;
		ssize_t n = pread(from, buffer, size, (off_t)at);

		if (n <= 0 || (uint64_t)n > *left ||
		    pwrite(to, buffer, (size_t)n, (off_t)offset) != n)
			return;
		at += (uint64_t)n;
		offset += (uint64_t)n;
		*left -= (uint64_t)n;
	}
}

/* Sections are not mapped: the header must not tell of any. */
static bool forget_sections(int fd)
{
	Elf64_Ehdr header;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
		return false;
	header.e_shoff = 0;
	header.e_shnum = header.e_shstrndx = 0;
	return pwrite(fd, &header, sizeof(header), 0) == sizeof(header);
}

/* -1: it is no ELF file, or can't be read. */
static int copy_from_memory(pid_t pid, const char *maps, const struct map *of)
{
	int fd = memfd_create("kmem", MFD_CLOEXEC), mem;
	uint64_t left = COPY_MAX;
	struct map map;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && mem >= 0 && maps_next(&maps, &map))
		if (map.perms[0] == 'r' && map.offset < COPY_MAX &&
		    map.path_length == of->path_length &&
		    !memcmp(map.path, of->path, of->path_length))
			copy_part(mem, fd, &map, &left);
	if (mem >= 0)
		close(mem);
	if (fd >= 0 && !forget_sections(fd)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void images_keep(pid_t pid, const char *maps)
{
	char name[PATH_MAX + sizeof(MAPS_DELETED)];
	const char *at = maps;
	struct map map;

	while (at && nr_images < IMAGES_MAX && maps_next(&at, &map)) {
		int fd;

		if (map.perms[2] != 'x' || *map.path != '/' || !map.is_deleted ||
		    find(maps_path(&map, name, sizeof(name))))
			continue;
		fd = maps_open_file(pid, &map);
		if (fd < 0)
			fd = copy_from_memory(pid, maps, &map);
		image[nr_images++] = (struct image){ xstrdup(name), fd };
	}
}

int images_open(const char *name)
{
	const struct image *kept = find(name);

	return kept && kept->fd >= 0 ? fcntl(kept->fd, F_DUPFD_CLOEXEC, 0) : -1;
}
