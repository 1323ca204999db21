/* SPDX-License-Identifier: MIT */
/* texts.h - texts, each of them once, with numbers from 0 in the order in which they came. */
#ifndef KMEM_TEXTS_H
#define KMEM_TEXTS_H

#include <stddef.h>

struct texts;

struct texts *texts_new(void);
void texts_free(struct texts *texts);
/* The text's number; one that is new is added, as valid UTF-8. */
size_t texts_number(struct texts *texts, const char *text);
size_t texts_count(const struct texts *texts);
const char *texts_get(const struct texts *texts, size_t number);

/*
 * A copy in which what is no UTF-8 is U+FFFD: names in files may be any bytes, formats of others
 * may not.
 */
char *utf8_copy(const char *text);

#endif
