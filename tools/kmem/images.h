/* SPDX-License-Identifier: MIT */
/* images.h - the code that a live process has mapped of files that are gone: deleted, or replaced by others. */
#ifndef KMEM_IMAGES_H
#define KMEM_IMAGES_H

#include <sys/types.h>

/*
 * Keep what the process has of such files, for as long as this program runs: also when the process has ended. maps: the text of its
 * /proc/PID/maps. Now and then, as libraries come and go; what is kept already costs nothing. Silent.
 */
void images_keep(pid_t pid, const char *maps);
/* One that is kept, by its name in the maps, "/path (deleted)": to read, and to be closed. -1: there is none. */
int images_open(const char *name);

#endif
