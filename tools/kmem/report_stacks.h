/* SPDX-License-Identifier: MIT */
/* report_stacks.h - `kmem report --stacks`: where memory went, by whole call stacks. */
#ifndef KMEM_REPORT_STACKS_H
#define KMEM_REPORT_STACKS_H

#include "view.h"

#include <json-c/json.h>

enum stacks_form { STACKS_NONE, STACKS_LIST, STACKS_TREE };

/* What sites are sorted by. */
typedef double site_key(const struct site *site);

/* Each stack with its calls, innermost first. */
void report_stacks_list(struct view *view, struct site *const *sites, size_t count);
/*
 * The stacks laid over each other from the outermost call on; branches with less than `least` of the whole are summed
 * up. bytes: the key is one of bytes.
 */
void report_stacks_tree(struct view *view, struct site *const *sites, size_t count, site_key *key,
			bool bytes, double least);
/* The calls of a site's stack, outermost first. */
struct json_object *report_stacks_json(struct view *view, const struct site *site);

#endif
