/* SPDX-License-Identifier: MIT */
/* script_text.h - what a line of `kmem script` says of an event beside when and where it was, and its address. */
#ifndef KMEM_SCRIPT_TEXT_H
#define KMEM_SCRIPT_TEXT_H

#include "view.h"

#define SCRIPT_TEXT_BYTES 2048U

struct script_text {
	/* of what it is */
	uint64_t site, req;
	uint32_t gfp;
	uint16_t cache_id;
	uint8_t type;
	bool wanted; /* view_wants_site() */
	struct cache_name cache;
	/* what stands before the address, and what behind it; less than SCRIPT_TEXT_BYTES each. after "": there is no address */
	char *before, *after;
	size_t before_bytes, after_bytes;
};

/* In the view's form; until the next one is asked for. */
const struct script_text *script_text(struct view *view, const struct event *event);

#endif
