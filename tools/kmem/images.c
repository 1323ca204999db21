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

#include "say.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DELETED " (deleted)"
#define IMAGES_MAX 256
#define COPY_MAX (256UL << 20) /* of a file that is had from memory */
#define BUFFER (256UL << 10)

struct line {
	uint64_t start, end, offset;
	char perms[8];
	char name[4096];
};

static struct image {
	char *name;
	int fd; /* -1: it could not be had */
} image[IMAGES_MAX];
static size_t nr_images;

/* The line at *maps, which goes on to the next. False: the end. */
static bool next_line(const char **maps, struct line *line)
{
	char text[sizeof(line->name) + 128];
	size_t length = strcspn(*maps, "\n");

	if (!**maps)
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)(length < sizeof(text) ? length : 0), *maps);
	*maps += length + ((*maps)[length] == '\n');
	line->name[0] = 0;
	if (sscanf(text, "%lx-%lx %7s %lx %*s %*s %4095[^\n]", &line->start, &line->end,
		   line->perms, &line->offset, line->name) < 4)
		line->name[0] = 0;
	return true;
}

static bool is_deleted(const char *name)
{
	size_t length = strlen(name), tail = strlen(DELETED);

	return *name == '/' && length > tail && !strcmp(name + length - tail, DELETED);
}

static const struct image *find(const char *name)
{
	for (size_t i = 0; i < nr_images; i++)
		if (!strcmp(image[i].name, name))
			return &image[i];
	return NULL;
}

/* A regular file, and no other. */
static int open_file(const char *path)
{
	struct stat stat;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0 && (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int open_mapped(pid_t pid, const struct line *line)
{
	char path[128], program[sizeof(line->name)];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", pid, line->start, line->end);
	fd = open_file(path);
	if (fd >= 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, program, sizeof(program) - 1);
	program[n > 0 ? n : 0] = 0;
	return strcmp(program, line->name) ? -1 : open_file(path);
}

static void copy_part(int from, int to, const struct line *line, uint64_t *left)
{
	static uint8_t buffer[BUFFER];
	uint64_t offset = line->offset;

	for (uint64_t at = line->start; at < line->end && *left;) {
		size_t size = line->end - at < BUFFER ? line->end - at : BUFFER;
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
static int copy_from_memory(pid_t pid, const char *maps, const char *name)
{
	int fd = memfd_create("kmem", MFD_CLOEXEC), mem;
	uint64_t left = COPY_MAX;
	struct line line;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && mem >= 0 && next_line(&maps, &line))
		if (line.perms[0] == 'r' && line.offset < COPY_MAX && !strcmp(line.name, name))
			copy_part(mem, fd, &line, &left);
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
	const char *at = maps;
	struct line line;

	while (at && nr_images < IMAGES_MAX && next_line(&at, &line)) {
		int fd;

		if (line.perms[2] != 'x' || !is_deleted(line.name) || find(line.name))
			continue;
		fd = open_mapped(pid, &line);
		if (fd < 0)
			fd = copy_from_memory(pid, maps, line.name);
		image[nr_images++] = (struct image){ xstrdup(line.name), fd };
	}
}

int images_open(const char *name)
{
	const struct image *kept = find(name);

	return kept && kept->fd >= 0 ? fcntl(kept->fd, F_DUPFD_CLOEXEC, 0) : -1;
}
