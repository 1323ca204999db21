/* SPDX-License-Identifier: MIT */
/* recording_modules_internal.h - the modules of a recording and the looks that saw them: found by recording_looks.c, for recording_modules.c. */
#ifndef KMEM_RECORDING_MODULES_INTERNAL_H
#define KMEM_RECORDING_MODULES_INTERNAL_H

#include "maps.h"
#include "recording_format.h"
#include "recording_modules.h"

#define MODULES_MAX 32768U
#define BUCKETS 4096U
#define NOBODY UINT32_MAX /* in place of a module's number */

struct mapped {
	uint64_t start, end; /* of all its lines */
	uint64_t base;	     /* where the file's first byte is */
	char *name;	     /* device, inode, path */
	char *lines;	     /* as in the maps */
	uint32_t layer;
	uint32_t next;	  /* with the same hash, + 1 */
	uint32_t last;	  /* the look that saw it last */
	bool is_replaced; /* its file has its name no longer */
};

struct look {
	uint64_t when;
	uint32_t first, nr; /* of `held` */
	uint32_t crc;	    /* of its text */
	size_t size;
	bool is_uncertain;
};

/* Addresses where it matters when that is. */
struct cluster {
	uint64_t start, end;
	bool is_shared; /* by several modules */
};

struct modules {
	struct mapped *module; /* by their start, once all are known */
	size_t nr, room, text_bytes;
	uint32_t bucket[BUCKETS]; /* + 1 */
	uint32_t *held;		  /* numbers of modules, in each look by their start */
	size_t nr_held, held_room;
	struct look *look; /* in the order of the file */
	size_t nr_looks, look_room;
	uint32_t *image; /* the first look of each */
	size_t nr_images, image_room;
	struct cluster *cluster; /* by their start */
	size_t nr_clusters;
	bool is_doubtful; /* something was not seen, or left out */
	char *text;
};

/* maps_next() of lines that are of user space. */
bool modules_next_line(const char **at, struct map *line);
/* All looks of a file, and the modules in them, in the order in which they are met. */
void modules_read_looks(struct modules *modules, int fd);

#endif
