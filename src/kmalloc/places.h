/* SPDX-License-Identifier: MIT */
/* places.h - where the library keeps what it knows of itself. */
#ifndef KMALLOC_PLACES_H
#define KMALLOC_PLACES_H

struct trace_places;

/* [start] The rooms are there: note where. Lives as long as the process. */
const struct trace_places *places(void);

#endif
