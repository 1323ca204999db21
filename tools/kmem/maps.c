/* SPDX-License-Identifier: MIT */
/*
 * maps.c - /proc/PID/maps, see proc(5).
 *
 * The texts may be of a recording, and damaged: nothing is read behind a line's end, and numbers may be any.
 */
#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMED_MAX (32UL << 20) /* bytes: more is nobody's program */

char *maps_read(pid_t pid, bool named)
{
	char path[64], line[PATH_MAX + 256], *text = NULL;
	size_t size;
	FILE *file, *memory;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	if (!file)
		return NULL;
	memory = open_memstream(&text, &size);
	while (memory && fgets(line, sizeof(line), file) &&
	       (!named || ftell(memory) < (long)NAMED_MAX))
		if (!named || strchr(line, '/') || strchr(line, '['))
			fputs(line, memory);
	fclose(file);
	if (memory && fclose(memory) == 0)
		return text;
	free(text);
	errno = ENOMEM;
	return NULL;
}

/* start-end perms offset device inode path */
static bool parse(const char *end, struct map *map)
{
	const size_t tail = sizeof(MAPS_DELETED) - 1;
	char *next;

	map->start = strtoull(map->line, &next, 16);
	if (*next != '-')
		return false;
	map->end = strtoull(next + 1, &next, 16);
	if (*next != ' ' || end - next < 6)
		return false;
	map->perms = next + 1;
	map->offset = strtoull(map->perms + 4, &next, 16);
	if (next >= end)
		return false;
	map->file = map->path = next;
	for (int i = 0; i < 2; i++) {
		map->path += strspn(map->path, " ");
		map->path += strcspn(map->path, " \n");
	}
	map->path += strspn(map->path, " ");
	map->path_length = (size_t)(end - map->path);
	map->is_deleted = map->path_length > tail && !memcmp(end - tail, MAPS_DELETED, tail);
	map->file_length = (size_t)(end - map->file) - (map->is_deleted ? tail : 0);
	return true;
}

bool maps_next(const char **at, struct map *map)
{
	while (**at) {
		const char *end = strchrnul(*at, '\n');

		map->line = *at;
		map->length = (size_t)(end - *at);
		*at = *end ? end + 1 : end;
		if (parse(end, map))
			return true;
	}
	return false;
}

char *maps_path(const struct map *map, char *buf, size_t size)
{
	snprintf(buf, size, "%.*s", (int)map->path_length, map->path);
	return buf;
}

static int open_regular(const char *name)
{
	struct stat stat;
	char self[64];
	int path = open(name, O_PATH | O_CLOEXEC), fd = -1;

	if (path < 0)
		return -1;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	if (fstat(path, &stat) == 0 && S_ISREG(stat.st_mode))
		fd = open(self, O_RDONLY | O_CLOEXEC);
	else
		errno = ENOENT;
	close(path);
	return fd;
}

int maps_open_file(pid_t pid, const struct map *map)
{
	char name[PATH_MAX + 64], program[PATH_MAX];
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/map_files/%lx-%lx", pid, map->start, map->end);
	fd = open_regular(name);
	if (fd >= 0)
		return fd;
	/* the program itself, gone or not */
	snprintf(name, sizeof(name), "/proc/%d/exe", pid);
	n = readlink(name, program, sizeof(program));
	if (n > 0 && (size_t)n == map->path_length && !memcmp(program, map->path, (size_t)n))
		return open_regular(name);
	if (map->is_deleted) {
		errno = ENOENT;
		return -1;
	}
	snprintf(name, sizeof(name), "/proc/%d/root%.*s", pid, (int)map->path_length, map->path);
	return open_regular(name);
}
