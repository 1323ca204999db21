/* SPDX-License-Identifier: MIT
 *
 * request: one request of the server from its text to its response.
 *
 *  1. The text, as a client sends it: a line, 4 to 20 headers, now and then one of some KiB. It
 *     comes in pieces, so that its buffer grows.
 *  2. A table of the headers: a node, a name and a value each.
 *  3. The session that the cookie names, from the cache.
 *  4. The response: rows made one by one and put together, some KiB, one in 64 up to 300 KiB.
 *
 * All of it depends on the number of the request only.
 */
#include "server.h"

#define SESSIONS 24000 /* different keys: four in five are in the cache when it is warm */
#define HEADER_BUCKETS 16

struct header {
	struct header *next;
	char *name;
	char *value;
};

struct request {
	char *path;
	struct header *headers[HEADER_BUCKETS];
};

char letters[LETTERS];

static void append(struct worker *worker, struct buffer *buffer, const char *data, size_t size)
{
	if (!buffer->data || buffer->used + size > buffer->room) {
		size_t room = buffer->room ? buffer->room : 256;

		while (room < buffer->used + size)
			room *= 2;
		buffer->data = retake(&worker->live, buffer->data, buffer->room, room);
		buffer->room = room;
	}
	memcpy(buffer->data + buffer->used, data, size);
	buffer->used += size;
}

void buffer_free(struct worker *worker, struct buffer *buffer)
{
	give(&worker->live, buffer->data, buffer->room);
	*buffer = (struct buffer){ 0 };
}

/* What the client sends. Names are numbered, so that each occurs once. */
static struct buffer request_text(struct worker *worker, uint64_t *random)
{
	struct buffer text = { 0 };
	char line[128];
	size_t count = random_between(random, 4, 20);
	uint64_t key = random_next(random) % SESSIONS;
	int n;

	/* Some sessions are used more than others. */
	if (random_next(random) % 2)
		key %= SESSIONS / 8;
	n = snprintf(line, sizeof(line), "GET /%.*s/%u HTTP/1.1\n",
		     (int)random_between(random, 3, 60), random_text(random),
		     (unsigned int)(random_next(random) % 1000));
	append(worker, &text, line, (size_t)n);
	n = snprintf(line, sizeof(line), "cookie: %u\n", (unsigned int)key);
	append(worker, &text, line, (size_t)n);
	for (size_t i = 0; i < count; i++) {
		size_t length = random_next(random) % 256 ? random_between(random, 4, 120) :
							    random_between(random, 1000, 4000);

		n = snprintf(line, sizeof(line), "%.*s-%zu: ", (int)random_between(random, 3, 20),
			     random_text(random), i);
		append(worker, &text, line, (size_t)n);
		append(worker, &text, random_text(random), length);
		append(worker, &text, "\n", 1);
	}
	append(worker, &text, "\n", 2); /* with its 0 */
	return text;
}

static struct header **bucket_of(struct request *request, const char *name, size_t length)
{
	return &request->headers[hash_bytes(name, length) % HEADER_BUCKETS];
}

static struct request *request_parse(struct worker *worker, const char *text)
{
	struct request *request = take(&worker->live, sizeof(*request));
	const char *path = strchr(text, ' ') + 1;
	const char *line = strchr(text, '\n') + 1;

	memset(request, 0, sizeof(*request));
	request->path = take_text(&worker->live, path, (size_t)(strchr(path, ' ') - path));
	while (*line != '\n') {
		const char *colon = strchr(line, ':'), *end = strchr(colon, '\n');
		struct header *header = take(&worker->live, sizeof(*header));
		struct header **at = bucket_of(request, line, (size_t)(colon - line));

		header->name = take_text(&worker->live, line, (size_t)(colon - line));
		header->value = take_text(&worker->live, colon + 2, (size_t)(end - colon - 2));
		header->next = *at;
		*at = header;
		line = end + 1;
	}
	return request;
}

static const char *request_header(struct request *request, const char *name)
{
	const struct header *header = *bucket_of(request, name, strlen(name));

	while (header && strcmp(header->name, name) != 0)
		header = header->next;
	return header ? header->value : "";
}

static void request_free(struct worker *worker, struct request *request)
{
	for (int i = 0; i < HEADER_BUCKETS; i++) {
		struct header *header, *next;

		for (header = request->headers[i]; header; header = next) {
			next = header->next;
			give_text(&worker->live, header->name);
			give_text(&worker->live, header->value);
			give(&worker->live, header, sizeof(*header));
		}
	}
	give_text(&worker->live, request->path);
	give(&worker->live, request, sizeof(*request));
}

/* A part of the page, as long as it is not yet in its place. */
struct row {
	struct row *next;
	size_t length;
	char text[];
};

static struct row *row_new(struct worker *worker, const char *user, uint64_t *random)
{
	const char *text = random_text(random);
	size_t words = random_between(random, 20, 160), name = strlen(user);
	struct row *row = take(&worker->live, sizeof(*row) + name + words);

	row->length = name + words;
	memcpy(row->text, user, name);
	memcpy(row->text + name, text, words);
	return row;
}

static struct buffer response(struct worker *worker, const char *user, uint64_t *random)
{
	size_t count = random_next(random) % 64 ? random_between(random, 4, 50) :
						  random_between(random, 300, 2500);
	struct buffer out = { 0 };
	struct row *first = NULL, **last = &first, *next;

	for (size_t i = 0; i < count; i++) {
		*last = row_new(worker, user, random);
		last = &(*last)->next;
	}
	*last = NULL;
	append(worker, &out, "HTTP/1.1 200 OK\n\n", 17);
	for (struct row *row = first; row; row = next) {
		next = row->next;
		append(worker, &out, row->text, row->length);
		give(&worker->live, row, sizeof(*row) + row->length);
	}
	return out;
}

struct buffer serve_request(struct worker *worker, uint64_t id)
{
	uint64_t random = id * 0x2545f4914f6cdd1du;
	struct buffer text = request_text(worker, &random), out;
	struct request *request = request_parse(worker, text.data);
	unsigned long key = strtoul(request_header(request, "cookie"), NULL, 10);
	char *user = cache_user(worker, (uint32_t)key, &worker->sum);

	worker->sum += hash_bytes(request->path, strlen(request->path));
	out = response(worker, user, &random);
	give_text(&worker->live, user);
	request_free(worker, request);
	buffer_free(worker, &text);
	return out;
}
