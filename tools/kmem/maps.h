/* SPDX-License-Identifier: MIT */
/* maps.h - the mappings of a process: /proc/PID/maps, line by line, and the files behind them. */
#ifndef KMEM_MAPS_H
#define KMEM_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the system puts behind the path of a file that is gone. */
#define MAPS_DELETED " (deleted)"

/* A line. What points into it has no 0 at its end. */
struct map {
	uint64_t start, end, offset;
	const char *line;
	size_t length;	    /* without its end of line */
	const char *perms;  /* "rwxp", and goes on with the offset */
	const char *file;   /* device, inode, path */
	size_t file_length; /* without MAPS_DELETED */
	const char *path;   /* or "[stack]" and its like, or nothing: to the end of the line */
	size_t path_length;
	bool is_deleted; /* MAPS_DELETED is at the end */
};

/*
 * The text of /proc/PID/maps, to be freed. named: only the lines that have a path or another name. NULL, and errno: there is no such
 * process, or it can't be read.
 */
char *maps_read(pid_t pid, bool named);
/* The line at *at, which goes on behind it; what is no such line is passed over. False: there are no more. */
bool maps_next(const char **at, struct map *map);
/* Its path, cut to the buffer. Returns that. */
char *maps_path(const struct map *map, char *buf, size_t size);
/*
 * The file that is mapped, to read: also if it is gone, where the system lets us, and in a container. A regular file, and no other, as to
 * open one may do something, or take for ever. -1, and errno: it can't be had.
 */
int maps_open_file(pid_t pid, const struct map *map);

#endif
