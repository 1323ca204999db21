/* SPDX-License-Identifier: MIT */
/*
 * script.c - `kmem script`: a recording's events, a line each, as `perf script` prints the kernel's. With --json each line is an
 * object with the same names.
 *
 * There may be a hundred million: so numbers are written here, and the rest of a line is copied (script_text.c).
 */
#include "commands.h"
#include "say.h"
#include "script_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OUT_BYTES (1UL << 18)
#define LINE_BYTES (2UL * SCRIPT_TEXT_BYTES + 256)

struct out {
	size_t size;
	char data[OUT_BYTES + LINE_BYTES];
};

static void put(struct out *out, const char *text, size_t size)
{
	memcpy(out->data + out->size, text, size);
	out->size += size;
}

/* At least so wide, filled up with `fill`. */
static void put_number(struct out *out, uint64_t number, unsigned width, char fill)
{
	char digits[20];
	unsigned count = 0;

	do
		digits[count++] = (char)('0' + number % 10);
	while (number /= 10);
	for (; width > count; width--)
		out->data[out->size++] = fill;
	while (count)
		out->data[out->size++] = digits[--count];
}

static void put_hex(struct out *out, uint64_t number)
{
	unsigned shift = number ? (63U - (unsigned)__builtin_clzl(number)) & ~3U : 0;

	for (;; shift -= 4) {
		out->data[out->size++] = "0123456789abcdef"[number >> shift & 15];
		if (!shift)
			break;
	}
}

static void put_head(struct out *out, const struct event *event, uint64_t ns)
{
	put_number(out, event->tid, 8, ' ');
	put(out, " [", 2);
	put_number(out, event->cpu, 3, '0');
	put(out, "] ", 2);
	put_number(out, ns / 1000000000, 6, ' ');
	put(out, ".", 1);
	put_number(out, ns % 1000000000, 9, '0');
	put(out, ": ", 2);
}

static void put_head_json(struct out *out, const struct event *event, uint64_t ns)
{
	put(out, "{\"tid\":", 7);
	put_number(out, event->tid, 0, ' ');
	put(out, ",\"cpu\":", 7);
	put_number(out, event->cpu, 0, ' ');
	put(out, ",\"ns\":", 6);
	put_number(out, ns, 0, ' ');
	put(out, ",", 1);
}

static void put_line(struct out *out, const struct view *view, const struct event *event,
		     uint64_t ns, const struct script_text *text)
{
	if (view->json)
		put_head_json(out, event, ns);
	else
		put_head(out, event, ns);
	put(out, text->before, text->before_bytes);
	if (!text->after_bytes)
		return;
	put_hex(out, event->ptr);
	put(out, text->after, text->after_bytes);
}

/* False: nobody can take it. */
static bool write_out(struct out *out)
{
	fwrite(out->data, 1, out->size, stdout);
	out->size = 0;
	return !ferror(stdout);
}

static bool is_wanted(const struct model_filter *filter, const struct event *event, uint64_t ns)
{
	return ns >= filter->from_ns && (!filter->to_ns || ns < filter->to_ns) &&
	       (!filter->tid || event->tid == filter->tid) &&
	       (event_is_free(event) || (event->req >= filter->min_bytes &&
					 (!filter->max_bytes || event->req <= filter->max_bytes)));
}

/* Returns 0, or why standard output takes no more. */
static int print(struct view *view)
{
	struct out *out = xmalloc(sizeof(*out));
	struct event event;
	bool done = true;

	out->size = 0;
	view->model.sampled = model_is_sampled(view->reader);
	while (done && recording_next(view->reader, &event)) {
		uint64_t ns = recording_ns(view->reader, event.when);
		const struct script_text *text;

		if (!is_wanted(&view->filter, &event, ns))
			continue;
		text = script_text(view, &event);
		if (!text->wanted)
			continue;
		view->model.sum.events += event_is_alloc(&event);
		put_line(out, view, &event, ns, text);
		if (out->size >= OUT_BYTES)
			done = write_out(out);
	}
	if (done)
		done = write_out(out);
	free(out);
	return done ? 0 : errno ? errno : EIO;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key == ARGP_KEY_INIT)
		state->child_inputs[0] = state->input;
	return key == ARGP_KEY_INIT ? 0 : ARGP_ERR_UNKNOWN;
}

int command_script(int argc, char **argv)
{
	static const struct argp_child children[] = { { &view_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { NULL,	    parse,
					  "[FILE]", "Print a recording's events, a line each.",
					  children, NULL,
					  NULL };
	struct view view = { 0 };
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &view);
	if (!view_open(&view))
		return 1;
	status = print(&view);
	if (!status)
		view_notes(&view);
	view_free(&view);
	return status == EPIPE ? 0 : status != 0;
}
