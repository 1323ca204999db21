/* SPDX-License-Identifier: MIT */
/*
 * symbols.h - names of addresses in a process of which only /proc/PID/maps is left: from its files, by their build-ids, and
 * their debug information, with what the compiler inlined.
 */
#ifndef KMEM_SYMBOLS_H
#define KMEM_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbols;

/* maps: the text of /proc/PID/maps. Never NULL; with files that are gone addresses have no names. */
struct symbols *symbols_open(const char *maps);
void symbols_close(struct symbols *symbols);
/* Before the first look: C++ names stay as the linker has them. */
void symbols_keep_mangled(struct symbols *symbols);

struct frame {
	const char *
		function; /* of C++ as it is written there, see symbols_keep_mangled(); NULL: not known */
	const char *module; /* file name without its folder; NULL: in no file */
	const char *file;   /* source; NULL: no debug information */
	const char *path;   /* the same with its folders */
	int line;
	uint64_t offset; /* from the function's start, or, without one, from the module's */
};

#define FRAMES_MAX 16

/*
 * The functions that a return address is in: more than one where calls were inlined, the innermost first. At
 * least one. Strings live as long as `symbols`.
 */
size_t symbols_frames(struct symbols *symbols, uint64_t address, struct frame frames[FRAMES_MAX]);

/* Code of a file that was mapped. */
struct module {
	uint64_t start, end; /* addresses, the latter behind it */
	uint64_t offset;     /* in the file */
	char path[4096];     /* or "[vdso]"; "": of no file */
	char build_id[64];   /* hexadecimal; "": not known */
};

/* The mappings with code, one after the other, from low addresses to high ones: *at is 0 first. False: no more. */
bool symbols_next_module(struct symbols *symbols, size_t *at, struct module *module);

/* "function+0x12 [module]", the function being the one that others were inlined into; or the address. In buf, which is returned. */
const char *symbols_text(struct symbols *symbols, uint64_t address, char *buf, size_t size);

#endif
