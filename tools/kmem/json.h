/* SPDX-License-Identifier: MIT */
/* json.h - what the commands print with --json has in common. Numbers are whole: estimates are rounded. */
#ifndef KMEM_JSON_H
#define KMEM_JSON_H

#include "view.h"

#include <json-c/json.h>

void json_add(struct json_object *object, const char *name, double value);
void json_add_text(struct json_object *object, const char *name, const char *text);
/* null where they tell nothing. */
void json_add_unknown_frees(struct json_object *object, const struct model *model);
struct json_object *json_tally(const struct tally *sum);
/* A list of the functions at a call site, the innermost first. */
struct json_object *json_frames(struct view *view, uint64_t address);
/* Print it to standard output, and free it. */
void json_print(struct json_object *root);

#endif
