/* SPDX-License-Identifier: MIT */
/*
 * step.h - what the two programs share that interrupt the library at each of its
 * instructions: the restartable sequences as the binary has them, and stamped objects.
 *
 * The sequences come from the descriptors in the binary (__rseq_cs, named one by one in
 * __rseq_cs_ptr_array), the instructions from objdump: a new sequence is found by itself.
 *
 * Objects are stamped over their whole length with a token of their own as soon as they
 * are handed out: if two get the same memory, one of the stamps is wrong. The table of
 * what is live is no memory of the allocator's. It is changed outside of the library's
 * code only, so a handler that interrupted the library finds it whole.
 */
#ifndef TORTURE_STEP_H
#define TORTURE_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STEP_SKIP 77
#define STEP_SECTIONS_MAX 256
#define STEP_POINTS_MAX 40
#define STEP_MISSES_MAX 8

/* A restartable sequence; addresses are those of the file, without the load base. */
struct step_section {
	uint64_t entry; /* where it begins over: its descriptor is set from here on */
	uint64_t start; /* first instruction that aborts */
	uint64_t post;	/* the instruction after the commit */
	uint64_t abort; /* the abort handler */
	/* abort, then every instruction from entry to post, both included */
	unsigned nr_points;
	uint64_t point[STEP_POINTS_MAX];
	unsigned nr_misses;
	uint64_t miss[STEP_MISSES_MAX]; /* where jumps out of it lead */
	bool is_event;			/* it reads the time: it writes an event */
	char name[96];			/* function + offset */
};

/* The sections of an ELF file, in its order. Ends the program when they can't be had. */
unsigned step_sections(const char *path, struct step_section *sections, unsigned max);

/* The last instruction of a section: its one store. */
static inline uint64_t step_commit(const struct step_section *section)
{
	return section->point[section->nr_points - 2];
}

/* Does an interrupt before this instruction abort the section? */
static inline bool step_aborts(const struct step_section *section, uint64_t point)
{
	return point >= section->start && point < section->post;
}

/* One line on stderr, then the end; step_repeat, when set, says how to get here again. */
extern char step_repeat[512];
__attribute__((format(printf, 1, 2), noreturn)) void step_fail(const char *format, ...);
/* One line on a descriptor; safe in a handler, allocates nothing. */
__attribute__((format(printf, 2, 3))) void step_say(int fd, const char *format, ...);

struct step_object {
	unsigned char *ptr;
	size_t size;
	uint64_t token;
};

/* The live objects of this process. */
void step_hold(void *ptr, size_t size); /* stamp it and enter it */
/* Check its stamp and take it out: the one at that address, the first or the last in the table. */
struct step_object step_take(const void *ptr);
struct step_object step_first(void);
struct step_object step_last(void);
/* It is at ptr now, of another size: the stamp has to have come along. Enter it again. */
void step_moved(const struct step_object *old, void *ptr, size_t size);
unsigned step_held(void);   /* how many there are */
void step_check_held(void); /* all stamps are right */
void step_check_zero(const void *ptr, size_t size);

uint64_t step_random(uint64_t *state);
uint64_t step_now_ms(void);

#endif
