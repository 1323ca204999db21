/* SPDX-License-Identifier: MIT */
/*
 * report_stacks.c - `kmem report --stacks`, as a list and as a tree.
 *
 * perf's counterpart is the call graph of perf report (-g caller). Differences: a call site's sums are bytes and objects;
 * functions that were inlined are calls of the tree like others, in parentheses.
 */
#include "report_stacks.h"

#include "say.h"
#include "stacks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
	struct stack_frame frame;
	double value;	    /* of all below */
	struct node *child; /* the first one */
	struct node *next;  /* of the same parent */
};

static const char *name_of(const struct stack_frame *call, char buf[512])
{
	const struct frame *frame = &call->frame;

	if (frame->function)
		snprintf(buf, 512, "%s%s%s", call->inlined ? "(" : "", frame->function,
			 call->inlined ? ")" : "");
	else if (frame->module)
		snprintf(buf, 512, "%s+0x%lx", frame->module, frame->offset);
	else
		snprintf(buf, 512, "0x%lx", recording_address(call->address));
	return buf;
}

static void print_place(const struct stack_frame *call, bool with_offset)
{
	const struct frame *frame = &call->frame;
	char name[512];

	fputs(name_of(call, name), stdout);
	/* calls from one line, or from one function, are told apart by that */
	if (with_offset && frame->function && !call->inlined)
		printf("+0x%lx", frame->offset);
	if (frame->file)
		printf(" %s:%d", frame->file, frame->line);
	else if (frame->function && frame->module)
		printf(" [%s]", frame->module);
	putchar('\n');
}

void report_stacks_list(struct view *view, struct site *const *sites, size_t count)
{
	struct stack_frame frames[STACKS_FRAMES_MAX];
	bool cut;

	for (size_t i = 0; i < count; i++) {
		const struct tally *sum = &sites[i]->sum;
		char live[32], peak[32], total[32];
		size_t n = stacks_frames(view->symbols, view->reader, sites[i]->stack,
					 sites[i]->address, frames, &cut);

		printf("%12s %9.0f %12s %12s %11.0f %5.1f%%\n", human_bytes(sum->live_bytes, live),
		       sum->live_objects, human_bytes(sum->peak_bytes, peak),
		       human_bytes(sum->alloc, total), sum->allocs,
		       sum->allocs > 0 ? sum->short_lived * 100 / sum->allocs : 0);
		for (size_t k = n; k-- > 0;) {
			fputs("    ", stdout);
			print_place(&frames[k], true);
		}
		if (cut)
			puts("    ... (the stack goes on)");
		else if (!sites[i]->stack)
			puts("    ... (its stack is not known)");
	}
}

/* Calls from different lines of a function are one in the tree. */
static bool is_same(const struct stack_frame *a, const struct stack_frame *b)
{
	if (!a->frame.function || !b->frame.function)
		return a->address == b->address;
	return !strcmp(a->frame.function, b->frame.function) && a->inlined == b->inlined &&
	       (a->frame.module == b->frame.module ||
		(a->frame.module && b->frame.module && !strcmp(a->frame.module, b->frame.module)));
}

static struct node *child_of(struct node *parent, const struct stack_frame *frame)
{
	struct node *child = parent->child;

	while (child && !is_same(&child->frame, frame))
		child = child->next;
	if (!child) {
		child = xcalloc(1, sizeof(*child));
		child->frame = *frame;
		child->next = parent->child;
		parent->child = child;
	}
	return child;
}

static void add_site(struct node *root, struct view *view, const struct site *site, double value,
		     bool *any_cut)
{
	struct stack_frame frames[STACKS_FRAMES_MAX];
	bool cut;
	size_t n = stacks_frames(view->symbols, view->reader, site->stack, site->address, frames,
				 &cut);
	struct node *node = root;

	*any_cut |= cut;
	root->value += value;
	for (size_t i = 0; i < n; i++) {
		node = child_of(node, &frames[i]);
		node->value += value;
	}
}

static int compare_nodes(const void *a, const void *b)
{
	double x = (*(const struct node *const *)a)->value,
	       y = (*(const struct node *const *)b)->value;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The children, largest first; to be freed. */
static struct node **sorted_children(const struct node *node, size_t *count)
{
	struct node **list;

	*count = 0;
	for (const struct node *child = node->child; child; child = child->next)
		++*count;
	list = xmalloc((*count + 1) * sizeof(struct node *));
	*count = 0;
	for (struct node *child = node->child; child; child = child->next)
		list[(*count)++] = child;
	qsort(list, *count, sizeof(struct node *), compare_nodes);
	return list;
}

static void print_node(const struct node *node, double whole, double least, bool bytes,
		       unsigned depth)
{
	size_t count, i;
	struct node **list = sorted_children(node, &count);
	double rest = 0;
	char value[32];

	for (i = 0; i < count && list[i]->value >= whole * least; i++) {
		if (bytes)
			human_bytes(list[i]->value, value);
		else
			snprintf(value, sizeof(value), "%.0f", list[i]->value);
		printf("%12s %5.1f%% %*s", value, whole > 0 ? list[i]->value * 100 / whole : 0,
		       (int)(depth * 2), "");
		print_place(&list[i]->frame, false);
		/* where nothing branches off the eye need not go right */
		print_node(list[i], whole, least, bytes, depth + (count > 1));
	}
	for (; i < count; i++)
		rest += list[i]->value;
	if (rest > 0 && rest >= whole * least) {
		if (bytes)
			human_bytes(rest, value);
		else
			snprintf(value, sizeof(value), "%.0f", rest);
		printf("%12s %5.1f%% %*s... (smaller ones)\n", value, rest * 100 / whole,
		       (int)(depth * 2), "");
	}
	free(list);
}

static void free_node(struct node *node)
{
	while (node->child) {
		struct node *child = node->child;

		node->child = child->next;
		free_node(child);
		free(child);
	}
}

void report_stacks_tree(struct view *view, struct site *const *sites, size_t count, site_key *key,
			bool bytes, double least)
{
	struct node root = { 0 };
	bool cut = false;

	for (size_t i = 0; i < count; i++)
		add_site(&root, view, sites[i], key(sites[i]), &cut);
	print_node(&root, root.value, least, bytes, 0);
	if (cut)
		puts("# some stacks were longer than what was recorded of them: their outermost calls are missing");
	free_node(&root);
}

struct json_object *report_stacks_json(struct view *view, const struct site *site)
{
	struct stack_frame frames[STACKS_FRAMES_MAX];
	struct json_object *list = json_object_new_array();
	bool cut;
	size_t n = stacks_frames(view->symbols, view->reader, site->stack, site->address, frames,
				 &cut);

	for (size_t i = 0; i < n; i++) {
		struct json_object *call = json_object_new_object();
		const struct frame *frame = &frames[i].frame;
		char address[32];

		snprintf(address, sizeof(address), "0x%lx", recording_address(frames[i].address));
		json_object_object_add(call, "address", json_object_new_string(address));
		if (frame->function)
			json_object_object_add(call, "function",
					       json_object_new_string(frame->function));
		if (frame->module)
			json_object_object_add(call, "module",
					       json_object_new_string(frame->module));
		if (frame->file) {
			json_object_object_add(call, "file", json_object_new_string(frame->file));
			json_object_object_add(call, "line", json_object_new_int(frame->line));
		}
		json_object_object_add(call, "inlined", json_object_new_boolean(frames[i].inlined));
		json_object_array_add(list, call);
	}
	return list;
}
