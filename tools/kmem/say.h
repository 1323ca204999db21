/* SPDX-License-Identifier: MIT */
/* say.h - what is said to the user. */
#ifndef KMEM_SAY_H
#define KMEM_SAY_H

/* One line on standard error, "kmem: " + text. Returns -1, so that a failure ends with it. */
int say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and the program ends with status 1. */
_Noreturn void give_up(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* errno of standard output, where it could not take what was to be there before a line; 0: it could. */
int say_output_error(void);
/* malloc and its like that say so and end the program where there is no memory. */
void *xmalloc(unsigned long size);
void *xcalloc(unsigned long count, unsigned long size);
void *xrealloc(void *memory, unsigned long size);
/* An array of so many elements of a size, with room for *room: with room for one more. */
void *xgrow(void *array, unsigned long *room, unsigned long count, unsigned long size);
char *xstrdup(const char *text);
/* What others wrote, before it goes to a terminal: control characters become '?'. UTF-8 stays. Returns the text. */
char *clean_text(char *text);

#endif
